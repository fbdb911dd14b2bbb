"""A sheet of paper for cells with numbers, arrows and words; lengths are in cells, the origin is top left."""

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from subpixel.extras import needing
from subpixel.studies.lab.palette import PHASES, TEXT, ZERO

with needing("study"):
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch, Rectangle

Point = tuple[float, float]

# What a cell may be besides an HR pixel or a weight of phase 0, 1, 2, ...
PIXEL, INSERTED, BORDER, IDLE = -1, -2, -3, -4
_FILLS = {PIXEL: "#FFFFFF", INSERTED: ZERO, BORDER: "#F1F1F1", IDLE: "#FFFFFF"}
_FAINT = "#9A9A9A"
_LINE = "#8A8A8A"
_INCHES = 0.4  # the side of a cell; 28 cells are a picture as wide as a page


def colour(phase: int) -> str:
    """Return the colour of a phase; its number tells apart those beyond the palette."""
    return PHASES[phase % len(PHASES)]


def _fill(kind: int) -> str:
    return colour(kind) if kind >= 0 else _FILLS[kind]


class Canvas:
    """A drawing of `width` by `height` cells."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure((width * _INCHES, height * _INCHES))
        self._axes = self.figure.subplots()
        self._axes.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        self._axes.axis("off")

    def cells(self, left: float, top: float, values: ArrayLike, kinds: ArrayLike) -> None:
        """Draw a grid of numbers.

        Args:
            left: of its left edge.
            top: of its upper edge.
            values: one number a cell, (rows, columns) or (columns,).
            kinds: what each cell is: a phase, or one of the kinds of this module; one for all, or one each.
        """
        numbers = np.atleast_2d(np.asarray(values))
        types = np.broadcast_to(np.atleast_2d(np.asarray(kinds, int)), numbers.shape)
        rows, columns = numbers.shape
        corners = np.array([(left, top), (left + 1, top), (left + 1, top + 1), (left, top + 1)])
        squares = [corners + np.array([column, row]) for row, column in np.ndindex(rows, columns)]
        fills = [_fill(kind) for kind in types.ravel().tolist()]
        cells = PolyCollection(squares, facecolors=fills, edgecolors="#BBBBBB", linewidths=0.6)
        self._axes.add_collection(cells, autolim=False)
        for (row, column), number in np.ndenumerate(numbers):
            if not np.isnan(number):
                self._number(left + column, top + row, number, int(types[row, column]))
        self.frame(left, top, columns, rows, _LINE, 1.2)

    def cells_apart(self, left: float, top: float, values: ArrayLike, kind: int, pitch: int) -> None:
        """Draw numbers in a row of single cells, `pitch` cells from one to the next; the kind is of all."""
        for index, number in enumerate(np.asarray(values)):
            self.cells(left + pitch * index, top, [number], kind)

    def _number(self, x: float, y: float, number: float, kind: int) -> None:
        """Write a cell's number, and its phase in the corner."""
        ink = _FAINT if kind < PIXEL else ink_on(_fill(kind))
        size, lift = (9 if kind < PIXEL else 11.5), (0.13 if kind >= 0 else 0)
        self.text(x + 0.5, y + 0.5 - lift, f"{number:g}", size=size, ink=ink, bold=kind >= PIXEL)
        if kind >= 0:
            self.text(x + 0.92, y + 0.79, str(kind), size=8, ink=ink, align="right")

    def frame(
        self, left: float, top: float, width: float, height: float, ink: str, line: float = 2.5
    ) -> None:
        """Draw the outline of some cells."""
        self._axes.add_artist(
            Rectangle((left, top), width, height, fill=False, edgecolor=ink, linewidth=line)
        )

    def arrow(self, start: Point, end: Point, ink: str = TEXT, *, label: str = "", at: float = 0.5) -> None:
        """Draw an arrow, and a label on it, a share of the way along."""
        self._axes.add_artist(
            FancyArrowPatch(
                start, end, arrowstyle="-|>", mutation_scale=9, color=ink, shrinkA=0, shrinkB=0, linewidth=1.3
            )
        )
        if label:
            x, y = (a + at * (b - a) for a, b in zip(start, end, strict=True))
            self.text(x, y, label, size=9.5, ink=ink, bold=True, paper="white")

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = 10,
        ink: str = TEXT,
        align: str = "center",
        bold: bool = False,
        paper: str | None = None,
    ) -> None:
        """Write words, their middle at y."""
        box = None if paper is None else {"facecolor": paper, "edgecolor": "none", "pad": 0.8}
        text = self._axes.text(
            x,
            y,
            words,
            fontsize=size,
            color=ink,
            ha=align,
            va="center_baseline",
            fontweight="bold" if bold else "normal",
            bbox=box,
        )
        text.set_in_layout(False)  # it lies within the axes; to measure it takes half of the time

    def title(self, left: float, top: float, words: str, note: str = "") -> None:
        """Write a heading over something whose upper left corner is given, and a note under the heading."""
        self.text(left, top - (1.05 if note else 0.55), words, size=12, align="left", bold=True)
        if note:
            self.text(left, top - 0.42, note, size=10, align="left", ink="#555555")


@cache
def ink_on(fill: str) -> str:
    """Return the ink that contrasts more with a fill: dark or white."""
    return max((TEXT, "#FFFFFF"), key=lambda ink: _contrast(ink, fill))


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(ink: str) -> float:
    """Return the relative luminance of a colour, as WCAG 2 defines it."""
    red, green, blue = (((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(ink))
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)
