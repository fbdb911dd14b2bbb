"""What reading and writing both ask of libvips, in the words of this library."""

import errno
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from subpixel.images import formats, tags
from subpixel.images.formats import Format

DTYPES: dict[str, np.dtype[Any]] = {"uchar": np.dtype(np.uint8), "ushort": np.dtype(np.uint16)}

_NAMES = {"AVIF": "heif"}

pyvips.cache_set_max(0)  # the cache goes by file name, and would serve a file that has changed since
_log = logging.getLogger("pyvips")
_log.addHandler(logging.NullHandler())
_log.propagate = False  # its warnings are in libvips's words, and not for users' terminals


def load(path: Path, file_format: Format, **options: Any) -> Any:
    """Open a file with all its pages, one below the other; a thumbnail is not a page."""
    if file_format.pages or file_format == formats.AVIF:
        options["n"] = 1 if file_format == formats.TIFF and tags.has_only_previews(path) else -1
    return getattr(pyvips.Image, _name(file_format) + "load")(os.fsencode(path), fail_on="error", **options)


def is_damaged_jpeg(path: Path) -> bool:
    """Return whether libjpeg finds codes of pixels wrong or missing, and so makes pixels up.

    All codes are read, but only an eighth of the rows and columns is made of them: this takes a hundredth of
    the time of enlarging, or less.
    """
    try:
        pyvips.Image.jpegload(os.fsencode(path), shrink=8, access="sequential", fail_on="warning").avg()
    except pyvips.Error:
        return True
    return False


def save(image: Any, path: Path, file_format: Format, options: dict[str, Any]) -> None:
    """Encode an image to a file."""
    getattr(image, _name(file_format) + "save")(os.fsencode(path), **options)


def field(image: Any, name: str, default: Any) -> Any:
    """Return a field of an image's header, or the default where it has none of this name."""
    return image.get(name) if image.get_typeof(name) else default


def with_fields(image: Any, original: Any, names: list[str]) -> Any:
    """Return a copy of an image with those of these fields of another that the image does not have."""
    image = image.copy()
    for name in names:
        if original.get_typeof(name) and not image.get_typeof(name):
            image.set_type(original.get_typeof(name), name, original.get(name))
    return image


def grey(image: Any) -> Any:
    """Return an image of three equal bands as one of a single band, with all of its header."""
    return image.extract_band(0).copy(interpretation="b-w")


def set_blob(image: Any, name: str, data: bytes) -> None:
    """Set a field of an image's header."""
    image.set_type(pyvips.GValue.blob_type, name, data)


def set_page_height(image: Any, height: int) -> None:
    """Say that an image is pages of this height, one below the other."""
    image.set_type(pyvips.GValue.gint_type, "page-height", height)


def region(image: Any) -> Any:
    """Return a region of an image, through which its pixels are fetched."""
    return pyvips.Region.new(image)


def open_descriptor(descriptor: int) -> Any:
    """Open a TIFF file that has no name by its descriptor, to be read from its start."""
    return pyvips.Image.tiffload(f"/dev/fd/{descriptor}", access="sequential")


@contextmanager
def explained(kind: type[Exception], what: str) -> Iterator[None]:
    """Raise libvips's errors as errors of this kind that say `what`, with the reason where it is known.

    libvips's own words name its functions; they stay in the error's cause, for tracebacks.
    """
    pyvips.vips_lib.vips_error_clear()  # or what another image left would be taken for this one's reason
    try:
        yield
    except UnicodeDecodeError as error:  # libvips quotes a file name that is not UTF-8
        raise kind(f"{what}.") from error
    except pyvips.Error as error:
        words = f"{error.message}\n{error.detail}"
        if "No space left on device" in words:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise kind(f"{what}{_reason(words)}.") from error


_REASONS = {
    r"page (\d+) differs from page (\d+)": r"all pages must be alike, and page \1 differs from page \2",
    r"(?i)premature end|unexpected end|insufficient|not enough data|read error at": "it ends too early",
    r"File too large": "it would be larger than files may be here",
    r"(?i)out of memory|unable to allocate|cannot allocate": "there is not enough memory",
}


def _reason(words: str) -> str:
    for pattern, reason in _REASONS.items():
        if (match := re.search(pattern, words)) is not None:
            return f": {match.expand(reason)}"
    return ""


def _name(file_format: Format) -> str:
    return _NAMES.get(file_format.name, file_format.name.lower())
