"""The training loop, for any model that exports an LR network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from subpixel.degradation import to_uint8
from subpixel.evaluation.metrics import psnr
from subpixel.extras import needing
from subpixel.models.base import Model
from subpixel.training.data import Pair, Patches
from subpixel.training.recipe import Recipe

with needing("train"):
    import torch
    from pytorch_optimizer import SOAP
    from torch import Tensor
    from torch.nn.functional import mse_loss
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class ProgressReport:
    """How far a run has come.

    Attributes:
        step: the number of steps done.
        loss: the mean squared error of the steps since the last report.
        validation_psnr: the PSNR in dB of the moving average of the weights, when it was last measured.
    """

    step: int
    loss: float
    validation_psnr: float | None


def train(
    model: Model,
    recipe: Recipe,
    training: Sequence[Pair],
    validation: Sequence[Pair],
    *,
    fabric: "Fabric",
    checkpoint: Path,
    resume: bool = False,
    every: int = 2000,
    report: Callable[[ProgressReport], None] = lambda _: None,
) -> Model:
    """Train a model and return it with the moving average of its weights.

    Args:
        model: what to train.
        recipe: the numbers of the run.
        training: images to draw patches from.
        validation: images to report PSNR on.
        fabric: devices and precision, launched.
        checkpoint: the file for the state of the run, written every `every` steps, whole or not at all.
        resume: continue from the checkpoint if it exists.
        every: steps between validations and checkpoints.
        report: is called with the progress twenty times between two checkpoints.

    Raises:
        ValueError: the checkpoint belongs to another recipe, or the loss is no longer finite.
    """
    patches = Patches(
        training, model.upscale_factor, model.radius, recipe.patch, (recipe.seed, fabric.global_rank)
    )
    ema = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(model, multi_avg_fn=ema)
    wrapped, optimizer = fabric.setup(
        model, SOAP(model.parameters(), lr=recipe.learning_rate, weight_decay=0.0)
    )
    average.to(fabric.device)
    state = {
        "model": wrapped,
        "optimizer": optimizer,
        "average": average,
        "step": 0,
        "recipe": asdict(recipe) | model.identity | {"images": len(training)},
    }
    if resume and checkpoint.exists():
        _restore(fabric, checkpoint, state)
    losses: list[Tensor] = []
    validation_psnr: float | None = None
    for step in range(int(state["step"]), recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        lr, hr = (_to_device(batch, fabric) for batch in patches.batch(step, recipe.batch))
        loss = mse_loss(wrapped(lr), hr)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        average.update_parameters(model)
        losses.append(loss.detach())
        due = (step + 1) % every == 0 or step + 1 == recipe.steps
        if due or (step + 1) % max(1, every // 20) == 0:
            loss_so_far = _mean(losses, step + 1)  # a run that diverged ends here, its checkpoint kept
            losses.clear()
            if due:
                state["step"] = step + 1
                validation_psnr = validate(cast(Model, average.module), validation, fabric)
                _save(fabric, checkpoint, state)
            report(ProgressReport(step + 1, loss_so_far, validation_psnr))
    return cast(Model, average.module)


def validate(model: Model, pairs: Sequence[Pair], fabric: "Fabric") -> float:
    """Return the mean PSNR in dB over images, rounded to 8 bits, with r pixels shaved off each border."""
    shave = model.upscale_factor
    figures = []
    for pair in pairs:
        with torch.no_grad():
            sr = model(_to_device(pair.padded_lr[None, None], fabric))
        figures.append(psnr(to_uint8(255 * sr[0, 0].cpu().numpy()), pair.hr, shave))
    return float(np.mean(figures))


def _to_device(batch: np.ndarray[Any, np.dtype[np.uint8]], fabric: "Fabric") -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(batch)).to(fabric.device).float() / 255


def _mean(losses: list[Tensor], step: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise ValueError(f"the loss must stay finite; got {mean} by step {step}. Lower the learning rate.")
    return mean


def _save(fabric: "Fabric", checkpoint: Path, state: dict[str, Any]) -> None:
    partial = checkpoint.with_name(f".{checkpoint.name}.partial")  # one name for all processes
    try:
        fabric.save(partial, state)
        if fabric.is_global_zero:
            partial.replace(checkpoint)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _restore(fabric: "Fabric", checkpoint: Path, state: dict[str, Any]) -> None:
    try:
        recipe = fabric.load(checkpoint, weights_only=True)["recipe"]
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
        raise ValueError(f"{checkpoint} must be a whole checkpoint; it cannot be read: {error}") from error
    if recipe != state["recipe"]:
        raise ValueError(
            f"a resumed run must be the one of its checkpoint {checkpoint}; got {state['recipe']}, it has "
            f"{recipe}. Give the same options, or another output."
        )
    fabric.load(checkpoint, state, weights_only=True)
