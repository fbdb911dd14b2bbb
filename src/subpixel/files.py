"""Output files that are whole or absent: written beside their place, then renamed into it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

PREFIX = ".subpixel-"
ABANDONED_AFTER = 24 * 3600  # seconds; only a killed process leaves its file behind


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden temporary path beside `path`; in the end rename it to `path`, or on failure remove it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "hello.txt")) as temporary:
        ...         _ = temporary.write_text("hello")
        ...     print([file.name for file in Path(folder).iterdir()])
        ['hello.txt']
    """
    _remove_abandoned(path.parent)
    temporary = path.with_name(f"{PREFIX}{uuid4().hex}.partial{path.suffix}")
    try:
        _create(temporary, path)
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create(temporary: Path, path: Path) -> None:
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _remove_abandoned(folder: Path) -> None:
    for file in folder.glob(f"{PREFIX}*.partial*"):
        with suppress(OSError):  # another process may be removing it, or it is another user's
            status = file.lstat()
            if S_ISREG(status.st_mode) and time.time() - status.st_mtime > ABANDONED_AFTER:
                file.unlink()
