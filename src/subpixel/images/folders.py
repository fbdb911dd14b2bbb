"""The images of a folder."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from subpixel.images.formats import SUFFIXES


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
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    return files
