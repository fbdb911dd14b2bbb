"""What a study is, and what it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

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
