"""A training run: folders of images in, an LR network out, with a record of how it was made."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from subpixel.extras import needing
from subpixel.network import LRNetwork
from subpixel.training.data import Patches, find_images, load_pairs
from subpixel.training.recipe import Recipe
from subpixel.training.rounding import round_weights

with needing("train"):  # PyTorch too: alone it would not be enough
    from lightning_fabric import Fabric

    from subpixel.models.base import Model
    from subpixel.training.loop import ProgressReport, train, validate

Precision = Literal["f32", "bf16"]

ROUNDED_ON = 16  # patches; of 32x32 pixels that is 16,384 equations for the 577 unknowns of an ESPCN's output


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
    report: Callable[[ProgressReport], None] = lambda _: None,
) -> LRNetwork | None:
    """Train a model on folders of images and save it as an LR network, its weights rounded to bfloat16.

    The run takes a GPU if there is one. With several devices Lightning Fabric starts a process for each.

    Args:
        build: a function that makes the model; it is called after the random numbers are seeded.
        recipe: the numbers of the run.
        folders: folders of HR images; every fiftieth image is validated on.
        out: the safetensors file to write; the checkpoint lies beside it, with the suffix ".checkpoint".
        start: a trained network to take the first weights from.
        precision: "bf16" computes products in bfloat16 and keeps the weights in float32.
        devices: the number of devices.
        resume: continue from the checkpoint if it exists.
        command: the command line that is recorded as having made the network.
        report: is called with the progress, in the first process.

    Returns:
        The network in the first process, None in the others.

    Raises:
        ValueError: a folder holds no images, or the images are too small; the checkpoint belongs to another
            recipe; the files of an earlier run would be overwritten.
    """
    check_output(out, resume=resume)
    files = find_images(folders)
    fabric = Fabric(devices=devices, precision="bf16-mixed" if precision == "bf16" else "32-true")
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    model = build()
    if start is not None:
        model.start_from(start)
    training, validation = load_pairs(files, model.upscale_factor, model.radius)
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
        "recipe": asdict(recipe) | model.identity,
        "data": Counter(file.parent.name for file in files),
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


def check_output(out: Path, *, resume: bool) -> None:
    """Refuse at once an output that could not be written after hours, or would overwrite an earlier one.

    Raises:
        ValueError: the name is no safetensors file's, its folder is missing, or an earlier run left files.
    """
    if out.suffix != ".safetensors":
        raise ValueError(f"the output's name must end in .safetensors; got {out}.")
    if not out.parent.is_dir():
        raise ValueError(f"the output's folder must exist; got {out}. Make {out.parent} first.")
    for existing in (out, _checkpoint(out)):
        if existing.exists() and not resume:
            raise ValueError(
                f"an earlier run must not be lost; {existing} exists. Resume it, or name another output."
            )
