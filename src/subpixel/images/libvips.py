"""What reading and writing both ask of libvips, in the words of this library."""

import logging
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
    return getattr(pyvips.Image, _name(file_format) + "load")(str(path), fail_on="error", **options)


def save(image: Any, path: Path, file_format: Format, options: dict[str, Any]) -> None:
    """Encode an image to a file."""
    getattr(image, _name(file_format) + "save")(str(path), **options)


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


@contextmanager
def explained(kind: type[Exception], what: str) -> Iterator[None]:
    """Raise libvips's errors as errors of this kind, with the last line of its explanation."""
    try:
        yield
    except pyvips.Error as error:
        lines = [line.strip() for line in f"{error.message}\n{error.detail}".splitlines()]
        raise kind(f"{what}: {[line for line in lines if line][-1]}.") from error


def _name(file_format: Format) -> str:
    return _NAMES.get(file_format.name, file_format.name.lower())
