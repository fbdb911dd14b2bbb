"""The images of a folder."""

import os
from pathlib import Path
from typing import NoReturn

from subpixel.images.formats import SUFFIXES


def image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the files of a folder whose names are those of images, in order; hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        paths = [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES]
    return files


def _raise(error: OSError) -> NoReturn:
    raise error
