"""The images of a folder."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from subpixel.images.formats import SUFFIXES, unsupported_name


def _raise(error: OSError) -> NoReturn:
    raise error


def image_files(
    folder: Path, *, recursive: bool = False, unreadable: Callable[[OSError], object] = _raise
) -> list[Path]:
    """Return the files of a folder whose names are those of images, in order; hidden ones are left out.

    Links to folders are not followed.

    Args:
        folder: where to look.
        recursive: whether to search the folders in it.
        unreadable: called with the error of each folder that cannot be read; raises it if not given.

    Raises:
        OSError: a folder cannot be read.
    """
    return [path for path in _files(folder, recursive, unreadable) if path.suffix.lower() in SUFFIXES]


def unsupported_files(folder: Path, *, recursive: bool = False) -> Counter[str]:
    """Return how many files of each kind that is not read here a folder holds, by the files' suffixes."""
    names = (unsupported_name(path.suffix) for path in _files(folder, recursive, lambda _: None))
    return Counter(name for name in names if name is not None)


def _files(folder: Path, recursive: bool, unreadable: Callable[[OSError], object]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))
