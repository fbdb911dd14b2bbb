"""`subpixel evaluate`: measure PSNR and SSIM."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from subpixel.cli.errors import as_engine_error, as_option_error, interruptible
from subpixel.cli.options import (
    Debug,
    Engine,
    Json,
    Precision,
    Verbose,
    local_path,
    name_or_path,
    network_names,
)
from subpixel.cli.show import bar_progress, print_rows

if TYPE_CHECKING:
    from subpixel.evaluation.protocol import Row
    from subpixel.network import LRNetwork


def evaluate(
    network: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="Shipped names, or safetensors files.",
            parser=name_or_path,
            autocompletion=network_names,
        ),
    ],
    data: Annotated[
        list[Path],
        typer.Option(metavar="DIR...", help="Folders of high-resolution images.", parser=local_path),
    ],
    *,
    engine: Engine = "auto",
    precision: Precision = "f32",
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Measure how good networks are.

    As in the super-resolution tables, each image is reduced by bicubic interpolation and enlarged again. PSNR
    in dB and SSIM say how close the luma of the result is to the luma of the image. Bicubic interpolation is
    measured beside the network.

    Example: subpixel evaluate espcn-x3 mine.safetensors --data Set5 Set14
    """
    from subpixel.evaluation.protocol import score_network
    from subpixel.network import load
    from subpixel.upscale import Upscaler

    with as_option_error("NETWORK"):
        networks = [load(name) for name in network]
    with as_engine_error():
        upscalers = [Upscaler(loaded, engine, precision) for loaded in networks]
        for upscaler in upscalers:
            upscaler.prepare()
    tasks = [(*pair, folder) for pair in zip(upscalers, networks, strict=True) for folder in data]
    results = []
    with bar_progress(len(tasks)) as report, interruptible():
        for index, (upscaler, loaded, folder) in enumerate(tasks):
            title = f"{loaded.name} on {_name(folder)}"
            progress = report(index, title)
            progress(0)
            scored = score_network(upscaler, loaded, folder, progress)
            results.append(_as_dict(loaded, folder, scored))
            if not as_json:
                print_rows([*results[-1]["images"], results[-1]["mean"]], title=title)
    if as_json:
        print(json.dumps(results, indent=1))


def _name(folder: Path) -> str:
    """Return the name of a folder, even of one written as "." or ".."."""
    return folder.resolve().name


def _as_dict(network: "LRNetwork", folder: Path, scored: "list[Row]") -> dict[str, Any]:
    from subpixel.evaluation.protocol import mean_row

    return {
        "network": network.name,
        "scale": network.upscale_factor,
        "data": _name(folder),
        "images": [_figures(row) for row in scored],
        "mean": _figures(mean_row(scored)),
    }


def _figures(row: "Row") -> dict[str, Any]:
    return {
        "image": row.image,
        "PSNR": _finite(row.network.psnr),
        "SSIM": round(row.network.ssim, 6),
        "bicubic PSNR": _finite(row.bicubic.psnr),
        "bicubic SSIM": round(row.bicubic.ssim, 6),
    }


def _finite(psnr: float) -> float | None:
    """Return a rounded PSNR, or None for that of a perfect image, which JSON cannot hold."""
    return round(psnr, 4) if math.isfinite(psnr) else None
