"""`subpixel convert`: read a network that others trained."""

from pathlib import Path
from typing import Annotated

import typer

from subpixel.cli.errors import as_option_error
from subpixel.cli.options import Debug, Verbose, check_new, local_path
from subpixel.cli.show import printable


def convert(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A state dict: safetensors, or .pth.", parser=local_path),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The safetensors file to write; it must not exist.",
            parser=local_path,
        ),
    ],
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Convert a network that others trained into one that runs here.

    It must be of the "compact" family: 3x3 convolutions, PReLU, a pixel shuffle, the nearest pixel added.
    Both forms are run and compared. They differ near the borders of an image, which others pad with zeros.
    Nothing in the file is executed.

    Needs: pip install 'subpixel[torch]'

    Example: subpixel convert compact.pth --out compact.safetensors
    """
    with as_option_error("--out"):
        check_new(out)
    with as_option_error("FILE"):
        if not file.is_file():
            raise ValueError(f"it must be an existing file; got {file}.")
        from subpixel.converting.states import convert as read

        network = read(file)
    network.save(out)
    print(printable(out))
