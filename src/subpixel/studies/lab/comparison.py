"""Networks compared seed by seed: in words, and in a picture."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES as COLOURS
from subpixel.studies.lab.study import Picture

with needing("study"):
    from matplotlib.figure import Figure

Measurements = Sequence[float] | NDArray[np.float64]  # one a seed


def spread(values: Measurements, digits: int = 2) -> str:
    """Return the mean of some measurements and their sample standard deviation as text.

    Example:
        >>> spread([31.25, 31.30, 31.32])
        '31.29 ± 0.04'
    """
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def verdict(differences: Measurements) -> str:
    """Return what paired differences, one a seed, say by Student's 95 % interval of their mean.

    Returns:
        "more", "less", or "no difference beyond chance".

    Example:
        >>> verdict([0.21, 0.25, 0.19]), verdict([0.1, -0.2, 0.1])
        ('more', 'no difference beyond chance')
    """
    low, high = interval(differences)
    return "more" if low > 0 else "less" if high < 0 else "no difference beyond chance"


def interval(differences: Measurements) -> tuple[float, float]:
    """Return Student's two-sided 95 % interval for the mean of a few measurements.

    Raises:
        ValueError: there are fewer than two measurements, or more than ten.

    Example:
        >>> low, high = interval([1.0, 2.0, 3.0])
        >>> round(low, 2), round(high, 2)
        (-0.48, 4.48)
    """
    # Student's t for 97.5 % by degrees of freedom, so that SciPy need not be installed.
    student = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
    count = len(differences)
    if not 2 <= count <= 1 + len(student):
        raise ValueError(f"an interval is made of two to ten measurements; got {count}.")
    error = student[count - 2] * float(np.std(differences, ddof=1)) / count**0.5
    middle = float(np.mean(differences))
    return middle - error, middle + error


def difference(values: Measurements, digits: int = 3, unit: str = " dB") -> str:
    """Return paired differences as text: their mean, Student's 95 % interval, and the verdict.

    Example:
        >>> difference([0.21, 0.25, 0.19])
        '+0.217 dB (95 % interval +0.141 to +0.293): more'
    """
    mean, low, high = (f"{value:+.{digits}f}" for value in (np.mean(values), *interval(values)))
    return f"{mean}{unit} (95 % interval {low} to {high}): {verdict(values)}"


def comparative(values: Measurements) -> str:
    """Return what paired differences say, to be followed by the other network.

    Example:
        >>> comparative([0.21, 0.25, 0.19]), comparative([0.1, -0.2, 0.1])
        ('more than', 'no other PSNR, beyond chance, than')
    """
    said = verdict(values)
    return f"{said} than" if said in ("more", "less") else "no other PSNR, beyond chance, than"


def differences(measurements: Mapping[str, NDArray[np.float64]], base: str) -> Picture:
    """Draw how much better networks of equal operations are than one of them, seed by seed.

    Args:
        measurements: PSNR by network.
        base: the network that the others are compared with.
    """
    figure = Figure((8, 0.8 + 0.5 * len(measurements)))
    axes = figure.subplots()
    for row, values in enumerate(measurements.values()):
        apart = values - measurements[base]
        low, high = interval(apart)
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
