"""Small networks trained alike."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.lab.bench import Report
from subpixel.training.loop import soap
from subpixel.training.recipe import Recipe

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import mse_loss

Batches = Callable[[int], tuple[Tensor, Tensor]]  # the input and the target of a step, by its index
MakeOptimizer = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]


def fit(
    network: nn.Module,
    batches: Batches,
    *,
    steps: int,
    rate: float,
    report: Report,
    optimizer: MakeOptimizer = soap,
    loss: Callable[[Tensor, Tensor], Tensor] = mse_loss,
    watch: Callable[[int], None] = lambda _steps: None,
) -> NDArray[np.float64]:
    """Train a network in place; return the loss of each step.

    The learning rate rises over the first steps, then falls along a cosine, as in `Recipe`.

    Args:
        network: what to train.
        batches: the input and the target of each step.
        steps: how many.
        rate: the highest learning rate.
        report: is called with the share that is done.
        optimizer: makes the optimizer; by default that of the networks that ship, so that a few thousand
            steps come near the end.
        loss: of an output and its target.
        watch: is called after each step with the number of steps done, to measure the network for a curve.

    Raises:
        ValueError: the loss is no longer finite.
    """
    recipe = Recipe(steps=steps, learning_rate=rate, warm_up=max(1, min(200, steps // 20)))
    optimize = optimizer(network.parameters(), rate)
    losses = np.zeros(steps)
    for step in range(steps):
        for group in optimize.param_groups:
            group["lr"] = recipe.rate(step)
        inputs, target = batches(step)
        error = loss(network(inputs), target)
        optimize.zero_grad()
        error.backward()  # type: ignore[no-untyped-call]
        optimize.step()
        losses[step] = float(error.detach())
        if step % 50 == 49:
            report((step + 1) / steps)
        watch(step + 1)
    if not np.isfinite(losses).all():
        raise ValueError(f"the loss must stay finite; got {losses[-1]}. Lower the learning rate {rate}.")
    return losses
