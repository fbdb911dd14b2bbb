"""Pairs of networks that start as the same function, trained side by side."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.geometry import axes
from subpixel.kernels import transposed_to_lr
from subpixel.nn import ConvTranspose2d, SubPixelConv2d
from subpixel.studies.lab.bench import Arrays, Report, Trial
from subpixel.studies.lab.fit import MakeOptimizer, fit
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.training.loop import soap

with needing("study"):
    import torch
    from torch import Tensor, nn

R = 2
MAPS = 16
RADIUS = 3  # LR pixels of context: three kernels of 3x3

OPTIMIZERS: dict[str, tuple[MakeOptimizer, float]] = {
    "SGD": (torch.optim.SGD, 0.05),
    "momentum": (partial(torch.optim.SGD, momentum=0.9), 0.01),
    "Adam": (torch.optim.Adam, 3e-3),
    "AdamW": (partial(torch.optim.AdamW, weight_decay=0.1), 3e-3),
    "SOAP": (soap, 3e-3),
}
ELEMENTWISE = ("SGD", "momentum", "Adam", "AdamW")
FREE_6, FREE_5, MAPPED_5, BIASES_6 = (
    "6x6 taps, free",
    "5x5 taps, free",
    "5x5 taps, mapped",
    "6x6 taps, biases",
)
TYPES = {"float64": torch.float64, "float32": torch.float32}
Case = tuple[str, str, str]  # the layers, the optimizer, the precision


def to_lr(layer: nn.Module) -> list[Tensor]:
    """Return the weight of an up-sampling layer, and its bias if it has one, in LR form."""
    assert isinstance(layer, nn.ConvTranspose2d | SubPixelConv2d)
    biases = [] if layer.bias is None else [layer.bias]
    if isinstance(layer, SubPixelConv2d):
        return [layer.weight, *biases]
    weight = transposed_to_lr(layer.weight, axes(layer.weight.shape[2:], R))
    return [weight, *(bias.repeat(R**2) for bias in biases)]


def networks(layers: str, seed: int, dtype: torch.dtype) -> tuple[nn.Sequential, nn.Sequential]:
    """Return the network with PyTorch's transposed convolution and the other one, equal at the start.

    An unpadded convolution of three LR taps is a transposed convolution of six or, with one pixel more at the
    end, of five, cropped by two LR pixels.
    """
    torch.manual_seed(seed)
    size, has_bias = int(layers[0]), layers == BIASES_6
    options: dict[str, Any] = {"stride": R, "padding": 2 * R, "output_padding": 6 - size, "bias": has_bias}
    transposed = nn.ConvTranspose2d(MAPS, 1, size, **options)
    other: nn.Module
    if layers == MAPPED_5:
        other = ConvTranspose2d(MAPS, 1, size, **options, form="compact")
        other.load_state_dict(transposed.state_dict())
    else:
        other = SubPixelConv2d(MAPS, 1, 3, R, padding="valid", bias=has_bias)
        with torch.no_grad():
            for mine, theirs in zip(other.parameters(), to_lr(transposed), strict=True):
                mine.copy_(theirs)
    first, second = _body(seed, transposed), _body(seed, other)
    return first.to(dtype), second.to(dtype)


def _body(seed: int, last: nn.Module) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, MAPS, 3), nn.Tanh(), nn.Conv2d(MAPS, MAPS, 3), nn.Tanh(), last)


def zero_taps(size: int) -> Tensor:
    """Return which taps of the LR kernels the transposed convolution does not have."""
    return transposed_to_lr(torch.ones(MAPS, 1, size, size), axes((size, size), R)) == 0


def pair_trial(task: SuperResolution, case: Case, seed: int, steps: int) -> Trial:
    """Return the trial that trains both networks of a case and compares their losses and weights."""
    layers, optimizer, precision = case
    dtype, batches = TYPES[precision], task.batches(seed, RADIUS)
    marks = np.unique(np.geomspace(1, steps, 25).round().astype(int))

    def cast(index: int) -> tuple[Tensor, Tensor]:
        inputs, target = batches(index)
        return inputs.to(dtype), target.to(dtype)

    def run(report: Report) -> Arrays:
        losses, weights, taps = [], [], []
        make, rate = OPTIMIZERS[optimizer]
        for index, network in enumerate(networks(layers, seed, dtype)):
            kept = _Watch(network, marks)
            half = partial(_report_half, report, index)
            losses.append(fit(network, cast, steps=steps, rate=rate, report=half, optimizer=make, watch=kept))
            weights.append(np.stack(kept.weights))
            taps.append(np.stack(kept.taps))
        zeros = zero_taps(int(layers[0])).numpy().ravel()
        return {
            "steps": marks,
            "losses": np.array(losses),
            "apart": _norm(weights[1] - weights[0]) / _norm(weights[0]),
            "zero taps": _norm(taps[1][:, zeros]) / _norm(taps[1]),
        }

    return run


def _report_half(report: Report, index: int, done: float) -> None:
    """Report what is done of the first or the second network of a pair."""
    report((index + done) / 2)


class _Watch:
    """Keeps the weights of a network in LR form, and those of its last layer, after some steps."""

    def __init__(self, network: nn.Sequential, marks: NDArray[np.int_]) -> None:
        self._network, self._marks = network, set(marks.tolist())
        self.weights: list[NDArray[np.float64]] = []
        self.taps: list[NDArray[np.float64]] = []

    def __call__(self, steps: int) -> None:
        if steps in self._marks:
            *body, last = self._network
            lr = to_lr(last)
            parameters = [*(p for layer in body for p in layer.parameters()), *lr]
            self.weights.append(_flat(parameters))
            self.taps.append(_flat(lr[:1]))


def _flat(tensors: Sequence[Tensor]) -> NDArray[np.float64]:
    flat: NDArray[np.float64] = torch.cat([each.detach().double().flatten() for each in tensors]).numpy()
    return flat


def _norm(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms: NDArray[np.float64] = np.sqrt((rows**2).sum(axis=1))
    return norms


def same_gradients(make: MakeOptimizer, rate: float) -> float:
    """Return how far apart an optimizer takes equal weights with equal gradients, in the two layouts."""
    random = torch.Generator().manual_seed(0)
    start, *gradients = torch.randn(21, MAPS, 1, 6, 6, generator=random, dtype=torch.float64)
    geometry = axes((6, 6), R)
    transposed = nn.Parameter(start.clone())
    lr = nn.Parameter(transposed_to_lr(start, geometry).contiguous())
    optimizers = make([transposed], rate), make([lr], rate)
    for gradient in gradients:
        # Contiguous both, so that PyTorch takes the same instructions for each weight.
        transposed.grad, lr.grad = gradient.clone(), transposed_to_lr(gradient, geometry).contiguous()
        for optimizer in optimizers:
            optimizer.step()
    mapped = transposed_to_lr(transposed.detach(), geometry)
    return float((mapped - lr.detach()).norm() / mapped.norm())


def zero_gradient(task: SuperResolution) -> float:
    """Return the gradient of the zero taps by that of the others, at the start, as root mean squares."""
    network = networks(FREE_5, 0, torch.float32)[1]
    inputs, target = task.batches(0, RADIUS)(0)
    nn.functional.mse_loss(network(inputs), target).backward()  # type: ignore[no-untyped-call]
    (weight,) = network[-1].parameters()
    assert weight.grad is not None
    squares, zeros = weight.grad**2, zero_taps(5)
    return float((squares[zeros].mean() / squares[~zeros].mean()).sqrt())
