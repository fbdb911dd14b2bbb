"""The note, section 1: a transposed and a sub-pixel convolution, whose taps are in reverse order, "can
achieve the same result if the filter is learned". Section 2 breaks the sub-pixel convolution into an LR
convolution and a shuffle, and "this operation is invertible because each set of the weights are independent
from each other". Here a transposed convolution and its LR form are trained from the same start, to see
whether learning treats them alike as well.

The network is small (two convolutions of 16 maps of 3x3, tanh, then the up-sampling layer from 16 maps to
the image) and enlarges photographs by 2, those that ship with the package whatever `--data` says. The
transposed convolution is PyTorch's. It is compared with four others that start as the same function and see
the same patches:

- 6x6 taps, free: 6 is a multiple of r = 2, so the map to LR kernels (4, 16, 3, 3) only permutes the weights.
- 5x5 taps, free: the LR kernels hold the 25 taps and 11 zeros for each map. All 36 are trained.
- 5x5 taps, mapped: `subpixel.nn.ConvTranspose2d` keeps the 25 taps and maps them in each forward pass.
- 6x6 taps, biases: the transposed convolution has one bias for the image, the LR convolution one for each
  phase.

*Apart* is the distance of all weights of the two networks, mapped to LR form, divided by the norm of the
first one's. *Zero taps* is the norm of those LR taps that the transposed convolution does not have, divided
by that of all of the layer's; it is also the distance from the nearest transposed convolution. Loss is the
mean squared error of luma in 0..1.

Plain SGD, momentum, Adam, and AdamW with weight decay treat each weight by itself; SOAP rotates each
weight's gradient into a basis of its matrix, and the two layers arrange the same weights in different
matrices. Whether an optimizer commutes with the map is also asked without a network: the same gradients,
mapped.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from subpixel.studies.lab.bench import Arrays, Bench
from subpixel.studies.lab.comparison import verdict
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.training import drawings
from subpixel.studies.training.pairs import (
    BIASES_6,
    ELEMENTWISE,
    FREE_5,
    FREE_6,
    MAPPED_5,
    OPTIMIZERS,
    TYPES,
    Case,
    R,
    pair_trial,
    same_gradients,
    zero_gradient,
)

STEPS, QUICK_STEPS = 400, 10
SEEDS, QUICK_SEEDS = 3, 2
EXACT = 1e-12  # relative, in float64: the rounding of some hundred steps is a few 1e-15

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
    trials = bench.trials({name: pair_trial(task, *of, steps) for name, of in names.items()})
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
        f"in float64 their weights, mapped back, stay apart by less than {EXACT} of their norm": all(
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
    return [drawings.rounding(result), drawings.zero_taps(result)]


STUDY = Study("training", "Training a transposed convolution and its LR form", __doc__, compute, draw, ())
