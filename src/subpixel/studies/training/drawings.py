"""How far the networks of a pair are apart, over the steps."""

import numpy as np

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.study import Picture, Result
from subpixel.studies.training.pairs import FREE_5, FREE_6, OPTIMIZERS

with needing("study"):
    from matplotlib.figure import Figure


def rounding(result: Result) -> Picture:
    """Draw how far the networks are apart where the kernel is a multiple of r."""
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


def zero_taps(result: Result) -> Picture:
    """Draw what becomes of the taps that began as zeros, and the losses."""
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
