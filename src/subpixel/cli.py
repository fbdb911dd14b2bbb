"""The command: parse, call, print.

Results go to stdout; errors, a line each, and progress to stderr. Exit status: 0 all done, 1 something
failed, 2 the command line is wrong, 130 interrupted.
"""

import logging
import signal
import sys
from collections.abc import Callable
from typing import Annotated, NoReturn

import typer

log = logging.getLogger("subpixel")

app = typer.Typer(
    help="Enlarge images with sub-pixel networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line: one line an error, a traceback only with --debug."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # as an exception, so that temporary files are removed
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        fail(error.format_message(), error.exit_code)  # no message where the help was printed instead
    except Exception as error:
        log.debug("traceback:", exc_info=True)
        fail(describe(error), 1)


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


def _log_from(level: int) -> Callable[[bool], None]:
    def set_level(wanted: bool) -> None:
        if wanted:
            logging.basicConfig(format="subpixel: %(message)s", level=logging.WARNING)
            log.setLevel(min(level, log.level or level))

    return set_level


# Every command takes these two last, as `_verbose: Verbose = False, _debug: Debug = False`.
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is chosen.", callback=_log_from(logging.INFO))
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", callback=_log_from(logging.DEBUG))]
