"""How much longer layers in HR space take, and how far they see."""

from collections.abc import Sequence

import numpy as np

from subpixel.extras import needing
from subpixel.studies.cost.races import Example
from subpixel.studies.lab.layers import pair
from subpixel.studies.lab.palette import PHASES, TEXT
from subpixel.studies.lab.study import Picture, Row

with needing("study"):
    from matplotlib.figure import Figure


def times(hr: Sequence[Row], names: Sequence[str]) -> Picture:
    """Draw the ratios of the rows in HR space, by the names of the races."""
    figure = Figure((8, 0.45 * len(hr) + 1.2))
    axes = figure.subplots()
    ratios, low, high = (
        np.array([float(row[name]) for row in hr]) for name in ("time / LR time", "at least", "at most")
    )
    bounds = np.maximum([ratios - low, high - ratios], 0)
    places = np.arange(len(hr))
    axes.barh(places, ratios, 0.6, color=PHASES[0], xerr=bounds, ecolor=TEXT)
    for place, ratio, end in zip(places, ratios, np.maximum(ratios, high), strict=True):
        axes.text(float(end) + 0.1, float(place), f"{ratio:.2f}", va="center")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.axvline(1, color=PHASES[5], label="same speed")
    axes.set_xlim(0, 1.12 * float(high.max()))
    axes.set_xlabel("time in HR space / time in LR space")
    axes.legend(loc="lower right")
    caption = (
        "The time of a hidden layer in HR space, divided by that of the layer in LR space with exactly as "
        "many operations. Where a bar is longer than 1 the LR layer is faster; the dark lines span the "
        "bounds."
    )
    return Picture("times", caption, figure)


def fields(examples: Sequence[Example], depth: int) -> Picture:
    """Draw how many LR pixels an output depends on, by the number of layers up to a depth."""
    figure = Figure((8, 3.6))
    depths = range(1, depth + 1)
    both = figure.subplots(1, 2, sharey=True)
    for axes, (n, k, r, d) in zip(both, examples, strict=True):
        lr, hr = pair(n, k, r, d)
        seen = np.array([hr.seen(layers) for layers in depths])
        axes.fill_between(depths, seen.min(1), seen.max(1), color=PHASES[1], alpha=0.4)
        axes.plot(depths, seen.mean(1), "s-", color=PHASES[1], label=f"HR space, {hr.kernel}, mean of phases")
        axes.plot(depths, [lr.extent(layers) for layers in depths], "o-", label=f"LR space, {lr.kernel}")
        axes.set_title(f"r = {r}")
        axes.set_xlabel("layers")
        axes.legend(loc="upper left")
    both[0].set_ylabel("LR pixels along an axis")
    caption = (
        "LR pixels that an output depends on, along an axis, by the number of layers. The band spans the "
        "phases of HR pixels. Both networks cost the same, and the one in HR space sees further with every "
        "layer."
    )
    return Picture("receptive-fields", caption, figure)
