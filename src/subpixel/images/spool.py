"""Pixels in a scratch file: an uncompressed BigTIFF, which libvips streams.

libvips would map a file of nothing but pixels into memory whole.

References: TIFF 6.0, section 8; BigTIFF.
"""

from collections.abc import Iterator, Sequence
from typing import IO, Any

import numpy as np
import pyvips

from subpixel.images.tags import Entry, Ifd, serialised
from subpixel.raster import Colour, Layout, Raster

STRIP_BYTES = 2**22

_PHOTOMETRIC: dict[Colour, int] = {"grey": 1, "rgb": 2, "cmyk": 5}
_STRIP_OFFSETS = 0x0111
_HEADER = b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0"  # little-endian, 8 bytes an offset, the directory at 16


def write(pages: Sequence[Raster], scratch: IO[bytes]) -> Iterator[float]:
    """Write all pixels to a file, giving the fraction done after each strip."""
    first = pages[0]
    scratch.write(head(first.width, first.height * len(pages), first.layout, first.dtype.itemsize))
    rows = sum(page.height for page in pages)
    done = 0
    for page in pages:
        for strip in page.strips:
            scratch.write(np.ascontiguousarray(strip, strip.dtype.newbyteorder("<")).data)
            done += len(strip)
            yield done / rows
    scratch.flush()


def opened(scratch: IO[bytes], pages: Sequence[Raster]) -> Any:
    """Return a scratch file as an image, opened by its descriptor.

    The file has no name, so that not even SIGKILL leaves it behind.
    """
    image = pyvips.Image.tiffload(f"/dev/fd/{scratch.fileno()}", access="sequential").copy()
    if len(pages) > 1:
        image.set_type(pyvips.GValue.gint_type, "page-height", pages[0].height)
    return image


def head(width: int, height: int, layout: Layout, itemsize: int) -> bytes:
    """Return what comes before the pixels, which follow in rows from the top, little-endian.

    Args:
        width: in pixels.
        height: in pixels.
        layout: what the bands are.
        itemsize: bytes a sample, 1 or 2.
    """
    line = width * layout.bands * itemsize
    rows = max(1, STRIP_BYTES // line)
    tops = range(0, height, rows)
    tags: Ifd = {
        0x0100: _long8(width),
        0x0101: _long8(height),
        0x0102: _short(*[8 * itemsize] * layout.bands),
        0x0103: _short(1),  # not compressed
        0x0106: _short(_PHOTOMETRIC[layout.colour]),
        _STRIP_OFFSETS: _long8(*tops),  # of the right length for now
        0x0115: _short(layout.bands),
        0x0116: _long8(rows),
        0x0117: _long8(*(line * min(rows, height - top) for top in tops)),  # bytes of each strip
    }
    if layout.alpha:
        tags[0x0152] = _short(2)  # opacity, not premultiplied
    length = len(_HEADER) + len(serialised(tags, len(_HEADER), big=True))
    tags[_STRIP_OFFSETS] = _long8(*(length + line * top for top in tops))
    return _HEADER + serialised(tags, len(_HEADER), big=True)


def _short(*numbers: int) -> Entry:
    return Entry(3, len(numbers), np.array(numbers, "<u2").tobytes())


def _long8(*numbers: int) -> Entry:
    return Entry(16, len(numbers), np.array(numbers, "<u8").tobytes())
