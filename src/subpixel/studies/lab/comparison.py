"""Networks compared seed by seed: in words, and in a picture."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES as COLOURS
from subpixel.studies.lab.study import Picture, interval, verdict

with needing("study"):
    from matplotlib.figure import Figure

Measurements = NDArray[np.float64]  # in dB, one a seed


def difference(values: Measurements) -> str:
    """Return paired differences in dB as text: their mean, Student's 95 % interval, and the verdict.

    Example:
        >>> difference(np.array([0.21, 0.25, 0.19]))
        '+0.217 dB (95 % interval +0.141 to +0.293): more'
    """
    low, high = interval(values.tolist())
    return f"{values.mean():+.3f} dB (95 % interval {low:+.3f} to {high:+.3f}): {verdict(values.tolist())}"


def comparative(values: Measurements) -> str:
    """Return what paired differences say, to be followed by the other network.

    Example:
        >>> comparative(np.array([0.21, 0.25, 0.19])), comparative(np.array([0.1, -0.2, 0.1]))
        ('more than', 'no other PSNR, beyond chance, than')
    """
    said = verdict(values.tolist())
    return f"{said} than" if said in ("more", "less") else "no other PSNR, beyond chance, than"


def differences(measurements: Mapping[str, Measurements], base: str) -> Picture:
    """Draw how much better networks of equal operations are than one of them, seed by seed.

    Args:
        measurements: PSNR by network.
        base: the network that the others are compared with.
    """
    figure = Figure((8, 0.8 + 0.5 * len(measurements)))
    axes = figure.subplots()
    for row, values in enumerate(measurements.values()):
        apart = values - measurements[base]
        low, high = interval(apart.tolist())
        colour = COLOURS[row]
        axes.plot([low, high], [row, row], color=colour, linewidth=4, alpha=0.3, solid_capstyle="butt")
        axes.plot(apart.mean(), row, "|", color=colour, markersize=16, markeredgewidth=2)
        axes.plot(apart, np.full(len(apart), row), "o", color=colour, markersize=5)
    axes.axvline(0, color="#888888", linewidth=0.8)
    axes.set_yticks(range(len(measurements)), list(measurements))
    axes.set(xlabel=f"PSNR less that of the network “{base}”, dB")
    axes.invert_yaxis()
    caption = (
        f"PSNR of networks of equal operations, less that of the network “{base}”, seed by seed. Circles are "
        "seeds; the bar is the 95 % interval of their mean."
    )
    return Picture("psnr", caption, figure)
