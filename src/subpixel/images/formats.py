"""The image file formats: what each can hold, and how its files are recognised."""

import re
from collections.abc import Iterable
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
        bilevel: whether it holds black and white at 1 bit a pixel.
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
    bilevel: bool = False


PNG = Format("PNG", (".png",), re.compile(rb"\x89PNG\r\n\x1a\n"), bits=16, bilevel=True)
JPEG = Format(
    "JPEG",
    (".jpg", ".jpeg", ".jpe", ".jfif"),
    re.compile(rb"\xff\xd8\xff"),
    max_side=65500,  # libjpeg's JPEG_MAX_DIMENSION, below the 65535 that the format could say
    quality=95,
    alpha=False,
    cmyk=True,
)
WEBP = Format(
    "WebP", (".webp",), re.compile(rb"RIFF....WEBP", re.DOTALL), max_side=16383, quality=90, pages=True
)
TIFF = Format(
    "TIFF", (".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]"), bits=16, cmyk=True, pages=True, bilevel=True
)
AVIF = Format(
    "AVIF",
    (".avif",),
    re.compile(rb"....ftyp(?:....){0,16}?avi[fs]", re.DOTALL),  # one of the brands that it lists
    bits=12,
    max_side=16384,
    quality=80,
)
GIF = Format("GIF", (".gif",), re.compile(rb"GIF8[79]a"), max_side=65535, pages=True, bilevel=True)

FORMATS = (PNG, JPEG, WEBP, TIFF, AVIF, GIF)
SUFFIXES = tuple(suffix for file_format in FORMATS for suffix in file_format.suffixes)


@dataclass(frozen=True)
class Unsupported:
    """A kind of file that people take for an image, or that is one, and that is not read here.

    Attributes:
        name: as people write it.
        suffixes: of its files.
        magic: matches the first bytes of its files.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: re.Pattern[bytes]


def _unsupported(name: str, suffixes: str, magic: bytes) -> Unsupported:
    return Unsupported(name, tuple(f".{suffix}" for suffix in suffixes.split()), re.compile(magic, re.DOTALL))


RAW = _unsupported(
    "RAW",
    "dng nef nrw arw sr2 srf cr2 cr3 crw raf rw2 orf pef srw 3fr iiq kdc dcr erf mef mos x3f",
    rb"II[*]\0....CR\x02|....ftypcrx |FUJIFILMCCD-RAW|IIU\0|II(RO|RS)|MMOR|FOVb|\0MRM|II\x1a\0\0\0HEAPCCDR",
)
UNSUPPORTED = (
    RAW,
    _unsupported("HEIC", "heic heif hif", rb"....ftyp(?:....){0,16}?(hei[cxms]|hev[cxms])"),
    _unsupported("HEIF other than AVIF", "", rb"....ftyp(mif1|msf1)"),
    _unsupported("JPEG XL", "jxl", rb"\xff\x0a|\0\0\0\x0cJXL "),
    _unsupported("JPEG 2000", "jp2 j2k jpx", rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    _unsupported("JPEG XR", "jxr wdp", rb"II\xbc[\0\1]"),
    _unsupported("BMP", "bmp dib", rb"BM.{4}\0\0\0\0"),
    _unsupported("HTML", "html htm", rb"(?i:\s*<(!doctype html|html|head))"),
    _unsupported("SVG", "svg svgz", rb"\s*(\xef\xbb\xbf)?\s*<svg|.{0,900}?<svg[\s>]"),
    _unsupported("PDF", "pdf ai", rb"%PDF-"),
    _unsupported("PostScript", "eps ps", rb"%!PS|\xc5\xd0\xd3\xc6"),
    _unsupported("Photoshop", "psd psb", rb"8BPS"),
    _unsupported("GIMP", "xcf", rb"gimp xcf"),
    _unsupported("OpenEXR", "exr", rb"\x76\x2f\x31\x01"),
    _unsupported("Radiance HDR", "hdr", rb"#\?(RADIANCE|RGBE)"),
    _unsupported("ICO", "ico cur", rb"\0\0[\1\2]\0[^\0]\0"),
    _unsupported("TGA", "tga", rb"\0\0[\2\3\x0a\x0b]\0\0\0\0\0"),
    _unsupported("PNM", "pbm pgm ppm pnm pam pfm", rb"P[1-7fF]\s"),
    _unsupported("QOI", "qoi", rb"qoif"),
    _unsupported("DDS", "dds", rb"DDS "),
    _unsupported("video", "mp4 mov m4v mkv webm avi", rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI "),
)
_UNSUPPORTED_SUFFIXES = {suffix: kind for kind in UNSUPPORTED for suffix in kind.suffixes}

SNIFFED = 1024  # bytes: the magic of SVG may come after comments


def is_image_name(path: Path) -> bool:
    """Return whether a file name has the suffix of an image, be it one that can be written or not."""
    return path.suffix.lower() in SUFFIXES or unsupported_name(path.suffix) is not None


def unsupported_name(suffix: str) -> str | None:
    """Return the name of the kind of file that a suffix stands for, if it is one that is not read here."""
    kind = _UNSUPPORTED_SUFFIXES.get(suffix.lower())
    return None if kind is None else kind.name


def by_suffix(suffix: str) -> Format:
    """Return the format that a file name's suffix stands for.

    Raises:
        ValueError: no format that can be written has it.

    Example:
        >>> by_suffix(".JPG").name
        'JPEG'
    """
    for file_format in FORMATS:
        if suffix.lower() in file_format.suffixes:
            return file_format
    must = f"the name of an output must end in one of {', '.join(SUFFIXES)}; got {suffix!r}"
    name = unsupported_name(suffix)
    raise ValueError(f"{must}." if name is None else f"{must}: {name} is not supported.")


def by_content(path: Path) -> Format:
    """Return the format of an existing file by its first bytes, whatever its name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is none that can be read.
    """
    with path.open("rb") as file:
        start = file.read(SNIFFED)
    for kind in (RAW, *FORMATS, *UNSUPPORTED):  # RAW first: many start as TIFF files do
        if kind.magic.match(start):
            if isinstance(kind, Format):
                return kind
            raise unsupported(kind)
    raise ValueError(
        f"not an image that can be read: it must be {_NAMES}; "
        + ("the file is empty." if not start else f"it starts with {start[:8]!r}.")
    )


def unsupported(kind: Unsupported) -> ValueError:
    """Return the error for a kind of file that is not read here."""
    return ValueError(f"{kind.name} is not supported: an image must be {_NAMES}.")


def names(some: Iterable[Format]) -> str:
    """Return the names of formats as alternatives, such as "PNG, JPEG or WebP"."""
    return " or ".join(", ".join(file_format.name for file_format in some).rsplit(", ", 1))


_NAMES = names(FORMATS)
