"""Image files opened: what a file is, how large, and its pixels as they are taken."""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.images import containers, formats, libvips, tags
from subpixel.images.formats import Format
from subpixel.images.limits import MAX_PIXELS, check_size
from subpixel.raster import Colour, Layout, Raster, Strip

STRIP_ROWS = 256

_COLOURS: dict[str, Colour] = {
    "b-w": "grey",
    "grey16": "grey",
    "srgb": "rgb",
    "rgb": "rgb",
    "rgb16": "rgb",
    "cmyk": "cmyk",
}

_BLACK_AND_WHITE_IN_GIF = {-(2**24), -1}  # as libvips gives a palette: ABGR in a signed integer each

_SAMPLES = {
    "uchar": "8 bits",
    "ushort": "16 bits",
    "char": "signed 8 bits",
    "short": "signed 16 bits",
    "uint": "32 bits",
    "int": "signed 32 bits",
    "float": "floating-point numbers",
}
_SAMPLE_FORMATS = {3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
_PHOTOMETRICS = {
    8: "CIELAB colours",
    9: "ICC LAB colours",
    10: "ITU LAB colours",
    32844: "LogL",
    32845: "LogLuv",
}


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
        bilevel: whether the file has black and white alone, at 1 bit a pixel or by a palette of the two;
            pages give them as 0 and 255.
        image: libvips's own, for this package alone.
    """

    path: Path
    format: Format
    width: int
    height: int
    pages: int
    layout: Layout
    dtype: np.dtype[Any]
    bilevel: bool
    image: Any = field(repr=False)

    def page(self, index: int) -> Raster:
        """Return a page; pages must be taken in order."""
        return Raster(self.width, self.height, self.layout, self.dtype, self._strips(index))

    def _strips(self, page: int) -> Iterator[Strip]:
        with libvips.explained(ValueError, _broken(self.format)):
            region = libvips.region(self.image)
        for top in range(0, self.height, STRIP_ROWS):
            rows = min(STRIP_ROWS, self.height - top)
            with libvips.explained(ValueError, _broken(self.format)):
                pixels = region.fetch(0, page * self.height + top, self.width, rows)
            yield np.frombuffer(pixels, self.dtype).reshape(rows, self.width, self.layout.bands)


def read(path: Path) -> Picture:
    """Open an image file.

    The file is untrusted: its first bytes, not its name, decide what it is, and its size is bounded.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an image of a kind that can be kept whole; the message says why.
    """
    file_format = _identified(path)
    broken = f"not an image that can be read: {_broken(file_format)}"
    if not containers.is_whole(path, file_format):
        raise ValueError(f"{broken}: it ends too early.")
    with libvips.explained(ValueError, broken):
        image = libvips.load(path, file_format, access="sequential")
        check_size(image.width, image.height, MAX_PIXELS)
        pages = image.height // image.get_page_height()
        if libvips.field(image, "orientation", 1) > 1:
            if pages > 1:
                raise ValueError(f"a file of several pages must be upright; got {pages} pages to rotate.")
            image = libvips.load(path, file_format).autorot()  # which takes pixels in another order
    bilevel = _is_bilevel(image, path, file_format)
    if bilevel and image.bands == 3:
        image = libvips.grey(image)
    layout, dtype = _layout(image), libvips.DTYPES[image.format]
    return Picture(
        path, file_format, image.width, image.height // pages, pages, layout, dtype, bilevel, image
    )


def read_array(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of an image file in 8 bits, (height, width) or (height, width, 3), without opacity.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an image, or neither grey nor RGB.
    """
    try:
        picture = read(path)
        if picture.layout.colour not in ("grey", "rgb"):
            raise ValueError("it must be grey or RGB; it is CMYK.")
        pixels = np.concatenate([*picture.page(0).strips])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if picture.dtype == np.uint16:
        pixels = pixels >> 8
    return pixels.astype(np.uint8)[..., 0 if picture.layout.colour == "grey" else slice(3)]


def _identified(path: Path) -> Format:
    """Return the format of a file; refuse pipes, and files of which libvips would give only a part."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():  # a pipe would wait for ever
        raise ValueError("an image must be a file; got a pipe, a socket or a device.")
    file_format = formats.by_content(path)
    if file_format == formats.TIFF:
        if tags.is_raw(path):  # libvips would give its thumbnail
            raise formats.unsupported(formats.RAW)
        _check_samples(path)
    _refuse_animation(path, file_format)
    return file_format


def _is_bilevel(image: Any, path: Path, file_format: Format) -> bool:
    """Return whether an image has 1 bit a pixel, or a palette of black and white without transparency."""
    if image.bands == 3 and file_format == formats.PNG:
        palette = containers.png_palette(path)
        return {palette[at : at + 3] for at in range(0, len(palette), 3)} == {b"\0\0\0", b"\xff\xff\xff"}
    if image.bands == 3 and file_format == formats.GIF:  # the field is there if no frame has one of its own
        return set(libvips.field(image, "gif-palette", ())) == _BLACK_AND_WHITE_IN_GIF
    return image.bands == 1 and bool(libvips.field(image, "bits-per-sample", 8) == 1)


def _layout(image: Any) -> Layout:
    colour = _COLOURS.get(image.interpretation)
    layouts = [] if colour is None else [Layout(colour), Layout(colour, alpha=True)]
    for layout in layouts:
        if layout.bands == image.bands and image.format in libvips.DTYPES:
            return layout
    raise ValueError(
        "an image must be grey, RGB or CMYK, with or without opacity, in up to 8 or 16 bits; "
        f"got {image.bands} bands of {_SAMPLES.get(image.format, image.format)}."
    )


def _broken(file_format: Format) -> str:
    return f"the {file_format.name} file is broken or incomplete"


def _check_samples(path: Path) -> None:
    """Refuse a TIFF file whose samples or colours libvips cannot open, or would convert without a word."""
    wanted = (tags.SAMPLE_FORMAT, tags.PHOTOMETRIC, tags.COMPRESSION)
    sample_format, photometric, compression = (tags.number_in_tiff(path, tag) for tag in wanted)
    kind = _SAMPLE_FORMATS.get(sample_format) or _PHOTOMETRICS.get(photometric)
    if photometric == tags.YCBCR and compression != tags.JPEG:  # libvips would take them for RGB
        kind = "YCbCr colours without JPEG compression"
    if kind is not None:
        raise ValueError(
            f"a TIFF of {kind} is not supported: samples must be grey, RGB or CMYK, in 8 or 16 bits."
        )


def _refuse_animation(path: Path, file_format: Format) -> None:
    """Refuse the animations of which libvips would give the first frame alone."""
    with path.open("rb") as file:
        start = file.read(2**16)
    animated = (file_format == formats.PNG and b"acTL" in start.partition(b"IDAT")[0]) or (
        file_format == formats.AVIF and b"avis" in start[: int.from_bytes(start[:4])]
    )
    if animated:
        raise ValueError(f"an animation must be GIF or WebP; got an animated {file_format.name}.")
