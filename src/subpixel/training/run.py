"""A whole run: folders of images in, an LR network out, with a record of how it was made."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from subpixel.extras import needing
from subpixel.images import image_files
from subpixel.models import Model
from subpixel.network import LRNetwork
from subpixel.training.data import Patches, load_pairs
from subpixel.training.loop import Progress, train, validate
from subpixel.training.recipe import Recipe
from subpixel.training.rounding import round_weights

with needing("train"):
    from lightning_fabric import Fabric

Precision = Literal["f32", "bf16"]

ROUNDED_ON = 16  # patches: at the usual size 16,000 pixels, for at most 577 weights an output


def run(
    build: Callable[[], Model],
    recipe: Recipe,
    folders: Sequence[Path],
    out: Path,
    *,
    start: LRNetwork | None = None,
    precision: Precision = "f32",
    devices: int = 1,
    resume: bool = False,
    command: str = "",
    report: Callable[[Progress], None] = lambda _: None,
) -> LRNetwork | None:
    """Train a model on folders of images and save it as an LR network, its weights rounded to bfloat16.

    On a GPU where there is one; with several devices, one process each, started by Lightning Fabric.

    Args:
        build: makes the model, once the random numbers are seeded.
        recipe: how to train it.
        folders: of HR images; one image in fifty is validated on.
        out: the safetensors file; the checkpoint lies beside it, with the suffix ".checkpoint".
        start: a trained network to take the first weights from.
        precision: "bf16" computes products in bfloat16, and keeps the weights in float32.
        devices: how many.
        resume: go on from the checkpoint where it exists.
        command: what to record as the command that made the network.
        report: called with the progress, in the first process.

    Returns:
        The network in the first process, None in the others.

    Raises:
        ValueError: a folder without images, or images too small; a checkpoint of another recipe; an earlier
            run's files in the way.
    """
    _check_output(out, resume)
    fabric = Fabric(devices=devices, precision="bf16-mixed" if precision == "bf16" else "32-true")
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    model = build()
    if start is not None:
        model.start_from(start)
    training, validation = load_pairs(folders, model.upscale_factor, model.radius)
    trained = train(
        model,
        recipe,
        training,
        validation,
        fabric=fabric,
        checkpoint=_checkpoint(out),
        resume=resume,
        report=report if fabric.is_global_zero else lambda _: None,
    )
    if not fabric.is_global_zero:
        return None
    stage: dict[str, Any] = {
        "command": command,
        "seed": recipe.seed,
        "data": Counter(
            file.parent.name for folder in folders for file in image_files(folder, recursive=True)
        ),
        "validation_psnr": validate(trained, validation, fabric),
        "versions": {package: version(package) for package in ("torch", "pytorch-optimizer")},
    }
    earlier = [] if start is None else list(start.metadata.get("training", []))
    patches = Patches(training, model.upscale_factor, model.radius, recipe.patch, (recipe.seed,))
    planes = (patches.batch(0, ROUNDED_ON)[0] / 255).astype(np.float32)
    network = round_weights(trained.lr_network(), planes)
    network = replace(network, metadata={"name": out.stem, "training": [*earlier, stage]})
    network.save(out)
    return network


def _checkpoint(out: Path) -> Path:
    return out.with_suffix(".checkpoint")


def _check_output(out: Path, resume: bool) -> None:
    """Refuse now what would be refused, or lost, after hours."""
    if out.suffix != ".safetensors":
        raise ValueError(f"the output's name must end in .safetensors; got {out}.")
    if not out.parent.is_dir():
        raise ValueError(f"the output's folder must exist; got {out}. Make {out.parent} first.")
    for existing in (out, _checkpoint(out)):
        if existing.exists() and not resume:
            raise ValueError(
                f"an earlier run must not be lost; {existing} exists. Resume it, or name another output."
            )
