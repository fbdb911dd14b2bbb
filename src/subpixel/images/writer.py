"""Image files written: whole or not at all, with everything that the original carries."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from subpixel.files import replacing
from subpixel.images import carry, containers, formats, libvips, pixels, spool, tags
from subpixel.images.formats import Format
from subpixel.images.limits import MAX_OUTPUT_PIXELS, check_size
from subpixel.images.pixels import Size
from subpixel.images.reader import Picture
from subpixel.raster import Raster

ProgressReport = Callable[[float], object]

_KEEP_EXIF, _KEEP_XMP, _KEEP_REST = 1, 2, 4 | 8 | 16  # libvips's flags


@dataclass(frozen=True)
class Written:
    """An image file that was written.

    Attributes:
        path: the file.
        width: in pixels.
        height: of one page.
        notes: what of the original its format could not hold, or was damaged before, a sentence each.
    """

    path: Path
    width: int
    height: int
    notes: tuple[str, ...]


def dtype_for(picture: Picture, path: Path) -> np.dtype[Any]:
    """Return the type of the rasters that `write` takes: uint16 where both files have more than 8 bits."""
    return picture.dtype if formats.by_suffix(path.suffix).bits > 8 else np.dtype(np.uint8)


def write(
    path: Path,
    pages: Sequence[Raster],
    picture: Picture,
    *,
    size: Size | None = None,
    quality: int | None = None,
    progress: ProgressReport | None = None,
) -> Written:
    """Write an enlarged picture, whole or not at all, with everything that the original carries.

    Args:
        path: the output; its suffix says the format.
        pages: of one size and of `dtype_for(picture, path)`. Their strips are taken after all else that
            can be wrong has been checked.
        picture: the original.
        size: width and height to resample to; None for those of the pages.
        quality: 1 to 100 for lossy formats; 100 is lossless in WebP and AVIF. None for the format's default,
            or for 100 from a lossless WebP to another.
        progress: called with the fraction done, in 0..1: half by the strips, half by the encoding.

    Raises:
        ValueError: the format cannot hold the picture.
        OSError: the output cannot be written.
    """
    target = formats.by_suffix(path.suffix)
    report = progress or (lambda _: None)
    final = size or (pages[0].width, pages[0].height)
    _check_fit(target, picture, *final)
    check_size(pages[0].width, pages[0].height * len(pages), MAX_OUTPUT_PIXELS, "what is resampled to a size")
    with replacing(path) as temporary, spool.scratch_file(path.parent, pages) as scratch:
        for done in spool.write(pages, scratch):
            report(done / 2)
        with libvips.explained(OSError, f"the {target.name} file cannot be written"):
            image = _changed(spool.opened(scratch, pages), pages[0], picture, target, size)
            image = carry.with_header(image, picture, target, final)
            data, notes = carry.exif_for(picture, target, final)
            options = _encoding(
                image, target, quality or _quality(picture, target), has_exif=data is not None
            )
            options |= _bilevel_encoding(picture, target)
            _save(image, temporary, target, options, lambda fraction: report((1 + fraction) / 2))
            notes += carry.lost_pixels(target, picture)
            notes += carry.carry(temporary, target, picture, data, final)
            notes += carry.lost_header(temporary, target, picture)
    return Written(path, *final, tuple(notes))


def _changed(image: Any, page: Raster, picture: Picture, target: Format, size: Size | None) -> Any:
    """Return the pages as the network left them in the size, the bits and the colours of the output."""
    if picture.bilevel:
        image = pixels.cleaned(image, page.height)
    if size is not None:
        image = pixels.resampled(image, page, size)
    if picture.bilevel and target.bilevel:
        image = image >= pixels.THRESHOLD  # after a resampling, the page is grey again
    elif picture.bilevel:
        image = pixels.softened(image, page.height if size is None else size[1])
    return pixels.fitted(image, target, picture.layout, picture.image)


def _check_fit(target: Format, picture: Picture, width: int, height: int) -> None:
    check_size(width, height * picture.pages, MAX_OUTPUT_PIXELS)
    side = max(width, height)
    if side > target.max_side:
        raise ValueError(
            f"a side of {target.name} has at most {target.max_side} pixels; got {width}x{height}. "
            f"Use {formats.names(f for f in formats.FORMATS if f.max_side >= side)}."
        )
    if picture.pages > 1 and not target.pages:
        raise ValueError(
            f"{target.name} has one page; got {picture.pages}. "
            f"Use {formats.names(f for f in formats.FORMATS if f.pages)}."
        )


def _quality(picture: Picture, target: Format) -> int | None:
    if target == picture.format == formats.WEBP and containers.is_lossless_webp(picture.path):
        return 100
    return target.quality


def _encoding(image: Any, target: Format, quality: int | None, *, has_exif: bool) -> dict[str, Any]:
    """Return libvips's options: the best that the format can do at a speed that people wait for."""
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
        keep |= _KEEP_EXIF  # `containers.embed` puts ours in its place
    return {**options[target], "keep": keep}


def _bilevel_encoding(picture: Picture, target: Format) -> dict[str, Any]:
    """Return libvips's options for 1 bit a pixel, for which filters and predictors are of no use."""
    if not picture.bilevel or not target.bilevel:
        return {}
    if target == formats.PNG:
        return {"bitdepth": 1, "filter": "none", "compression": 9}
    if target == formats.GIF:
        return {"bitdepth": 1, "dither": 0}
    fax = picture.format == formats.TIFF and tags.number_in_tiff(picture.path, tags.COMPRESSION) in tags.FAX
    # Fax compression suits text and lines; it would make dithered pictures larger than they are without any.
    compression = {"compression": "ccittfax4", "miniswhite": True} if fax else {"compression": "deflate"}
    return {"bitdepth": 1, "predictor": "none", **compression}


def _bytes(image: Any) -> int:
    size: int = image.width * image.height * image.bands * libvips.DTYPES[image.format].itemsize
    return size


def _save(image: Any, path: Path, target: Format, options: dict[str, Any], report: ProgressReport) -> None:
    """Encode; an exception raised meanwhile, such as Ctrl-C, cannot pass through libvips, but stops it."""
    raised: list[BaseException] = []

    def guard(function: Callable[..., object], *arguments: Any) -> None:
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001 (raised below)
            raised.append(error)
            image.set_kill(True)

    image.set_progress(True)
    image.signal_connect("eval", lambda _, state: guard(report, state.percent / 100))
    with _signals_through(guard):
        try:
            libvips.save(image, path, target, options)
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
