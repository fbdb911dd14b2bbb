"""What a study is, and what it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.samples import Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Result:
    """What a study found.

    Attributes:
        table: rows with the same columns each.
        findings: sentences made from the figures, with their spread, and what they say about the claim.
        checks: what must hold whatever the data, each by a sentence that says so, and whether it did.
        arrays: what the pictures are drawn from.
    """

    table: Sequence[Row]
    findings: Sequence[str]
    checks: Mapping[str, bool]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


class Picture(NamedTuple):
    """A picture of a result.

    Attributes:
        name: of its files, without a suffix.
        caption: what it shows, for those who see it and for those who do not.
        figure: the drawing.
    """

    name: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class Study:
    """A claim or a question, and how it is put to computation.

    Attributes:
        name: of its file.
        title: one line.
        text: what is claimed, where, and what is measured: the docstring of its file.
        compute: from a bench to a result.
        draw: from a result to its pictures.
        data: the kinds of samples that it takes from its bench.
    """

    name: str
    title: str
    text: str
    compute: Callable[[Bench], Result]
    draw: Callable[[Result], Sequence[Picture]]
    data: Sequence[Kind] = ("images",)


def spread(values: Sequence[float]) -> str:
    """Return the mean of some measurements and their sample standard deviation as text.

    Example:
        >>> spread([31.25, 31.30, 31.32])
        '31.29 ± 0.04'
    """
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.2f} ± {deviation:.2f}"


def verdict(differences: Sequence[float]) -> str:
    """Return what paired differences, one a seed, say by Student's 95 % interval of their mean.

    Returns:
        "more", "less", or "no difference beyond chance".

    Example:
        >>> verdict([0.21, 0.25, 0.19]), verdict([0.1, -0.2, 0.1])
        ('more', 'no difference beyond chance')
    """
    low, high = interval(differences)
    return "more" if low > 0 else "less" if high < 0 else "no difference beyond chance"


def interval(differences: Sequence[float]) -> tuple[float, float]:
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
