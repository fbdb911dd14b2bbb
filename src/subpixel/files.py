"""Output files that are whole or absent: written beside their place, then renamed into it."""

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

if sys.platform != "win32":  # Windows has no such locks: there, only the age of a file counts
    import fcntl

DISK_FULL = "disk full"
FILE_TOO_LARGE = "the output is larger than files may be here"
PREFIX = ".subpixel-"
ABANDONED_AFTER = 24 * 3600  # seconds, where no lock shows whether the owner of a file lives


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a hidden temporary path beside `path`; rename it to `path` at the end, or remove it on failure.

    What a killed process left of the same output is removed before. A process that is writing the same output
    holds a lock on its temporary file, and so keeps it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with replacing(Path(folder, "hello.txt")) as temporary:
        ...         _ = temporary.write_text("hello")
        ...     print([file.name for file in Path(folder).iterdir()])
        ['hello.txt']
    """
    _remove_abandoned(path)
    with naming_a_full_disk(path.parent), _locked_file(path) as temporary:
        yield temporary
        temporary.replace(path)


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Have the error of a full disk, or of a file that is too large for it, say so and name the folder."""
    try:
        yield
    except OSError as error:
        reason = {errno.ENOSPC: DISK_FULL, errno.EFBIG: FILE_TOO_LARGE}.get(error.errno or 0)
        if reason is None or str(error.strerror).startswith(reason):
            raise
        raise OSError(error.errno, reason, str(folder)) from error


@contextmanager
def _locked_file(path: Path) -> Iterator[Path]:
    """Create a temporary file for an output, lock it while the output is in work, and remove it on failure.

    The handler of a signal may raise at any line from the creation on: each is under `try`.
    """
    temporary = path.with_name(f"{_prefix(path)}{uuid4().hex[:8]}.partial{path.suffix}")
    descriptor = None
    try:
        descriptor = _create(temporary, path)
        yield temporary
    except BaseException:
        with suppress(OSError):  # there may be no file, nor a folder
            temporary.unlink()
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _create(temporary: Path, path: Path) -> int | None:
    """Create and lock the temporary file of an output; return its descriptor, or None if it is closed."""
    while True:
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        if sys.platform == "win32":
            os.close(descriptor)  # Windows renames no open file
            return None
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if temporary.exists():
            return descriptor
        os.close(descriptor)  # removed as abandoned by another process, before it was locked


def _prefix(path: Path) -> str:
    """Return how the names of an output's temporary files start, in every process."""
    return f"{PREFIX}{blake2b(os.fsencode(path.name), digest_size=8).hexdigest()}-"


def _remove_abandoned(path: Path) -> None:
    """Remove what dead processes left of an output, and of other outputs what is very old."""
    for file in path.parent.glob(f"{PREFIX}*.partial*"):
        with suppress(OSError):  # another process may be removing it, or it is another user's
            status = file.lstat()
            old = time.time() - status.st_mtime > ABANDONED_AFTER
            if S_ISREG(status.st_mode) and (old or file.name.startswith(_prefix(path))):
                _remove_unlocked(file, old=old)


def _remove_unlocked(file: Path, *, old: bool) -> None:
    """Remove a file that no process has locked; where there are no locks, remove it if it is old."""
    if sys.platform == "win32":
        if old:
            file.unlink()
        return
    descriptor = os.open(file, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()  # while it is locked, so that its owner, if it is about to lock it, sees it gone
    except BlockingIOError:
        pass  # its owner lives
    except OSError:
        if old:
            file.unlink()
    finally:
        os.close(descriptor)
