"""Options that several commands share."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import typer

from subpixel.cli.errors import log


def name_or_path(text: str) -> str:
    """Return a name or a path; refuse an empty one, as an unset shell variable gives it, and a URL."""
    if not text:
        raise typer.BadParameter("a path must not be empty.")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise typer.BadParameter(
            f"there is no network access; got {text}. Download it first, and give its path."
        )
    return text


def network_names(incomplete: str) -> list[str]:
    """Return the networks that ship whose names begin so; where none does, a shell completes files."""
    from subpixel.network import shipped

    return [name for name in shipped() if name.startswith(incomplete)]


def local_path(text: str | Path) -> Path:
    """Return a path, a default as it is; refuse what `name_or_path` refuses."""
    return text if isinstance(text, Path) else Path(name_or_path(text))


def check_writable(path: Path | None) -> None:
    """Refuse at once a path whose writing would fail after minutes."""
    if path is not None and not path.parent.is_dir():
        raise ValueError(f"its folder must exist; got {path}.")
    if path is not None and (path.is_dir() or not os.access(path.parent, os.W_OK)):
        raise ValueError(f"it must be a file in a folder that can be written to; got {path}.")


def check_new(path: Path) -> None:
    """Refuse at once an output that would replace a file, or that cannot be written."""
    check_writable(path)
    if path.exists():
        raise ValueError(f"it must not exist; got {path}. Remove it, or choose another.")


def _log_from(level: int) -> Callable[[bool], bool]:
    def set_level(wanted: bool) -> bool:
        if wanted:
            logging.basicConfig(format="subpixel: %(message)s", level=logging.WARNING)
            log.setLevel(min(level, log.level or level))
        return wanted

    return set_level


# Every command takes these two last, as `_verbose: Verbose = False, _debug: Debug = False`, without the
# underscore where it uses them itself.
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose",
        "-v",
        help="Say what is chosen, for example the engine.",
        callback=_log_from(logging.INFO),
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", callback=_log_from(logging.DEBUG))
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Engine = Annotated[
    Literal["auto", "native", "openvino", "onnxruntime", "torch"],
    typer.Option(help="The engine that runs the network; auto takes the fastest on this machine."),
]
Precision = Annotated[
    Literal["f32", "bf16"],
    typer.Option(help="The precision of the engine; bf16 only where the engine and the processor have it."),
]
