"""The head of an uncompressed BigTIFF: with pixels behind it, an image that libvips streams.

A file of nothing but pixels libvips maps into memory whole.

References: TIFF 6.0, section 8; BigTIFF.
"""

import struct
import sys

from subpixel.raster import Colour, Layout

STRIP_BYTES = 2**22

_PHOTOMETRIC: dict[Colour, int] = {"grey": 1, "rgb": 2, "cmyk": 5}
_STRIP_OFFSETS = 0x0111
_KINDS = {"H": 3, "Q": 16}  # struct's letters, and TIFF's numbers: SHORT, LONG8


def bigtiff_head(width: int, height: int, layout: Layout, itemsize: int) -> bytes:
    """What comes before the pixels, which follow in rows from the top, in this machine's byte order.

    Args:
        width: in pixels.
        height: in pixels.
        layout: what the bands are.
        itemsize: bytes a sample, 1 or 2.
    """
    line = width * layout.bands * itemsize
    rows = max(1, STRIP_BYTES // line)
    tops = range(0, height, rows)
    tags = {
        0x0100: ("Q", [width]),
        0x0101: ("Q", [height]),
        0x0102: ("H", [8 * itemsize] * layout.bands),
        0x0103: ("H", [1]),  # not compressed
        0x0106: ("H", [_PHOTOMETRIC[layout.colour]]),
        _STRIP_OFFSETS: ("Q", [line * top for top in tops]),
        0x0115: ("H", [layout.bands]),
        0x0116: ("Q", [rows]),
        0x0117: ("Q", [line * min(rows, height - top) for top in tops]),  # bytes of each strip
    }
    if layout.alpha:
        tags[0x0152] = ("H", [2])  # opacity, not premultiplied
    behind = len(_serialised(tags))
    tags[_STRIP_OFFSETS] = ("Q", [behind + offset for offset in tags[_STRIP_OFFSETS][1]])
    return _serialised(tags)


def _serialised(tags: dict[int, tuple[str, list[int]]]) -> bytes:
    order = b"II" if sys.byteorder == "little" else b"MM"
    fields = [order + struct.pack("=HHHQQ", 43, 8, 0, 16, len(tags))]
    place, behind = 16 + 8 + 20 * len(tags) + 8, b""
    for tag, (kind, numbers) in tags.items():
        values = struct.pack(f"={len(numbers)}{kind}", *numbers)
        if len(values) > 8:
            behind += values
            values = struct.pack("=Q", place + len(behind) - len(values))
        fields.append(struct.pack("=HHQ8s", tag, _KINDS[kind], len(numbers), values))
    return b"".join([*fields, bytes(8), behind])
