"""Errors as the shell and its user expect them: one line each on stderr, and an exit status."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

log = logging.getLogger("subpixel")


def complain(message: str) -> None:
    """Print one line to stderr."""
    if message:
        print("subpixel:", " ".join(message.split()), file=sys.stderr)


def fail(message: str, status: int) -> NoReturn:
    """Print one line and exit."""
    complain(message)
    sys.exit(status)


def describe(error: Exception) -> str:
    """What went wrong in one line, without Python's names for what callers are expected to meet."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, OSError | ValueError | ImportError):
        return str(error)
    return f"internal error, {type(error).__name__}: {error} (--debug shows where)"


@contextmanager
def as_option_error(option: str) -> Iterator[None]:
    """Turn what is wrong with a value into an error of its option."""
    try:
        yield
    except (ValueError, ImportError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


@contextmanager
def interruptible(how: str) -> Iterator[None]:
    """Say on Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {how}", 130)
