"""One training loop, for any model that exports an LR network."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from pytorch_optimizer import SOAP
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from subpixel.evaluation.metrics import psnr
from subpixel.network import LRNetwork
from subpixel.training.data import Pair, Patches


class Trainable(Protocol):
    """What a model must offer to be trained here."""

    upscale_factor: int
    radius: int

    def lr_network(self) -> LRNetwork:
        """The model as data."""
        ...


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; two runs of one recipe on one machine give the same weights.

    SOAP (arXiv:2409.11321), Adam in the eigenbasis of Shampoo's preconditioner: on networks this small the
    basis costs a tenth of a step, and some thousand of its steps reach what Adam has not reached in hundreds
    of thousands. Mean squared error; warm-up, then a cosine down to a hundredth of the rate; an exponential
    moving average of the weights is what is exported.
    """

    steps: int = 100_000
    batch: int = 16
    patch: int = 32
    learning_rate: float = 3e-3
    seed: int = 0
    warm_up: int = 200
    average: float = 0.999

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        return self.learning_rate * min(1, (step + 1) / self.warm_up) * (0.01 + 0.99 * cosine)


@dataclass(frozen=True)
class Progress:
    """Where a run stands: its step, the mean loss of its last steps as PSNR, the last validation PSNR, in dB."""

    step: int
    training_psnr: float
    validation_psnr: float | None


def train(
    model: nn.Module,
    recipe: Recipe,
    training: Sequence[Pair],
    validation: Sequence[Pair],
    *,
    fabric: Fabric,
    checkpoint: Path,
    resume: bool = False,
    every: int = 2000,
    report: Callable[[Progress], None] = lambda _: None,
) -> LRNetwork:
    """Train a model and export the average of its weights.

    Args:
        model: takes (n, c, h + 2m, w + 2m) in 0..1, gives (n, c, r*h, r*w); a `Trainable`.
        recipe: what to do.
        training: images to draw patches from.
        validation: images to report PSNR on.
        fabric: devices and precision, launched.
        checkpoint: written every `every` steps, whole or not at all.
        resume: go on from the checkpoint where it exists.
        every: steps between validations and checkpoints.
        report: called with the progress some twenty times as often.

    Raises:
        ValueError: the checkpoint is of another recipe, or the loss is no longer finite.
    """
    patches = Patches(
        training, model.upscale_factor, model.radius, recipe.patch, (recipe.seed, fabric.global_rank)
    )
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    wrapped, optimizer = fabric.setup(model, SOAP(model.parameters(), lr=recipe.learning_rate, weight_decay=0.0))
    average.to(fabric.device)
    state = {"model": wrapped, "optimizer": optimizer, "average": average, "step": 0, "recipe": asdict(recipe)}
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
            training_psnr = _mean_psnr(losses, step + 1)  # a run that diverged ends here, its checkpoint kept
            losses.clear()
            if due:
                state["step"] = step + 1
                validation_psnr = validate(average.module, validation, fabric)
                _save(fabric, checkpoint, state)
            report(Progress(step + 1, training_psnr, validation_psnr))
    return average.module.lr_network()


def validate(model: nn.Module, pairs: Sequence[Pair], fabric: Fabric) -> float:
    """Mean PSNR in dB of a model over images, the protocol's: rounded, r pixels shaved off each border."""
    shave = model.upscale_factor
    figures = []
    for pair in pairs:
        with torch.no_grad():
            sr = model(_to_device(pair.padded_lr[None, None], fabric))
        rounded = (sr[0, 0] * 255).clamp(0, 255).round().cpu().numpy().astype(np.uint8)
        figures.append(psnr(rounded, pair.hr, shave))
    return float(np.mean(figures))


def _to_device(batch: np.ndarray[Any, np.dtype[np.uint8]], fabric: Fabric) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(batch)).to(fabric.device).float() / 255


def _mean_psnr(losses: list[Tensor], step: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise ValueError(f"the loss must stay finite; got {mean} by step {step}. Lower the learning rate.")
    return -10 * math.log10(mean)


def _save(fabric: Fabric, checkpoint: Path, state: dict[str, Any]) -> None:
    partial = checkpoint.with_name(f".{checkpoint.name}.partial")  # one name for all processes
    fabric.save(partial, state)
    if fabric.is_global_zero:
        partial.replace(checkpoint)


def _restore(fabric: Fabric, checkpoint: Path, state: dict[str, Any]) -> None:
    recipe = state["recipe"]
    fabric.load(checkpoint, state, weights_only=True)
    if state["recipe"] != recipe:
        raise ValueError(
            f"a resumed run must have the recipe of its checkpoint; got {recipe}, {checkpoint} has {state['recipe']}."
            " Give the same options, or another --out."
        )
