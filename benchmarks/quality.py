"""What do the shipped networks reach? PSNR and SSIM on test sets, bicubic interpolation beside them.

python benchmarks/quality.py DIR...            print the table, a column a folder
python benchmarks/quality.py DIR... --record   and write it into the weights' headers and cards
"""

import argparse
import platform
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import subpixel
from subpixel.evaluation.protocol import Row, mean_row, score_folder
from subpixel.network import LRNetwork, shipped

WEIGHTS = Path(subpixel.__file__).parent / "weights"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, openvino {version('openvino')}, float32\n")
    print(header := heading(options.folders))
    for name in shipped():
        rows = measure(subpixel.load(name), options.folders)
        print(table(name, rows))
        if options.record:
            record(name, rows, header)


def measure(network: LRNetwork, folders: list[Path]) -> dict[str, Row]:
    upscaler = subpixel.Upscaler(network, precision="f32")
    enlarge, factor, colour = upscaler.plane, network.upscale_factor, network.channels == 3
    if colour:
        enlarge = upscaler.image
    return {f.name: mean_row(list(score_folder(enlarge, f, factor, colour=colour))) for f in folders}


def heading(folders: list[Path]) -> str:
    return f"| PSNR / SSIM | {' | '.join(f.name for f in folders)} |\n|---|{'---|' * len(folders)}"


def table(name: str, rows: dict[str, Row]) -> str:
    ours = " | ".join(f"{row.network.psnr:.2f} / {row.network.ssim:.4f}" for row in rows.values())
    bicubic = " | ".join(f"{row.bicubic.psnr:.2f} / {row.bicubic.ssim:.4f}" for row in rows.values())
    return f"| {name} | {ours} |\n| bicubic | {bicubic} |"


def record(name: str, rows: dict[str, Row], header: str) -> None:
    network = subpixel.load(name)
    psnr = {folder: round(row.network.psnr, 2) for folder, row in rows.items()}
    network = replace(network, metadata={**network.metadata, "psnr": psnr})
    network.save(WEIGHTS / f"{name}.safetensors")
    (WEIGHTS / f"{name}.md").write_text(card(network, f"{header}\n{table(name, rows)}"))


def card(network: LRNetwork, figures: str) -> str:
    stages = "\n\n".join(stage_text(stage) for stage in network.metadata["training"])
    r, field = network.upscale_factor, network.receptive_field
    return f"""# {network.name}

ESPCN (Shi et al. 2016, arXiv:1609.05158) for an upscale factor of {r}, on Y of BT.601 in studio range:
5x5x64, 3x3x32, 3x3x{r**2}, {network.convolutions[0].activation}, periodic shuffle.

- {network.parameters:,} parameters, {network.macs_per_lr_pixel:,} multiply-accumulates an LR pixel
- receptive field {field}x{field} LR pixels
- licence Apache-2.0, as the rest of the package

## Measured

LR is MATLAB's bicubic reduction of the luma, rounded to 8 bits; the result is rounded, and {r} pixels are
shaved off each border; the mean over the images. `python benchmarks/quality.py Set5 Set14 B100`

{figures}

## Made by

{stages}
"""


def stage_text(stage: dict) -> str:
    data = ", ".join(f"{folder} ({count})" for folder, count in stage["data"].items())
    versions = ", ".join(f"{package} {number}" for package, number in stage["versions"].items())
    return f"""    {stage["command"]}

Seed {stage["seed"]}. Images: {data}; one in fifty of them held back for validation, which ended at
{stage["validation_psnr"]:.2f} dB. {versions}."""


if __name__ == "__main__":
    main()
