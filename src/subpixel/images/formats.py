"""What each image file format can hold, and how to know its files."""

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """An image file format.

    Attributes:
        name: as people write it.
        suffixes: of its files, the usual one first.
        magic: matches the first bytes of its files.
        bits: the most a sample can have that is written here.
        max_side: the largest width and height, in pixels.
        quality: the default of its lossy compression; None where it is lossless.
        alpha: whether it holds transparency.
        cmyk: whether it holds CMYK.
        pages: whether it holds several pages or frames.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]
    bits: int = 8
    max_side: int = 2**31 - 1
    quality: int | None = None
    alpha: bool = True
    cmyk: bool = False
    pages: bool = False


PNG = Format("PNG", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), bits=16)
JPEG = Format(
    "JPEG",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    re.compile(rb"\xff\xd8\xff"),
    max_side=65535,
    quality=95,
    alpha=False,
    cmyk=True,
)
WEBP = Format(
    "WebP", (".webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), max_side=16383, quality=90, pages=True
)
TIFF = Format("TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), bits=16, cmyk=True, pages=True)
AVIF = Format(
    "AVIF",
    (".avif",),
    re.compile(rb"....ftyp(avi[fs]|mi[fa]1|msf1|hei[cx])", re.DOTALL),
    bits=12,
    max_side=16384,
    quality=80,
)
GIF = Format("GIF", (".gif",), re.compile(rb"GIF8[79]a"), max_side=65535, pages=True)

FORMATS = (PNG, JPEG, WEBP, TIFF, AVIF, GIF)
SUFFIXES = tuple(suffix for file_format in FORMATS for suffix in file_format.suffixes)


def by_suffix(suffix: str) -> Format:
    """The format that a file name's suffix stands for.

    Raises:
        ValueError: no format that can be written has it.

    Example:
        >>> by_suffix(".JPG").name
        'JPEG'
    """
    for file_format in FORMATS:
        if suffix.lower() in file_format.suffixes:
            return file_format
    raise ValueError(f"the name of an image must end in one of {', '.join(SUFFIXES)}; got {suffix!r}.")


def by_content(path: Path) -> Format:
    """The format of an existing file, told by its first bytes, whatever its name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none that can be read.
    """
    with path.open("rb") as file:
        start = file.read(32)
    for file_format in FORMATS:
        if file_format.magic.match(start):
            return file_format
    raise ValueError(
        "not an image that can be read: it must be "
        + ", ".join(f.name for f in FORMATS)
        + "; "
        + ("the file is empty." if not start else f"it starts with {start[:8]!r}.")
    )
