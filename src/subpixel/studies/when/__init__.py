"""A network that learns when to up-scale and how many of its feature maps, against choices made by hand.

The note ends with questions. One of them: "Can the network learn when to upscale and what percentage of
feature maps to upscale from using only convolutions?" Here networks for super-resolution by two learn just
that.

**What is chosen.** A network has four depths of feature maps. At each, a part of the maps stays in LR space
and the rest is up-scaled: four LR maps, shuffled, are one HR map. Kernels have 3x3 taps in either space,
those of the first layer 5x5; between the layers is ReLU. The layers add to the bicubic image. Kernels
between the spaces are free: from LR to HR maps they are a transposed convolution, from HR to LR maps a
convolution that strides. Since an HR convolution of shuffled maps is an LR convolution of structured
kernels, all these networks are LR convolutions, and to up-scale is to accept that structure in exchange for
operations.

**The budget** is multiply-accumulates for each LR pixel, the bicubic image not counted: what 16 LR maps at
each depth cost. Between n and m LR maps a layer costs 9nm. An HR map has four times the positions, so
between n and m HR maps, and between maps of different spaces, it costs 4*9nm. An HR map holds as much as
four LR maps: for what they hold, HR maps are four times cheaper, but only next to other HR maps. All in HR
space, the budget pays 8 maps, which hold twice as much as 16 LR maps. But HR kernels see half as far, and
serve all four phases. (The note's section 3 compares other networks of equal cost: HR kernels of r times as
many taps, for a quarter of the maps. Those are in the study of representation.)

**How it is learned.** At each depth the search has eight units, of four LR maps or one HR map each. Two
gates a unit are drawn at each step, and their chances are trained together with the weights: whether the
unit is there (the same at all depths), and whether it is in HR space (at each depth). The loss is the
logarithm of the mean squared error, plus 20 times the square of the share by which the expected operations
miss the budget. The search starts near the budget, with equal chances for both spaces. Its outcome is the
expected share of what the maps hold that is in HR space, by depth. The network of these shares whose cost
is nearest to the budget is then trained from scratch, as are networks of fixed shares.

**How it is decided:** by paired differences of the PSNR, one for each seed (which draws the first weights,
the gates and the patches), and Student's 95 % interval of their mean. All networks have the same learning
rate, steps and patches.

References: Shi et al. 2016 (arXiv:1609.07009), section 3. The gates are the binary concrete variables of
Maddison et al. 2017 (arXiv:1611.00712), drawn as zeros and ones ("straight through": Jang et al. 2017,
arXiv:1611.01144).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subpixel.extras import needing
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.comparison import comparative, difference, differences, interval, spread
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.mixed import SCALE, Maps, Mixed, cost, fitting, lift
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.when import drawings
from subpixel.studies.when.search import BUDGET, DEPTHS, UNITS, Search

with needing("study"):
    import torch
    from torch import nn
    from torch.nn.functional import conv2d, pixel_shuffle

TOLERANCE = 0.03  # of the budget: maps are whole
RATE = 2e-3
LEARNED = "learned"
ALL_LR = "all in LR space"
FIXED: Mapping[str, Sequence[float]] = {
    ALL_LR: (0, 0, 0, 0),
    "half at each depth": (0.5, 0.5, 0.5, 0.5),
    "up-scaled at the end": (0, 0, 0, 1),
    "up-scaled in the middle": (0, 0, 1, 1),
    "up-scaled first": (1, 1, 1, 1),
}


def compute(bench: Bench) -> Result:
    """Search, then train what the searches chose and the fixed choices at equal cost."""
    steps, seeds = (6, (0, 1)) if bench.quick else (1200, (0, 1, 2))
    task = SuperResolution(bench.samples, SCALE, patch=24, batch=8)
    how = f"{steps} steps at {RATE}, 8 patches of 24"
    searches = bench.trials(
        {f"search of seed {seed}, {how}": partial(_search, task, steps, seed) for seed in seeds}
    )
    courses = np.stack([search["shares"] for search in searches.values()])  # seeds, steps, depths
    shares = {(choice, seed): fixed for choice, fixed in FIXED.items() for seed in seeds}
    shares |= {(LEARNED, seed): course[-1] for seed, course in zip(seeds, courses, strict=True)}
    maps = {network: fitting(by_depth, BUDGET) for network, by_depth in shares.items()}
    names = {network: f"{_as_text(maps[network])}, seed {network[1]}, {how}" for network in maps}
    trials = bench.trials(
        {name: partial(_train, task, maps[network], steps, network[1]) for network, name in names.items()}
    )
    results = {network: trials[name] for network, name in names.items()}
    psnr = {
        choice: np.array([results[choice, seed]["psnr"].mean() for seed in seeds])
        for choice in (*FIXED, LEARNED)
    }
    return Result(
        [_row(*network, maps[network], trial) for network, trial in results.items()],
        [*_on_shares(courses[:, -1]), *_on_psnr(psnr)],
        _checks(maps.values()),
        {"steps": searches[next(iter(searches))]["steps"], "courses": courses, **psnr},
    )


def _search(task: SuperResolution, steps: int, seed: int, report: Report) -> Mapping[str, ArrayLike]:
    """Return the shares and the expected operations in the course of a search."""
    torch.manual_seed(seed)
    network = Search()
    points, shares, macs = [0], [network.shares()], [float(network.operations().detach())]

    def watch(step: int) -> None:
        if step % max(1, steps // 50) == 0 or step == steps:
            points.append(step)
            shares.append(network.shares())
            macs.append(float(network.operations().detach()))

    batches = task.batches(seed, network.radius)
    fit(network, batches, steps=steps, rate=RATE, report=report, loss=network.loss, watch=watch)
    return {"steps": points, "shares": shares, "operations": macs}


def _train(
    task: SuperResolution, maps: Sequence[Maps], steps: int, seed: int, report: Report
) -> Mapping[str, ArrayLike]:
    """Return the PSNR of a network on each set."""
    torch.manual_seed(seed)
    network = Mixed(maps)
    fit(network, task.batches(seed, network.radius), steps=steps, rate=RATE, report=report)
    psnr = task.psnr(network, network.radius)
    return {"psnr": list(psnr.values()), "sets": list(psnr)}


def _row(choice: str, seed: int, maps: Sequence[Maps], trial: Arrays) -> Row:
    psnr = {f"{name}, dB": float(value) for name, value in zip(trial["sets"], trial["psnr"], strict=True)}
    macs = {"operations an LR pixel": cost(maps)}
    return {"network": choice, "seed": seed, "maps, LR + HR": _as_text(maps), **macs, **psnr}


def _as_text(maps: Sequence[Maps]) -> str:
    return ", ".join(f"{each.lr} + {each.hr}" for each in maps)


def _on_shares(shares: NDArray[np.float64]) -> Iterator[str]:
    """Yield what the searches chose, (seeds, depths)."""
    by_depth = "; ".join(
        f"{100 * each.mean():.0f} % ({100 * each.min():.0f} to {100 * each.max():.0f})" for each in shares.T
    )
    yield (
        f"**How much it up-scales.** The share in HR space from the first depth to the last, mean and range "
        f"of the seeds: {by_depth}. The search began with 50 % everywhere."
    )
    low, high = interval(shares[:, -1] - shares[:, :-1].mean(1))
    when = "late" if low > 0 else "early" if high < 0 else "neither late nor early beyond chance"
    yield (
        f"**When it up-scales: {when}.** The share at the last depth less the mean of the others: "
        f"{100 * low:+.0f} to {100 * high:+.0f} percentage points (95 % interval). The last depth has the "
        f"largest share in {(shares.argmax(1) == DEPTHS - 1).sum()} of {len(shares)} seeds."
    )


def _on_psnr(psnr: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """Yield how the networks compare, from the mean PSNR over the sets, one for each seed."""
    best = max(FIXED, key=lambda choice: psnr[choice].mean())
    means = "; ".join(f"{choice}: {spread(values)} dB" for choice, values in psnr.items())
    yield f"**PSNR** (mean over the sets, and its deviation between seeds): {means}."
    for base, others in ((ALL_LR, [*FIXED][1:]), (LEARNED, [*FIXED])):
        apart = "; ".join(f"{choice} {difference(psnr[choice] - psnr[base])}" for choice in others)
        yield f"**Fixed choices against “{base}”**: {apart}."
    compared = " and ".join(
        f"{comparative(psnr[LEARNED] - psnr[choice])} “{choice}”" for choice in dict.fromkeys((best, ALL_LR))
    )
    yield (
        f"**The answer.** The best choice by hand is “{best}”. At equal operations the learned choice gives "
        f"{compared}."
    )


def _checks(networks: Iterable[Sequence[Maps]]) -> dict[str, bool]:
    generator = torch.Generator().manual_seed(0)
    weight, features = (
        torch.randn(*shape, dtype=torch.float64, generator=generator)
        for shape in ((3, 2, 3, 3), (1, 8, 9, 9))
    )
    in_hr = conv2d(pixel_shuffle(features, SCALE), weight)[..., 1:-1, 1:-1]
    in_lr = pixel_shuffle(conv2d(features, lift(weight)), SCALE)
    search = Search()
    for gates in (search.there, search.in_hr):
        nn.init.constant_(gates.logits, 100.0)
    return {
        "Each network costs the budget, within 3 %.": all(
            abs(cost(maps) / BUDGET - 1) < TOLERANCE for maps in networks
        ),
        "An HR convolution of shuffled maps is an LR convolution, within 1e-12 (float64).": bool(
            (in_hr - in_lr).abs().max() < 1e-12
        ),
        "A search without doubt expects what its network costs, to rounding.": math.isclose(
            float(search.operations().detach()), cost([Maps(0, UNITS)] * DEPTHS), rel_tol=1e-6
        ),
    }


def draw(result: Result) -> list[Picture]:
    """Draw the shares that the searches choose, and the PSNR."""
    psnr = {choice: result.arrays[choice] for choice in (*FIXED, LEARNED)}
    return [drawings.shares(result), differences(psnr, ALL_LR)]


STUDY = Study("when", "Can a network learn when to up-scale, and how much?", __doc__, compute, draw)
