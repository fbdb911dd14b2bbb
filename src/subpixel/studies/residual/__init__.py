"""Residual networks that mix LR and HR features, against LR alone, at equal cost.

The note's last question: "What happens when resNet is combined with many layers of convolutions for tasks
which require upsampling, will the network learn to combine LR and HR features automatically?" Here residual
networks for super-resolution by two are given features in both spaces; do they gain by them, and do they
use both?

**The networks.** A convolution of 5x5 makes 16 maps of the LR image, three residual blocks add to them, and
a convolution of 3x3 and a shuffle add the result to the bicubic image. A block adds what two branches give,
each of two convolutions of 3x3 with ReLU between them:

    x <- x + lr(x) + unshuffle(hr(shuffle(x)))

The LR branch reads 16 LR maps; the HR branch reads the same numbers as four HR maps, and its convolutions
work in HR space. Between its convolutions the LR branch has a maps and the HR branch b.

**Equal cost.** Multiply-accumulates for each LR pixel: the LR branch costs 2 * 9 * 16a, the HR branch, with
four times the positions, 2 * 9 * 4 * 4b. So a map costs the same in either space, and networks of a + b =
16 cost the same to the last operation. A map of the HR branch has four times the pixels, but its kernels
see half as far. LR alone has a = 16; the mixed network has a = 12 and b = 4, which hold 12 and 16 numbers
for each LR pixel.

**What is measured.** PSNR after equally many steps of the same learning rate on the same patches, by paired
differences of the seeds. Then, of the trained networks, how much each branch adds to each block's features
(root of the mean square, relative to the features that it reads), and what PSNR is lost when branches are
cut, without training again.

References: Shi et al. 2016 (arXiv:1609.07009), section 3; He et al. 2016 (arXiv:1512.03385); blocks without
normalisation as in EDSR, Lim et al. 2017 (arXiv:1707.02921).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from subpixel.extras import needing
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.comparison import comparative, difference, differences, spread
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.mixed import SCALE
from subpixel.studies.lab.study import Picture, Result, Row, Study
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.residual import drawings
from subpixel.studies.residual.network import BLOCKS, HIDDEN, TRUNK, Block, Residual, cost

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

RATE = 2e-3
ALONE = "LR alone"
MIXED = "LR and HR"
NETWORKS: Mapping[str, int] = {  # by how many of the hidden maps are in HR space
    ALONE: 0,
    MIXED: 4,
}
USED = 0.1  # dB: a branch whose cut costs less could as well be left out
Cut = Collection[tuple[int, str]]  # branches that are left out, by block and space
CUTS: Sequence[Sequence[Cut]] = [  # by block, then all blocks; in each row by space
    *([[(block, space)] for space in TRUNK] for block in range(BLOCKS)),
    [[(block, space) for block in range(BLOCKS)] for space in TRUNK],
]


def compute(bench: Bench) -> Result:
    """Train networks of each share, measure their branches, and cut them."""
    steps, seeds = (3, (0, 1)) if bench.quick else (1500, (0, 1, 2))
    task = SuperResolution(bench.samples, SCALE, patch=24, batch=8)
    how = f"{BLOCKS} blocks, {steps} steps at {RATE}, 8 patches of 24"
    names = {
        (network, seed): f"{in_hr} of {HIDDEN} maps in HR space, seed {seed}, {how}"
        for network, in_hr in NETWORKS.items()
        for seed in seeds
    }
    trials = bench.trials(
        {name: partial(_train, task, NETWORKS[key[0]], steps, key[1]) for key, name in names.items()}
    )
    psnr, added, lost = (
        {network: np.stack([trials[names[network, seed]][what] for seed in seeds]) for network in NETWORKS}
        for what in ("psnr", "added", "lost")
    )
    psnr = {network: values.mean(1) for network, values in psnr.items()}
    return Result(
        [_row(*key, trials[name]) for key, name in names.items()],
        [*_on_psnr(psnr), *_on_branches(added[MIXED], lost[MIXED])],
        _checks(),
        {**psnr, "added": added[MIXED], "lost": lost[MIXED]},
    )


def _train(
    task: SuperResolution, in_hr: int, steps: int, seed: int, report: Report
) -> Mapping[str, ArrayLike]:
    """Return the PSNR of a network on each set, what its branches add, and what is lost without them."""
    torch.manual_seed(seed)
    network = Residual(in_hr)
    fit(network, task.batches(seed, network.radius), steps=steps, rate=RATE, report=report)
    psnr = task.psnr(network, network.radius)
    (few,) = list(psnr)[-1:]  # the set of the fewest images
    measured = partial(measure, task, network, few)
    lost = [[psnr[few] - measured(cut) for cut in row] for row in CUTS]
    return {
        "psnr": list(psnr.values()),
        "sets": list(psnr),
        "weights": sum(parameter.numel() for parameter in network.parameters()),
        "added": added_by_branches(network, measured),
        "lost": lost,
    }


def measure(task: SuperResolution, network: Residual, name: str, cut: Cut = ()) -> float:
    """Return the PSNR on a set with some branches cut."""
    for depth, block in enumerate(network.blocks):
        block.cut = {space for where, space in cut if where == depth}  # type: ignore[assignment]
    psnr = task.psnr(network, network.radius, [name])[name]
    for block in network.blocks:
        block.cut = set()  # type: ignore[assignment]
    return psnr


def added_by_branches(network: Residual, run: Callable[[], float]) -> NDArray[np.float64]:
    """Return the size of what each branch gives, relative to the features that it reads, (blocks, spaces).

    Args:
        network: is watched while it runs.
        run: runs it on some images.
    """
    squares = np.zeros((2, BLOCKS, len(TRUNK)))  # of what is given, of what is read

    def watch(place: tuple[int, int], _branch: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        squares[:, *place] += [float(features.detach().square().mean()) for features in (output, *inputs)]

    for depth, block in enumerate(network.blocks):
        for column, space in enumerate(TRUNK):
            if space in block:  # type: ignore[operator]
                block[space].register_forward_hook(partial(watch, (depth, column)))  # type: ignore[index]
    run()
    given, read = squares
    return np.sqrt(np.divide(given, read, out=np.zeros_like(given), where=read > 0))


def _row(network: str, seed: int, trial: Arrays) -> Row:
    in_hr = NETWORKS[network]
    row: dict[str, str | int | float] = {
        "network": network,
        "seed": seed,
        "hidden maps, LR": HIDDEN - in_hr,
        "hidden maps, HR": in_hr,
        "operations an LR pixel": cost(in_hr),
        "weights": int(trial["weights"]),
    }
    row |= {f"{name}, dB": float(value) for name, value in zip(trial["sets"], trial["psnr"], strict=True)}
    row |= {
        f"lost without {space}, dB": float(value)
        for space, value in zip(TRUNK, trial["lost"][-1], strict=True)
    }
    return row


def _on_psnr(psnr: Mapping[str, NDArray[np.float64]]) -> Iterator[str]:
    """Yield how the networks compare, from the mean PSNR over the sets, one for each seed."""
    means = "; ".join(f"{network}: {spread(values)} dB" for network, values in psnr.items())
    yield f"**PSNR** (mean over the sets, and its deviation between seeds): {means}."
    for network in [*NETWORKS][1:]:
        yield f"{network[0].upper()}{network[1:]} against {ALONE}: {difference(psnr[network] - psnr[ALONE])}."
    said = comparative(psnr[MIXED] - psnr[ALONE])
    yield f"**Do they gain by features in both spaces?** At equal operations {MIXED} gives {said} {ALONE}."


def _on_branches(added: NDArray[np.float64], lost: NDArray[np.float64]) -> Iterator[str]:
    """Yield what the branches of the mixed network do, (seeds, blocks, spaces)."""
    ratios = (added[:, :, 1] / added[:, :, 0]).T
    yield (
        f"**What the branches add**: what the HR branch adds is "
        f"{', '.join(spread(ratio) for ratio in ratios)} times as large as what the LR branch adds, "
        "from the first block to the last."
    )
    parts = [
        f"its {space} branches {spread(values)} dB"
        for space, values in zip(TRUNK, lost[:, -1].T, strict=True)
    ]
    least = lost[:, -1].min(0)
    idle = [space for space, loss in zip(TRUNK, least, strict=True) if loss < USED]
    said = f"could do without {' and '.join(idle)}" if idle else "uses both spaces"
    yield (
        f"**Does it use both?** It loses without {', and without '.join(parts)}. By this it {said}: "
        f"the least loss of a seed is {least.min():.2f} dB, and {USED} dB would count."
    )


def _checks() -> dict[str, bool]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, HIDDEN, 9, 9, dtype=torch.float64, generator=generator)
    branch = Block(HIDDEN)["HR"].double()
    before, after = branch[0].within_hr, branch[2].within_hr  # type: ignore[index]
    in_hr = conv2d(pixel_shuffle(features, SCALE), before).relu()
    in_hr = pixel_unshuffle(conv2d(in_hr, after)[..., 2:-2, 2:-2], SCALE)
    return {
        "All networks cost the same, to the operation.": len({cost(each) for each in NETWORKS.values()}) == 1,
        "An HR branch is two convolutions between a shuffle and an unshuffle, within 1e-12 (float64).": bool(
            (branch(features) - in_hr).abs().max() < 1e-12
        ),
    }


def draw(result: Result) -> list[Picture]:
    """Draw the PSNR, and what the branches do."""
    psnr = {network: result.arrays[network] for network in NETWORKS}
    return [differences(psnr, ALONE), drawings.branches(result)]


STUDY = Study("residual", "Do residual networks combine LR and HR features?", __doc__, compute, draw)
