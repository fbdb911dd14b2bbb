"""The training loop, for any model that exports an LR network."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from subpixel.training.recipe import Loss, Recipe

with needing("train"):
    import torch
    from pytorch_optimizer import SOAP
    from torch import Tensor, nn
    from torch.nn.functional import l1_loss, mse_loss
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class ProgressReport:
    """How far a run has come.

    Attributes:
        step: the number of steps done.
        loss: the mean loss of the steps since the last report.
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
    run = _Run(model, recipe, training, fabric)
    if resume and checkpoint.exists():
        run.restore(checkpoint)
    losses: list[Tensor] = []
    validation_psnr: float | None = None
    for done in range(run.done + 1, recipe.steps + 1):
        losses.append(run.step(done - 1))
        due = done % every == 0 or done == recipe.steps
        if due or done % max(1, every // 20) == 0:
            loss = _mean(losses, done)  # a run that diverged ends here, its checkpoint kept
            losses.clear()
            if due:
                validation_psnr = validate(run.average, validation, fabric)
                run.save(checkpoint, done)
            report(ProgressReport(done, loss, validation_psnr))
    return run.average


def charbonnier_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """Return the mean of sqrt(error^2 + 1e-6): Lai et al. 2017 (arXiv:1704.03915), section 3.2."""
    return (sr - hr).square().add(1e-6).sqrt().mean()


LOSSES: Mapping[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": mse_loss,
    "l1": l1_loss,
    "charbonnier": charbonnier_loss,
}


def soap(parameters: Iterable[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """Return the optimizer of the networks that ship; `Recipe` says why."""
    return SOAP(parameters, lr=rate, weight_decay=0.0)


class _Run:
    """A model in training, its optimizer, and the moving average of its weights."""

    def __init__(self, model: Model, recipe: Recipe, training: Sequence[Pair], fabric: "Fabric") -> None:
        self._model, self._recipe, self._fabric = model, recipe, fabric
        # Each process draws patches of its own.
        seed = (recipe.seed, fabric.global_rank)
        self._patches = Patches(training, model.upscale_factor, model.radius, recipe.patch, seed)
        ema = get_ema_multi_avg_fn(recipe.average)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(model, multi_avg_fn=ema)
        optimizer = soap(model.parameters(), recipe.learning_rate)
        self._wrapped, self._optimizer = fabric.setup(model, optimizer)
        self._average.to(fabric.device)
        self._state = {
            "model": self._wrapped,
            "optimizer": self._optimizer,
            "average": self._average,
            "step": 0,
            "recipe": asdict(recipe) | model.identity | {"images": len(training)},
        }

    @property
    def done(self) -> int:
        """The number of steps that the last checkpoint had done."""
        return int(cast(int, self._state["step"]))

    @property
    def average(self) -> Model:
        """The model with the moving average of its weights."""
        return cast(Model, self._average.module)

    def step(self, index: int) -> Tensor:
        """Train on one batch; return the loss."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.rate(index)
        batch = self._patches.batch(index, self._recipe.batch)
        lr, hr = (_to_device(planes, self._fabric) for planes in batch)
        loss = LOSSES[self._recipe.loss](self._wrapped(lr), hr)
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        self._optimizer.step()
        self._average.update_parameters(self._model)
        return loss.detach()

    def save(self, checkpoint: Path, done: int) -> None:
        """Write the checkpoint, whole or not at all."""
        self._state["step"] = done
        partial = checkpoint.with_name(f".{checkpoint.name}.partial")  # one name for all processes
        try:
            self._fabric.save(partial, self._state)
            if self._fabric.is_global_zero:
                partial.replace(checkpoint)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def restore(self, checkpoint: Path) -> None:
        """Read the checkpoint, if it is one of this run."""
        try:
            recipe = self._fabric.load(checkpoint, weights_only=True)["recipe"]
        except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError) as error:
            raise ValueError(
                f"{checkpoint} must be a whole checkpoint; it cannot be read: {error}"
            ) from error
        if recipe != self._state["recipe"]:
            wanted, held = _differences(self._state["recipe"], recipe)
            raise ValueError(
                f"a resumed run must be the one of its checkpoint {checkpoint}; got {wanted}, it has {held}. "
                "Give the same options, or another output."
            )
        self._fabric.load(checkpoint, self._state, weights_only=True)


def _differences(one: Mapping[str, object], other: Mapping[str, object]) -> tuple[str, str]:
    """Return the entries of two recipes that are not the same in both, as words such as "steps=20"."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]

    def words(recipe: Mapping[str, object]) -> str:
        return ", ".join(f"{name}={recipe.get(name)}" for name in names)

    return words(one), words(other)


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
