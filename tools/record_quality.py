"""Measure the shipped networks, and write the figures into their files and their cards before a release.

The card of a network is the page beside its weights. Its description, from the title to the list, is written
by hand; all else is made here, from the network's metadata and the figures.

Example: python tools/record_quality.py Set5 Set14 B100
"""

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import subpixel
from subpixel.evaluation.protocol import Row
from subpixel.evaluation.table import as_markdown, mean_rows
from subpixel.network import LRNetwork, shipped

WEIGHTS = Path(subpixel.__file__).parent / "weights"


def main() -> None:
    """Measure and record every network that ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of HR images")
    folders = parser.parse_args().folders
    for name in shipped():
        network = subpixel.load(name)
        record(network, mean_rows(subpixel.Upscaler(network), network, folders), WEIGHTS)
        print(f"{name} is recorded")


def record(network: LRNetwork, rows: Mapping[str, Row], folder: Path) -> None:
    """Write the PSNR into a network's metadata and the figures into its card; tensors stay as they are."""
    page = folder / f"{network.name}.md"
    text = card(network, description(page.read_text()), as_markdown({network.name: rows}))
    psnr = {name: round(row.network.psnr, 2) for name, row in rows.items()}
    replace(network, metadata={**network.metadata, "psnr": psnr}).save(folder / f"{network.name}.safetensors")
    page.write_text(text)


def description(text: str) -> str:
    """Return what a card says by hand, between its title and its list."""
    return text.partition("\n\n")[2].partition("\n\n- ")[0]


def card(network: LRNetwork, description: str, figures: str) -> str:
    """Return the card of a network."""
    stages = "\n\n".join(_stage(stage) for stage in network.metadata["training"])
    r, field = network.upscale_factor, network.receptive_field
    return f"""# {network.name}

{description}

- {network.parameters:,} parameters, {network.macs_per_lr_pixel:,} multiply-accumulates for each LR pixel
- receptive field: {field}x{field} LR pixels
- licence: Apache-2.0, like the rest of the package

## Measured

The LR image is MATLAB's bicubic reduction of the luma, rounded to 8 bits. The result is rounded too, and {r}
pixels are shaved off each border. The figures are means over the images of a test set.
`python benchmarks/quality.py Set5 Set14 B100`

{figures}

## Trained

{stages}
"""


def _stage(stage: Mapping[str, Any]) -> str:
    data = ", ".join(f"{folder} ({count})" for folder, count in stage["data"].items())
    versions = ", ".join(f"{package} {number}" for package, number in stage["versions"].items())
    return f"""    {stage["command"]}

Seed {stage["seed"]}. Images: {data}. Every fiftieth image was held back for validation, which ended at
{stage["validation_psnr"]:.2f} dB. {versions}."""


if __name__ == "__main__":
    main()
