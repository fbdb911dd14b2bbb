"""Image files to rasters and back: nothing lost on the way, or said so. Knows no network.

Files are streamed: neither input nor output is ever whole in memory.
"""

import logging
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import pyvips
from numpy.typing import NDArray

from subpixel import containers, exif, formats
from subpixel.files import replacing
from subpixel.formats import Format
from subpixel.raster import Colour, Layout, Raster, Strip
from subpixel.scratch import bigtiff_head

Size = tuple[int, int]
Progress = Callable[[float], object]

MAX_PIXELS = 2**28  # an input with more is taken for a decompression bomb
MAX_OUTPUT_PIXELS = 16 * MAX_PIXELS

STRIP_ROWS = 256

_COLOURS: dict[str, Colour] = {
    "b-w": "grey",
    "grey16": "grey",
    "srgb": "rgb",
    "rgb": "rgb",
    "rgb16": "rgb",
    "cmyk": "cmyk",
}
_DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}
_LIBVIPS_NAMES = {"AVIF": "heif"}

# What libvips carries from an input's header to its output, and what to call it; EXIF is ours to carry.
_CARRIED: dict[str, str] = {
    "icc-profile-data": "the colour profile",
    "xmp-data": "XMP",
    "iptc-data": "IPTC",
    "photoshop-data": "Photoshop's data",
    "delay": "the frames' times",
    "gif-comment": "comments",
}
_ASSUMED_RESOLUTION = 72 / 25.4  # pixels a millimetre, where a file tells none
_KEEP_EXIF, _KEEP_XMP, _KEEP_REST = 1, 2, 4 | 8 | 16  # libvips's flags

pyvips.cache_set_max(0)  # the cache goes by file name, and would serve a file that has changed since
logging.getLogger("pyvips").addHandler(logging.NullHandler())  # its warnings are not for users' terminals


@dataclass(frozen=True)
class Picture:
    """An opened image file: its header is read, its pixels are decoded as they are taken.

    Attributes:
        path: the file.
        format: what it is, whatever its name.
        width: in pixels, as seen: with the orientation applied.
        height: of one page, as seen.
        pages: pages of a TIFF, frames of an animation.
        layout: what the bands are.
        dtype: uint8 or uint16.
        image: libvips's own, for this module.
    """

    path: Path
    format: Format
    width: int
    height: int
    pages: int
    layout: Layout
    dtype: np.dtype[Any]
    image: Any = field(repr=False)

    def page(self, index: int) -> Raster:
        """A page; pages must be taken in order."""
        return Raster(self.width, self.height, self.layout, self.dtype, self._strips(index))

    def _strips(self, page: int) -> Iterator[Strip]:
        with _explained(ValueError, "broken or incomplete"):
            region = pyvips.Region.new(self.image)
        for top in range(0, self.height, STRIP_ROWS):
            rows = min(STRIP_ROWS, self.height - top)
            with _explained(ValueError, "broken or incomplete"):
                pixels = region.fetch(0, page * self.height + top, self.width, rows)
            yield np.frombuffer(pixels, self.dtype).reshape(rows, self.width, self.layout.bands)


@dataclass(frozen=True)
class Written:
    """An image file that was written.

    Attributes:
        path: the file.
        width: in pixels.
        height: of one page.
        notes: what of the original its format could not hold, a sentence each.
    """

    path: Path
    width: int
    height: int
    notes: tuple[str, ...]


def read(path: Path) -> Picture:
    """Open an image file.

    The file is untrusted: what it is is told by its first bytes, and its size is bounded.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an image of a kind that can be kept whole; the message says why.
    """
    file_format = formats.by_content(path)
    _refuse_animation(path, file_format)
    with _explained(ValueError, "not an image that can be read"):
        image = _load(path, file_format, access="sequential")
        _check_size(image.width, image.height, MAX_PIXELS)
        pages = image.height // image.get_page_height()
        if _field(image, "orientation", 1) > 1:
            _require(pages == 1, f"a file of several pages must be upright; got {pages} pages to rotate.")
            image = _load(path, file_format).autorot()  # which reads in another order than files are in
    layout, dtype = _layout(image), _DTYPES[image.format]
    return Picture(path, file_format, image.width, image.height // pages, pages, layout, dtype, image)


def image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """The files of a folder whose names are those of images, in order; hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in formats.SUFFIXES]
    return files


def read_array(path: Path) -> NDArray[np.uint8]:
    """The pixels of an image file in 8 bits, (height, width) or (height, width, 3), without opacity.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an image, or neither grey nor RGB.
    """
    try:
        picture = read(path)
        _require(picture.layout.colour in ("grey", "rgb"), "it must be grey or RGB; it is CMYK.")
        pixels = np.concatenate([*picture.page(0).strips])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if picture.dtype == np.uint16:
        pixels = pixels >> 8
    return pixels.astype(np.uint8)[..., 0 if picture.layout.colour == "grey" else slice(3)]


def dtype_for(picture: Picture, path: Path) -> np.dtype[Any]:
    """The type of the rasters that `write` takes: uint16 where picture and output have more than 8 bits."""
    return picture.dtype if formats.by_suffix(path.suffix).bits > 8 else np.dtype(np.uint8)


def write(
    path: Path,
    pages: Sequence[Raster],
    picture: Picture,
    *,
    size: Size | None = None,
    quality: int | None = None,
    progress: Progress | None = None,
) -> Written:
    """Write an enlarged picture, whole or not at all, with everything that the original carries.

    Args:
        path: the output; its suffix says the format.
        pages: of one size and of `dtype_for(picture, path)`. Their strips are taken when all else that can be
            wrong has been looked at.
        picture: the original.
        size: width and height to resample to; None for those of the pages.
        quality: 1 to 100 for lossy formats; 100 is lossless in WebP and AVIF. None for the format's default,
            but 100 from a lossless WebP to another.
        progress: told the fraction done, in 0..1: half by the strips, half by the encoding.

    Raises:
        ValueError: the format cannot hold the picture.
        OSError: the output cannot be written.
    """
    target = formats.by_suffix(path.suffix)
    tell = progress or (lambda _: None)
    width, height = size or (pages[0].width, pages[0].height)
    _check_fit(target, picture, width, height)
    _check_size(
        pages[0].width, pages[0].height * len(pages), MAX_OUTPUT_PIXELS, "what is resampled to a size"
    )
    with replacing(path) as temporary, tempfile.TemporaryFile(dir=path.parent) as scratch:
        for done in _spool(pages, scratch):
            tell(done / 2)
        with _explained(OSError, "cannot be written"):
            image = _open_scratch(scratch, pages)
            if size is not None:
                image = _resampled(image, pages[0], size)
            image = _with_header(_fitted(image, target, picture), picture, width, height)
            data, notes = _exif(picture, target, width, height)
            options = _encoding(
                image, target, quality or _quality(picture, target), has_exif=data is not None
            )
            _save(image, temporary, target, options, lambda fraction: tell((1 + fraction) / 2))
            notes += _losses(target, picture)
            notes += _carry(temporary, target, picture, data, (width, height))
            notes += _lost_header(_load(temporary, target), target, picture)
    return Written(path, width, height, tuple(notes))


def _load(path: Path, file_format: Format, **options: Any) -> Any:
    """Open, all pages one below the other; thumbnails are none."""
    if file_format.pages or file_format == formats.AVIF:
        options["n"] = 1 if file_format == formats.TIFF and exif.has_only_previews(path) else -1
    return getattr(pyvips.Image, _libvips_name(file_format) + "load")(str(path), fail_on="error", **options)


def _libvips_name(file_format: Format) -> str:
    return _LIBVIPS_NAMES.get(file_format.name, file_format.name.lower())


def _field(image: Any, name: str, default: Any) -> Any:
    return image.get(name) if image.get_typeof(name) else default


def _layout(image: Any) -> Layout:
    colour = _COLOURS.get(image.interpretation)
    layouts = [] if colour is None else [Layout(colour), Layout(colour, alpha=True)]
    for layout in layouts:
        if layout.bands == image.bands and image.format in _DTYPES:
            return layout
    raise ValueError(
        "an image must be grey, RGB or CMYK, with or without opacity, in up to 8 or 16 bits; "
        f"got {image.bands} bands of {image.format} as {image.interpretation}."
    )


def _spool(pages: Sequence[Raster], scratch: IO[bytes]) -> Iterator[float]:
    """Write all pixels to a file as a TIFF, giving the fraction done after each strip."""
    first = pages[0]
    scratch.write(bigtiff_head(first.width, first.height * len(pages), first.layout, first.dtype.itemsize))
    rows = sum(page.height for page in pages)
    done = 0
    for page in pages:
        for strip in page.strips:
            scratch.write(np.ascontiguousarray(strip).data)
            done += len(strip)
            yield done / rows
    scratch.flush()


def _open_scratch(scratch: IO[bytes], pages: Sequence[Raster]) -> Any:
    """The scratch file as an image, by its descriptor: it has no name, so that not even SIGKILL leaves it."""
    image = pyvips.Image.tiffload(f"/dev/fd/{scratch.fileno()}", access="sequential").copy()
    if len(pages) > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", pages[0].height)
    return image


def _resampled(image: Any, page: Raster, size: Size) -> Any:
    """Each page by itself resampled to an exact size: antialiased, and colours weighted by opacity."""
    tops = range(0, image.height, page.height)
    parts = [_resampled_page(image.crop(0, top, page.width, page.height), page, size) for top in tops]
    joined = pyvips.Image.arrayjoin(parts, across=1) if len(parts) > 1 else parts[0]
    if len(parts) > 1:
        joined.set_type(pyvips.GValue.gint_type, "page-height", size[1])
    return joined


def _resampled_page(image: Any, page: Raster, size: Size) -> Any:
    kind, interpretation = image.format, image.interpretation
    peak = np.iinfo(page.dtype).max
    if page.layout.alpha:
        image = image.premultiply(max_alpha=peak)
    image = image.resize(size[0] / page.width, vscale=size[1] / page.height, kernel="lanczos3")
    if page.layout.alpha:
        image = image.unpremultiply(max_alpha=peak)
    return image.rint().cast(kind).copy(interpretation=interpretation)


def _fitted(image: Any, target: Format, picture: Picture) -> Any:
    """The image without what its format cannot hold."""
    if picture.layout.alpha and not target.alpha:
        peak = np.iinfo(_DTYPES[image.format]).max
        image = image.flatten(background=[0 if picture.layout.colour == "cmyk" else peak], max_alpha=peak)
    if picture.layout.colour == "cmyk" and not target.cmyk:
        image = _with_field(image, picture.image, "icc-profile-data")
        depth = 8 * _DTYPES[image.format].itemsize
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    return image


def _with_field(image: Any, original: Any, name: str) -> Any:
    """A copy of the image with a field of the original, if it has it."""
    image = image.copy()
    if original.get_typeof(name):
        image.set_type(original.get_typeof(name), name, original.get(name))
    return image


def _with_header(image: Any, picture: Picture, width: int, height: int) -> Any:
    original = picture.image
    across, down = _resolution(original) or (_ASSUMED_RESOLUTION, _ASSUMED_RESOLUTION)
    image = image.copy(xres=across, yres=down)
    carried = (*_CARRIED, "loop", "image-description", "resolution-unit")
    for name in original.get_fields():
        if name.startswith(carried) and not image.get_typeof(name):
            image.set_type(original.get_typeof(name), name, original.get(name))
    if (xmp := _xmp(picture, width, height)) is not None:
        image.set_type(pyvips.GValue.blob_type, "xmp-data", xmp)
    return image


def _xmp(picture: Picture, width: int, height: int) -> bytes | None:
    xmp = _field(picture.image, "xmp-data", None)
    return None if xmp is None else exif.corrected_xmp(xmp, width, height)


def _save(image: Any, path: Path, target: Format, options: dict[str, Any], tell: Progress) -> None:
    """Encode; what is raised meanwhile, as by Ctrl-C, stops libvips, through which it cannot get."""
    raised: list[BaseException] = []

    def guard(function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 (raised below)
            raised.append(error)
            image.set_kill(True)

    image.set_progress(True)
    image.signal_connect("eval", lambda _, state: guard(tell, state.percent / 100))
    with _signals_through(guard):
        try:
            getattr(image, _libvips_name(target) + "save")(str(path), **options)
        except pyvips.Error:
            if not raised:
                raise
    if raised:
        raise raised[0]


@contextmanager
def _signals_through(guard: Callable[..., None]) -> Iterator[None]:
    """Let the handlers of Ctrl-C and termination run through a guard; in other threads they never run."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    ours = {number: partial(guard, handler) for number, handler in handlers.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        ours = {}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, handlers[number])


def _quality(picture: Picture, target: Format) -> int | None:
    if target == picture.format == formats.WEBP and containers.is_lossless_webp(picture.path):
        return 100
    return target.quality


def _encoding(image: Any, target: Format, quality: int | None, *, has_exif: bool) -> dict[str, Any]:
    """How libvips should encode: the best that the format can at a speed that people wait for."""
    lossy = {"lossless": True} if quality == 100 else {"Q": quality}
    options: dict[Format, dict[str, Any]] = {
        formats.PNG: {"compression": 3, "filter": "all"},  # as small as at 6, in a third of the time
        formats.JPEG: {"Q": quality},  # optimised coding would keep the whole image in memory
        formats.WEBP: {**lossy, "smart_subsample": True, "exact": True},
        formats.TIFF: {
            "compression": "deflate",
            "predictor": "horizontal",
            "bigtiff": _bytes(image) > 0.99 * 2**32,
        },
        formats.AVIF: {**lossy, "compression": "av1", "effort": 2},
        formats.GIF: {},
    }
    keep = _KEEP_REST | (_KEEP_XMP if target != formats.PNG else 0)
    if target == formats.AVIF and has_exif:
        keep |= _KEEP_EXIF  # in whose place ours is put
    return {**options[target], "keep": keep}


def _bytes(image: Any) -> int:
    size: int = image.width * image.height * image.bands * _DTYPES[image.format].itemsize
    return size


def _exif(picture: Picture, target: Format, width: int, height: int) -> tuple[bytes | None, list[str]]:
    """The EXIF for an output, and what is to be said of it."""
    resolution = _resolution(picture.image) if target in (formats.WEBP, formats.AVIF) else None
    try:
        data, notes = _original_exif(picture)
        if data is None:
            return None if resolution is None else exif.of_resolution(*resolution), notes
        data = exif.corrected(data, width, height)
    except ValueError as error:
        return None, [f"EXIF could not be kept: {error}"]
    if resolution is not None and not exif.tells_resolution(data):
        notes.append(f"the resolution could not be kept in {target.name}")
    return data, notes


def _resolution(image: Any) -> tuple[float, float] | None:
    """Pixels a millimetre, if the file tells them, and not what formats assume."""
    assumed = any(abs(image.xres - default) < 0.01 for default in (1, _ASSUMED_RESOLUTION))
    return None if assumed else (image.xres, image.yres)


def _original_exif(picture: Picture) -> tuple[bytes | None, list[str]]:
    if picture.format != formats.TIFF:
        data: bytes | None = _field(picture.image, "exif-data", None)
        return data if data is None else data.removeprefix(b"Exif\0\0"), []
    data, left_out = exif.from_tags(exif.tiff_tags(picture.path))
    return data, [f"private tags could not be kept: {', '.join(map(str, left_out))}"] if left_out else []


def _carry(path: Path, target: Format, picture: Picture, data: bytes | None, size: Size) -> Iterator[str]:
    """Put into an output what libvips does not carry; tell what could not be."""
    if containers.has_further_pictures(picture.path, picture.format):
        yield "further pictures in the file, such as a gain map, could not be kept"
    raw = containers.raw_extras(picture.path, picture.format)
    if raw and target != picture.format:
        raw = b""
        yield f"text, comments or colour chunks of {picture.format.name} could not be kept in {target.name}"
    extras = containers.Extras(data, raw, _xmp(picture, *size), _resolution(picture.image))
    if not containers.embed(path, target, extras, size, picture.layout.alpha):
        yield f"EXIF could not be kept in {target.name}"


def _lost_header(written: Any, target: Format, picture: Picture) -> Iterator[str]:
    """What the original's header has and the output's, read back, has not."""
    before, after = picture.image.get_fields(), written.get_fields()
    for prefix, kind in _CARRIED.items():
        if _has(before, prefix) and not _has(after, prefix) and (prefix != "delay" or picture.pages > 1):
            yield f"{kind} could not be kept in {target.name}"


def _has(names: Sequence[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def _losses(target: Format, picture: Picture) -> Iterator[str]:
    if picture.layout.alpha and not target.alpha:
        yield f"{target.name} has no transparency: put on white"
    if 8 * picture.dtype.itemsize > target.bits:
        yield f"{target.name} has {target.bits} bits a sample: reduced from 16"
    if picture.layout.colour == "cmyk" and not target.cmyk:
        yield f"{target.name} has no CMYK: converted to sRGB"
    if target == formats.GIF != picture.format:
        yield "GIF has 256 colours and no partial transparency: reduced"


def _refuse_animation(path: Path, file_format: Format) -> None:
    """Refuse the animations of which libvips would give the first frame alone."""
    with path.open("rb") as file:
        start = file.read(2**16)
    animated = (file_format == formats.PNG and b"acTL" in start.partition(b"IDAT")[0]) or (
        file_format == formats.AVIF and b"avis" in start[: int.from_bytes(start[:4])]
    )
    _require(not animated, f"an animation must be GIF or WebP; got an animated {file_format.name}.")


def _check_size(width: int, height: int, limit: int, what: str = "an image") -> None:
    _require(
        width * height <= limit,
        f"{what} must have at most {limit / 1e6:.0f} megapixels; got {width}x{height}, "
        f"{width * height / 1e6:.0f} megapixels.",
    )


def _check_fit(target: Format, picture: Picture, width: int, height: int) -> None:
    _check_size(width, height * picture.pages, MAX_OUTPUT_PIXELS)
    side = max(width, height)
    _require(
        side <= target.max_side,
        f"a side of {target.name} has at most {target.max_side} pixels; got {width}x{height}. "
        f"Use {_names(f for f in formats.FORMATS if f.max_side >= side)}.",
    )
    _require(
        picture.pages == 1 or target.pages,
        f"{target.name} has one page; got {picture.pages}. "
        f"Use {_names(f for f in formats.FORMATS if f.pages)}.",
    )


def _names(some: Iterable[Format]) -> str:
    return ", ".join(file_format.name for file_format in some)


def _raise(error: OSError) -> NoReturn:
    raise error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@contextmanager
def _explained(kind: type[Exception], what: str) -> Iterator[None]:
    """Raise libvips's errors as ours, with the last line of its explanation."""
    try:
        yield
    except pyvips.Error as error:
        lines = [line.strip() for line in f"{error.message}\n{error.detail}".splitlines()]
        raise kind(f"{what}: {[line for line in lines if line][-1]}.") from error
