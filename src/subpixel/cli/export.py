"""`subpixel export`: write a network in a form that other programs run."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from subpixel.cli.errors import as_option_error
from subpixel.cli.options import Debug, Verbose, check_new, local_path, name_or_path, network_names
from subpixel.cli.show import printable


def export(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK",
            help="A shipped name, or a safetensors file.",
            parser=name_or_path,
            autocompletion=network_names,
        ),
    ],
    *,
    to: Annotated[
        Literal["onnx", "glsl"],
        typer.Option(help="The form: a model for any ONNX runtime, or a shader for mpv and libplacebo."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT",
            help="The file to write; it must not exist. Without it NETWORK.onnx or NETWORK.glsl.",
            parser=local_path,
        ),
    ] = None,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Write a network in a form that other programs run.

    An ONNX model takes planes of any size, float32 in 0..1, and pads them itself. What it gives may lie a
    little beyond 0..1. A GLSL shader enlarges the luma of the films that mpv shows; it takes networks of one
    channel.

    --to onnx needs: pip install 'subpixel[onnx]'

    Example: subpixel export espcn-x2 --to onnx

    Example: subpixel export mine.safetensors --to glsl --out mine.glsl
    """
    from subpixel.network import load

    with as_option_error("NETWORK"):
        loaded = load(network)
    destination = out or Path(f"{network.removesuffix('.safetensors')}.{to}")
    with as_option_error("--out"):
        check_new(destination)
    with as_option_error("--to"):
        if to == "onnx":
            from subpixel.exporting.onnx import export as write
        else:
            from subpixel.exporting.glsl import export as write
        write(loaded, destination)
    print(printable(destination))
