"""Output files that are whole or absent: written beside their place, then renamed into it."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    temporary = _create(path)
    try:
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private; the output should not be
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create(path: Path) -> Path:
    try:
        descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=f".partial{path.suffix}", dir=path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    os.close(descriptor)
    return Path(name)


def _remove_abandoned(folder: Path) -> None:
    for file in folder.glob(f"{PREFIX}*.partial*"):
        if time.time() - file.stat().st_mtime > ABANDONED_AFTER:
            file.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
