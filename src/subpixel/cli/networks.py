"""`subpixel networks`: list the networks that ship."""

import json
from typing import TYPE_CHECKING, Any

from subpixel.cli.errors import complain
from subpixel.cli.options import Debug, Json, Verbose
from subpixel.cli.show import print_rows

if TYPE_CHECKING:
    from subpixel.network import LRNetwork


def networks(*, as_json: Json = False, verbose: Verbose = False, _debug: Debug = False) -> None:
    """List the networks that ship.

    MACs are the multiply-accumulates for each pixel of the input. "sees" is the side, in pixels of the input,
    of the square that an output pixel depends on. PSNR is in dB on the usual test sets; higher is better.
    With -v: on which engine, with which instruction set and how many threads each one runs here.

    Example: subpixel networks --json
    """
    from subpixel.network import load, shipped

    found = [load(name) for name in shipped()]
    if verbose:
        _log_engines(found)
    rows = [_as_dict(network) for network in found]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print_rows([_as_row(row) for row in rows])


def _log_engines(found: "list[LRNetwork]") -> None:
    from subpixel.engines import create

    try:
        for network in found:
            create(network)  # logs what it chooses
    except (ImportError, OSError, RuntimeError) as error:
        complain(str(error))


def _as_dict(network: "LRNetwork") -> dict[str, Any]:
    return {
        "network": network.name,
        "scale": network.upscale_factor,
        "default": bool(network.metadata.get("default")),
        "parameters": network.parameters,
        "macs_per_lr_pixel": network.macs_per_lr_pixel,
        "receptive_field": network.receptive_field,
        "psnr": network.metadata.get("psnr", {}),
    }


def _as_row(figures: dict[str, Any]) -> dict[str, Any]:
    names = {"parameters": "parameters", "macs_per_lr_pixel": "MACs", "receptive_field": "sees"}
    return (
        {"network": figures["network"], "scale": figures["scale"]}
        | {name: figures[key] for key, name in names.items()}
        | {f"PSNR, {data}": psnr for data, psnr in figures["psnr"].items()}
    )
