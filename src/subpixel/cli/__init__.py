"""The command: parse, call, print; one file for each command.

Results go to stdout; errors, one line each, and progress go to stderr. Exit status: 0 all done, 1 something
failed, 2 the command line is wrong, 130 interrupted by Ctrl-C, 128 + n ended by another signal n.
"""

import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from subpixel import __version__
from subpixel.cli import convert, evaluate, export, networks, rewrite, study, train, upscale
from subpixel.cli.errors import INTERRUPTED, describe, fail, leave_closed_output, log

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, the same in a terminal, a file and the documentation
    context_settings={"help_option_names": ["--help", "-h"]},
)
for command in (
    upscale.upscale,
    rewrite.rewrite,
    evaluate.evaluate,
    networks.networks,
    export.export,
    convert.convert,
    train.train,
    study.study,
):
    app.command()(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"subpixel {__version__}")
        raise typer.Exit


@app.callback()
def subpixel(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Enlarge images with neural networks; make other people's networks faster.

    Example: subpixel upscale photo.jpg --scale 3

    Exit status: 0 all done, 1 something failed, 2 the command line is wrong, 130 interrupted by Ctrl-C.
    """


def main() -> None:
    """Run the command line: one line for each error, a traceback only with --debug."""
    # Termination comes as an exception, so that temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = app(_repeated(sys.argv[1:]) or ["--help"], prog_name="subpixel", standalone_mode=False)
        sys.stdout.flush()
        fail("interrupted" if status == INTERRUPTED else "", status or 0)
    except typer.TyperException as error:
        fail(_message(error), error.exit_code)
    except BrokenPipeError:
        leave_closed_output()
    except Exception as error:  # noqa: BLE001 (an internal error is one line as well)
        log.debug("traceback:", exc_info=True)
        fail(describe(error), 1)


def _message(error: typer.TyperException) -> str:
    """Return what is wrong, and which help to read unless the message says what a value must be."""
    message = error.format_message().replace("Value error, ", "")  # put there by typer's validator
    context = getattr(error, "ctx", None)
    if context is None or type(error) is typer.BadParameter:
        return message
    end = "" if message.endswith("?") else "."  # "Did you mean 'upscale'?"
    return f"{message.rstrip('.')}{end} See: {context.command_path} --help"


def _repeated(arguments: Sequence[str]) -> list[str]:
    """Repeat --data before each of the folders that follow it: option parsers take one value an option.

    Example:
        >>> _repeated(["evaluate", "espcn-x3", "--data", "Set5", "Set14", "--json"])
        ['evaluate', 'espcn-x3', '--data', 'Set5', '--data', 'Set14', '--json']
    """
    result: list[str] = []
    option = None
    for argument in arguments:
        if argument.startswith("-"):
            option = argument
        elif option == "--data" and result[-1] != "--data":
            result.append("--data")
        result.append(argument)
    return result
