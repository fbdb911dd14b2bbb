"""Which HR networks take as long as an LR network."""

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np

from subpixel.extras import needing
from subpixel.measure.race import gain, race
from subpixel.studies.lab.bench import Arrays, Report
from subpixel.studies.lab.networks import InHR
from subpixel.studies.representation.shapes import Shape

with needing("study"):
    import torch

EQUAL = 0.05  # a difference in time that counts as none
NEAR = 0.2  # a difference in time after which it is measured once more
TRIED = 3  # networks of equal time that are trained for a pilot run
ROUNDS = 5  # races among those whose time is near
FORMATS = (torch.contiguous_format, torch.channels_last)


def equal_time(lr: Shape, hr: Shape, frame: int, seconds: float, report: Report) -> Arrays:
    """Return the maps and the kernel of the largest HR networks that take no longer than the LR network.

    Args:
        lr: the LR network.
        hr: the HR network of equal operations, of which the others are smaller ones.
        frame: LR pixels on a side.
        seconds: for the race of all, and again for the races of those that are near.
        report: is called with the share that is done.

    Returns:
        "maps", "kernel" and "ratio", the time divided by that of the LR network, of the largest few; "whole",
        the ratio of the HR network of equal operations.
    """
    shapes = [
        Shape(InHR, hr.r, maps, (kernel, kernel, kernel))
        for maps in range(1, hr.maps + 1)
        for kernel in range(2, hr.kernel_sizes[0] + 1)
    ]
    runs = {
        (shape, index): _inference(shape, frame, layout)
        for shape in (lr, *shapes)
        for index, layout in enumerate(FORMATS)
    }
    first = race(runs, seconds, seed=0, always=list(runs))
    chosen = {
        shape: min(range(len(FORMATS)), key=lambda index: median(first[shape, index]))
        for shape in (lr, *shapes)
    }
    ratios = {shape: gain(first[shape, chosen[shape]], first[lr, chosen[lr]]) for shape in shapes}
    near = [shape for shape in shapes if ratios[shape] < 1 + NEAR]
    times: dict[Shape, list[float]] = {shape: [] for shape in (lr, hr, *near)}
    for seed in range(ROUNDS):
        again = {shape: runs[shape, chosen[shape]] for shape in times}
        for shape, rounds in race(again, seconds / ROUNDS, seed, always=list(times)).items():
            times[shape] += rounds
        report((seed + 1) / ROUNDS)
    ratios = {shape: gain(rounds, times[lr]) for shape, rounds in times.items()}
    quickest = min(
        near, key=lambda shape: ratios[shape], default=hr
    )  # something to train, whatever the noise
    same = [shape for shape in near if ratios[shape] <= 1 + EQUAL] or [quickest]
    largest = _largest(same, TRIED)
    return {
        "maps": np.array([shape.maps for shape in largest]),
        "kernel": np.array([shape.kernel_sizes[0] for shape in largest]),
        "ratio": np.array([ratios[shape] for shape in largest]),
        "whole": np.array(ratios[hr]),
    }


def _largest(shapes: Sequence[Shape], count: int) -> list[Shape]:
    """Return the shapes of the most multiply-accumulates."""
    return sorted(shapes, key=lambda shape: shape.build(0).macs_per_lr_pixel, reverse=True)[:count]


def _inference(shape: Shape, frame: int, layout: torch.memory_format) -> Callable[[], object]:
    """Return the network as something to run on a frame."""
    network = shape.build(0).to(memory_format=layout)  # type: ignore[call-overload]
    side = frame + 2 * network.radius
    plane = torch.rand(1, 1, side, side).contiguous(memory_format=layout)

    def run() -> object:
        with torch.inference_mode():
            return network(plane)

    return run
