"""`subpixel evaluate`: measure PSNR and SSIM."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer

from subpixel.cli.options import Debug, Engine, Json, Precision, Verbose
from subpixel.cli.show import print_rows


def evaluate(
    network: Annotated[
        list[str], typer.Argument(metavar="NETWORK...", help="Shipped names, or safetensors files.")
    ],
    data: Annotated[list[Path], typer.Option(metavar="DIR...", help="Folders of HR images.")],
    *,
    engine: Engine = "auto",
    precision: Precision = "auto",
    as_json: Json = False,
    _verbose: Verbose = False,
    _debug: Debug = False,
) -> None:
    """Measure PSNR in dB and SSIM as the super-resolution tables do, bicubic interpolation beside them.

    Example: subpixel evaluate espcn-x3 mine.safetensors --data Set5 Set14
    """
    from subpixel.evaluation.protocol import mean_row, score_folder
    from subpixel.network import load
    from subpixel.upscale import Upscaler

    for_machines = []
    for loaded in map(load, network):
        upscaler = Upscaler(loaded, engine=engine, precision=precision)
        colour = loaded.channels == 3
        enlarge: Any = upscaler.image if colour else upscaler.plane
        for folder in data:
            scored = list(score_folder(enlarge, folder, loaded.upscale_factor, colour=colour))
            rows = [
                {
                    "image": row.image,
                    "PSNR": _finite(row.network.psnr, 4),
                    "SSIM": round(row.network.ssim, 6),
                    "bicubic PSNR": _finite(row.bicubic.psnr, 4),
                    "bicubic SSIM": round(row.bicubic.ssim, 6),
                }
                for row in (*scored, mean_row(scored))
            ]
            title = {"network": loaded.name, "scale": loaded.upscale_factor, "data": folder.name}
            if as_json:
                for_machines.append(title | {"images": rows[:-1], "mean": rows[-1]})
            else:
                print_rows(rows, title=f"{loaded.name} on {folder.name}")
    if as_json:
        print(json.dumps(for_machines, indent=1))


def _finite(figure: float, digits: int) -> float | None:
    """Rounded; None for the PSNR of a perfect image, which JSON cannot hold."""
    return round(figure, digits) if math.isfinite(figure) else None
