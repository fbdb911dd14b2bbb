"""Image files to rasters and back: nothing is lost on the way, or the loss is named. Knows no network.

Files are streamed: neither input nor output is ever whole in memory.
"""

from subpixel.images.folders import image_files, unsupported_files
from subpixel.images.formats import Format, by_suffix, is_image_name
from subpixel.images.reader import Picture, read, read_array
from subpixel.images.writer import Written, dtype_for, write

__all__ = [
    "Format",
    "Picture",
    "Written",
    "by_suffix",
    "dtype_for",
    "image_files",
    "is_image_name",
    "read",
    "read_array",
    "unsupported_files",
    "write",
]
