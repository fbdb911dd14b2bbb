"""The note, sections 1 and 2: a transposed convolution and an LR convolution with a shuffle "can achieve the
same result if the filter is learned", and "this operation is invertible because each set of the weights are
independent from each other". Here both are trained from the same start, to see whether learning treats them
alike as well.

The network is small (two convolutions of 16 maps of 3x3, tanh, then the up-sampling layer from 16 maps to
the image) and enlarges photographs by 2, those that ship with the package whatever `--data` says. The
transposed convolution is PyTorch's. It is compared with three others that start as the same function and see
the same patches:

- 6x6 taps, free: 6 is a multiple of r = 2, so the map to LR kernels (4, 16, 3, 3) only permutes the weights.
- 5x5 taps, free: the LR kernels hold the 25 taps and 11 zeros for each map. All 36 are trained.
- 5x5 taps, mapped: `subpixel.nn.ConvTranspose2d` keeps the 25 taps and maps them in each forward pass.
- 6x6 taps, biases: the transposed convolution has one bias for the image, the LR convolution one for each
  phase.

*Apart* is the distance of all weights of the two networks, mapped to LR form, divided by their norm. *Zero
taps* is the norm of those LR taps that the transposed convolution does not have, divided by that of all of
the layer's; it is also the distance from the nearest transposed convolution. Loss is the mean squared error
of luma in 0..1.

Plain SGD, momentum, Adam, and AdamW with weight decay treat each weight by itself; SOAP rotates each
weight's gradient into a basis of its matrix, and the two layers arrange the same weights in different
matrices. Whether an optimizer commutes with the map is also asked without a network: the same gradients,
mapped.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.geometry import axes
from subpixel.kernels import transposed_to_lr
from subpixel.nn import ConvTranspose2d, SubPixelConv2d
from subpixel.studies.lab.bench import Arrays, Bench, Report, Trial
from subpixel.studies.lab.fit import MakeOptimizer, fit, soap
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Picture, Result, Row, Study, verdict
from subpixel.studies.lab.super_resolution import SuperResolution

with needing("study"):
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor, nn

R = 2
MAPS = 16
RADIUS = 3  # LR pixels of context: three kernels of 3x3
STEPS, QUICK_STEPS = 400, 10
SEEDS, QUICK_SEEDS = 3, 2
EXACT = 1e-9  # relative, in float64: rounding that has grown for some hundred steps stays below

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
Cases = dict[Case, list[Arrays]]
CASES: tuple[Case, ...] = (
    *((FREE_6, optimizer, precision) for precision in TYPES for optimizer in OPTIMIZERS),
    *(
        (layers, optimizer, "float64")
        for layers in (FREE_5, MAPPED_5, BIASES_6)
        for optimizer in ("SGD", "Adam")
    ),
)


def compute(bench: Bench) -> Result:
    """Train all pairs, and compare them."""
    steps, seeds = (QUICK_STEPS, QUICK_SEEDS) if bench.quick else (STEPS, SEEDS)
    task = SuperResolution(Samples(), R, patch=16, batch=4)
    names = {
        f"{', '.join(case)}, {steps} steps at {OPTIMIZERS[case[1]][1]}, seed {seed}": (case, seed)
        for case in CASES
        for seed in range(seeds)
    }
    trials = bench.trials({name: _trial(task, *of, steps) for name, of in names.items()})
    cases: Cases = {case: [] for case in CASES}
    for name, (case, _seed) in names.items():
        cases[case].append(trials[name])
    alone = {name: same_gradients(*optimizer) for name, optimizer in OPTIMIZERS.items()}
    arrays = {
        f"{', '.join(case)}, {key}": np.stack([trial[key] for trial in cases[case]])
        for case in CASES
        for key in ("steps", "losses", "apart", "zero taps")
    }
    return Result(
        [_row(case, cases[case]) for case in CASES],
        list(_findings(cases, alone, zero_gradient(task))),
        _checks(cases, alone),
        arrays,
    )


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


def _trial(task: SuperResolution, case: Case, seed: int, steps: int) -> Trial:
    layers, optimizer, precision = case
    dtype, batches = TYPES[precision], task.batches(seed, RADIUS)
    marks = np.unique(np.geomspace(1, steps, 25).round().astype(int))

    def cast(index: int) -> tuple[Tensor, Tensor]:
        inputs, target = batches(index)
        return inputs.to(dtype), target.to(dtype)

    def run(report: Report) -> Arrays:
        losses, weights, taps = [], [], []
        for network in networks(layers, seed, dtype):
            kept = _Watch(network, marks)
            make, rate = OPTIMIZERS[optimizer]
            losses.append(
                fit(network, cast, steps=steps, rate=rate, report=report, optimizer=make, watch=kept)
            )
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


def _end(trial: Arrays) -> NDArray[np.float64]:
    """Return the mean loss of both networks over the last tenth of the steps."""
    losses = trial["losses"]
    end: NDArray[np.float64] = losses[:, -max(1, losses.shape[1] // 10) :].mean(axis=1)
    return end


def _row(case: Case, trials: Sequence[Arrays]) -> Row:
    """Return the row of a case: means over the seeds, and the largest distances."""
    transposed, other = np.mean([_end(trial) for trial in trials], axis=0)
    return {
        "layers": case[0],
        "optimizer": case[1],
        "precision": case[2],
        "seeds": len(trials),
        "losses apart, largest": max(_losses_apart(trial) for trial in trials),
        "apart at the end, largest": max(float(trial["apart"][-1]) for trial in trials),
        "zero taps at the end": float(np.mean([trial["zero taps"][-1] for trial in trials])),
        "loss, transposed": float(transposed),
        "loss, other": float(other),
    }


def _losses_apart(trial: Arrays) -> float:
    first, second = trial["losses"]
    return float(np.max(np.abs(second - first) / first))


def _checks(cases: Cases, alone: dict[str, float]) -> dict[str, bool]:
    exact = [(FREE_6, name, "float64") for name in ELEMENTWISE]
    exact += [(MAPPED_5, name, "float64") for name in ("SGD", "Adam")]
    return {
        "with the same gradients, an elementwise optimizer keeps permuted weights bit-identical": all(
            alone[name] == 0 for name in ELEMENTWISE
        ),
        f"in float64 the losses of permuted and of mapped weights differ by less than {EXACT}": all(
            _losses_apart(trial) < EXACT for case in exact for trial in cases[case]
        ),
        f"and so do their weights at the end, mapped back, by less than {EXACT}": all(
            trial["apart"].max() < EXACT for case in exact for trial in cases[case]
        ),
        "zero taps that are free leave zero in the first step": all(
            trial["zero taps"][0] > 0 for name in ("SGD", "Adam") for trial in cases[FREE_5, name, "float64"]
        ),
        "zero taps that are mapped stay zero": all(
            trial["zero taps"].max() == 0
            for name in ("SGD", "Adam")
            for trial in cases[MAPPED_5, name, "float64"]
        ),
    }


def _findings(cases: Cases, alone: dict[str, float], gradient: float) -> Iterator[str]:
    """Yield what stays together, what parts, how far and why."""
    for precision in TYPES:
        ends = [
            f"{name} {_range(trial['apart'][-1] for trial in cases[FREE_6, name, precision])}"
            for name in ELEMENTWISE
        ]
        yield (
            "Where the kernel is a multiple of r, elementwise optimizers end at the same network, mapped "
            f"back: in {precision} the weights are apart by {'; '.join(ends)} of their norm."
        )
    growth = [
        f"{name} {_range(_growth(trial) for trial in cases[FREE_6, name, 'float32'])}" for name in ELEMENTWISE
    ]
    yield (
        "In float32 the rounding grows as a power of the steps, fitted from the tenth on: "
        f"{'; '.join(growth)}. A random walk has 0.5."
    )
    soap = cases[FREE_6, "SOAP", "float64"]
    yield (
        "SOAP is not elementwise and does not commute with the map: with the same gradients it takes the "
        f"weights {alone['SOAP']:.2g} apart in 20 steps, and the networks, in float64, "
        f"{_range(t['apart'][-1] for t in soap)} apart. Loss of the LR form against that of the transposed "
        f"one: {_against(soap)}."
    )
    for name in ("SGD", "Adam"):
        free = cases[FREE_5, name, "float64"]
        yield (
            f"5x5 taps, free, {name}: after the first step the zero taps hold "
            f"{_range(t['zero taps'][0] for t in free)} of the layer's norm, at the end "
            f"{_range(t['zero taps'][-1] for t in free)}; the networks end "
            f"{_range(t['apart'][-1] for t in free)} apart. Loss against that of the transposed convolution: "
            f"{_against(free)}."
        )
    yield (
        f"They part because a zero that fills a kernel has a gradient like any tap: {gradient:.2f} of that "
        "of the other taps at the start (root mean squares). The transposed convolution has no such weight "
        "to move."
    )
    mapped = [trial for name in ("SGD", "Adam") for trial in cases[MAPPED_5, name, "float64"]]
    yield (
        "Mapped in each forward pass, inside autograd, they do not part: "
        f"{_range(t['apart'][-1] for t in mapped)} at the end, and the zeros stay zero."
    )
    biased = [trial for name in ("SGD", "Adam") for trial in cases[BIASES_6, name, "float64"]]
    yield (
        f"A bias for each phase parts them as well, though the kernels are permuted: "
        f"{_range(t['apart'][-1] for t in biased)} apart at the end. The note speaks of kernels alone; with "
        "its r**2 biases the LR layer can add a pattern of period r, and a transposed convolution with one "
        "bias cannot."
    )


def _growth(trial: Arrays) -> float:
    """Return the slope of the distance over the steps, both as logarithms, from the tenth step on."""
    late = trial["steps"] >= min(10, trial["steps"][-2])
    return float(np.polyfit(np.log(trial["steps"][late]), np.log(trial["apart"][late]), 1)[0])


def _range(values: Iterable[float]) -> str:
    values = list(values)
    low, high = f"{min(values):.2g}", f"{max(values):.2g}"
    return low if low == high else f"{low} to {high}"


def _against(trials: Sequence[Arrays]) -> str:
    """Return by how much the second network's loss exceeds the first one's, by seed, and what that says."""
    ends = [_end(trial) for trial in trials]
    excess = [float((second - first) / first) for first, second in ends]
    return f"{verdict(excess)} ({', '.join(f'{each:+.1%}' for each in excess)})"


def draw(result: Result) -> list[Picture]:
    """Draw how far the networks are apart over the steps, and the zero taps."""
    return [_draw_rounding(result), _draw_zeros(result)]


def _draw_rounding(result: Result) -> Picture:
    figure = Figure((8, 4))
    axes_ = figure.subplots()
    for colour, name in zip(PHASES, OPTIMIZERS, strict=False):
        for style, precision in (("-", "float64"), ("--", "float32")):
            of = f"{FREE_6}, {name}, {precision}"
            apart = np.median(result.arrays[f"{of}, apart"], axis=0)
            apart[apart == 0] = np.nan  # SOAP's first step changes no weight
            steps = result.arrays[f"{of}, steps"][0]
            axes_.loglog(steps, apart, style, color=colour, label=f"{name}, {precision}")
    axes_.set_xlabel("steps")
    axes_.set_ylabel("apart, of the norm of the weights")
    figure.legend(loc="outside right upper")
    caption = (
        "How far a network with a transposed convolution of 6x6 taps and its LR form are apart, both trained "
        "from the same start (median of the seeds). Elementwise optimizers leave rounding; SOAP parts them "
        "in either precision."
    )
    return Picture("apart", caption, figure)


def _draw_zeros(result: Result) -> Picture:
    figure = Figure((8, 3.8))
    left, right = figure.subplots(1, 2)
    for colour, name in zip(PHASES, ("SGD", "Adam"), strict=False):
        free = f"{FREE_5}, {name}, float64"
        steps = result.arrays[f"{free}, steps"][0]
        for marker, key in (("o-", "zero taps"), ("s--", "apart")):
            left.semilogx(
                steps,
                result.arrays[f"{free}, {key}"].mean(0),
                marker,
                color=colour,
                ms=3,
                label=f"{name}, {key}",
            )
        for style, values in zip(("-", "--"), result.arrays[f"{free}, losses"].mean(0), strict=True):
            form = "transposed" if style == "-" else "LR, free"
            window = max(1, len(values) // 20)
            smooth = np.convolve(values, np.ones(window) / window, "valid")
            right.semilogy(
                np.arange(window, len(values) + 1), smooth, style, color=colour, label=f"{name}, {form}"
            )
    left.set_ylabel("share of the norm")
    right.set_ylabel("loss (mean squared error)")
    for axes_ in (left, right):
        axes_.set_xlabel("steps")
        axes_.legend()
    caption = (
        "A transposed convolution of 5x5 taps and its LR form with the zeros free. Left: the norm of the "
        "taps that began as zeros, and how far the networks are apart. Right: the losses, averaged over a "
        "twentieth of the steps."
    )
    return Picture("zeros", caption, figure)


STUDY = Study("training", "Training a transposed convolution and its LR form", __doc__, compute, draw, ())
