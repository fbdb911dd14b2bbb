"""XMP kept as it is, except for what enlarging changes."""

import re


def corrected(xmp: bytes, width: int, height: int) -> bytes:
    """Return XMP whose copies of EXIF's orientation and sizes fit an upright picture of a new size.

    Example:
        >>> corrected(b'<x tiff:Orientation="6" exif:PixelXDimension="90"/>', 180, 120)
        b'<x tiff:Orientation="1" exif:PixelXDimension="180"/>'
    """
    for names, value in (
        (b"tiff:Orientation", 1),
        (b"tiff:ImageWidth|exif:PixelXDimension", width),
        (b"tiff:ImageLength|exif:PixelYDimension", height),
    ):
        xmp = re.sub(rb"((?:%b)(?:=[\"']|>))\d+" % names, rb"\g<1>%d" % value, xmp)
    return xmp
