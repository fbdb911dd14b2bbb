"""Errors as the shell and its user expect them: one line each on stderr, and an exit status."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from subpixel.cli.show import printable

log = logging.getLogger("subpixel")

INTERRUPTED = 130  # 128 + SIGINT, the exit status that a shell gives Ctrl-C


def complain(message: str) -> None:
    """Print one line to stderr; names in the message that may hold a line break are escaped before."""
    if message:
        print("subpixel:", printable(" ".join(message.split("\n"))), file=sys.stderr)


def fail(message: str, status: int) -> NoReturn:
    """Print one line and exit."""
    complain(message)
    sys.exit(status)


def leave_closed_output() -> NoReturn:
    """Exit in silence, since the reader of the output, such as `head`, has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that Python's last flush succeeds
    sys.exit(1)


def describe(error: Exception) -> str:
    """Say in one line what went wrong, without Python's names for the errors that callers expect."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    ours = type(error).__module__.startswith("subpixel.")  # for example a model that does not equal itself
    if ours or isinstance(error, OSError | ValueError | ImportError):
        return str(error)
    return f"internal error, {type(error).__name__}: {error} (--debug shows where)"


@contextmanager
def as_option_error(
    option: str, kinds: tuple[type[Exception], ...] = (ValueError, ImportError)
) -> Iterator[None]:
    """Turn what is wrong with a value into an error of its option.

    Args:
        option: the option's name, or an argument's.
        kinds: the errors that the option is to blame for.
    """
    try:
        yield
    except kinds as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


@contextmanager
def as_engine_error() -> Iterator[None]:
    """Turn what an engine says into an error of --engine if it does not start, or else of --precision."""
    not_started = (ImportError, OSError, RuntimeError)  # it is missing, or a library of its own
    with as_option_error("--engine", not_started), as_option_error("--precision", (ValueError,)):
        yield


@contextmanager
def interruptible(how: str = "") -> Iterator[None]:
    """Exit with one line on Ctrl-C, which says how to continue."""
    try:
        yield
    except KeyboardInterrupt:
        fail(f"interrupted; {how}" if how else "interrupted", INTERRUPTED)
