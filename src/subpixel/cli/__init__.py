"""The command: parse, call, print; one file for each command.

Results go to stdout; errors, one line each, and progress go to stderr. Exit status: 0 all done, 1 something
failed, 2 the command line is wrong, 130 interrupted.
"""

import signal
import sys
from collections.abc import Sequence

import typer

from subpixel.cli import evaluate, networks, rewrite, train, upscale
from subpixel.cli.errors import describe, fail, log

app = typer.Typer(
    help="Enlarge images with sub-pixel networks; make models that up-sample faster.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text, the same in a terminal, a file and the documentation
    add_completion=False,
)
for command in (upscale.upscale, rewrite.rewrite, evaluate.evaluate, networks.networks, train.train):
    app.command()(command)


def main() -> None:
    """Run the command line: one line an error, a traceback only with --debug."""
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # as an exception, so that temporary files are removed
    try:
        sys.exit(app(_repeated(sys.argv[1:]) or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        fail(error.format_message(), error.exit_code)
    except Exception as error:  # noqa: BLE001 (an internal error is one line as well)
        log.debug("traceback:", exc_info=True)
        fail(describe(error), 1)


def _repeated(arguments: Sequence[str]) -> list[str]:
    """Repeat --data before each of the folders that follow it: option parsers know one value an option.

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
