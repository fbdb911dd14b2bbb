"""Options that several commands share."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from subpixel.cli.errors import log


def _log_from(level: int) -> Callable[[bool], None]:
    def set_level(wanted: bool) -> None:
        if wanted:
            logging.basicConfig(format="subpixel: %(message)s", level=logging.WARNING)
            log.setLevel(min(level, log.level or level))

    return set_level


def path(text: str) -> Path:
    """Return a path; refuse an empty one."""
    if not text:
        raise typer.BadParameter("a path must not be empty.")  # an unset variable; as a Path it would be "."
    return Path(text)


# Every command takes these two last, as `_verbose: Verbose = False, _debug: Debug = False`.
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is chosen.", callback=_log_from(logging.INFO))
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.", callback=_log_from(logging.DEBUG))]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Engine = Annotated[
    Literal["auto", "openvino", "onnxruntime", "torch"],
    typer.Option(help="What runs the network; auto takes the fastest that works here."),
]
Precision = Annotated[
    Literal["auto", "f32", "bf16"],
    typer.Option(help="What it computes in; auto is bf16 where the processor has it."),
]
