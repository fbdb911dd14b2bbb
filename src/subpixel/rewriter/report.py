"""What a rewrite found, decided and gained: for a terminal and for machines."""

import json
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, dataclass

WIDTH = 100  # columns of the lines that list sites
HEADER = ("site", "was", "became", "MMACs before", "after", "ms before", "after", "")
TEXTS = 3  # columns from the left; what follows are numbers, and last the reason


@dataclass(frozen=True)
class Record:
    """What became of one site.

    Attributes:
        path: the place in the model.
        was: the name of the rule that fits, or of the up-sampler.
        became: the choice, or "kept" where the site is unchanged.
        reason: why the site is kept, or how many times faster it is.
        macs: multiply-accumulates (before, after) at the example's shapes, where they are known.
        milliseconds: of the site by itself, where it was timed: the median before, and that median divided by
            the gain, which is the median of the ratios of times measured side by side.
    """

    path: str
    was: str
    became: str
    reason: str
    macs: tuple[int, int] | None = None
    milliseconds: tuple[float, float] | None = None

    @property
    def changed(self) -> bool:
        """Whether the site is another one now."""
        return self.became != "kept"

    def __str__(self) -> str:
        if not self.changed:
            return f"{self.path}: kept {self.was}, {self.reason}."
        return f"{self.path}: {self.was} became {self.became}, {self.reason}."


@dataclass(frozen=True)
class Report:
    """A rewrite, site by site and as a whole; `print` shows a table.

    Attributes:
        runtime: what was timed, with its version, threads and processor.
        sites: one record each, in the order of the network.
        milliseconds: of the whole model, as of a `Record`; None where nothing was changed, where nothing hung
            on it, or where it was decided before.
        error: the largest difference, relative to the largest output: (float64, own precision); None where
            it was not computed.
        notes: what the reader should know.
    """

    runtime: str
    sites: tuple[Record, ...]
    milliseconds: tuple[float, float] | None
    error: tuple[float | None, float | None]
    notes: tuple[str, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether any site changed."""
        return any(record.changed for record in self.sites)

    def json(self) -> str:
        """Return the same for machines."""
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        rows = [record for record in self.sites if record.macs is not None]
        others = [record for record in self.sites if record.macs is None]
        lines = [self.runtime, *_table(rows), *_grouped(others)]
        if self.milliseconds is not None:
            before, after = self.milliseconds
            lines.append(
                f"whole model: {before:.2f} ms, now {after:.2f} ms: {before / after:.2f} times as fast"
            )
        if not self.changed:
            lines.append("nothing changed" if self.sites else "nothing changed: no up-sampler was found")
        names = ("in float64", "in its own precision")
        lines += [
            f"largest difference {name}: {error:.1e} of the largest output"
            for name, error in zip(names, self.error, strict=True)
            if error is not None
        ]
        return "\n".join([*lines, *self.notes])


def _table(records: list[Record]) -> list[str]:
    rows = [HEADER, *map(_cells, records)] if records else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths) for row in rows]


def _cells(record: Record) -> tuple[str, ...]:
    macs = [f"{count / 1e6:,.1f}" for count in record.macs or ()] or ["", ""]
    times = [f"{time:,.2f}" for time in record.milliseconds or ()] or ["", ""]
    if not record.changed:
        macs[1] = times[1] = ""
    return record.path, record.was, record.became, *macs, *times, record.reason


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    *columns, reason = cells
    justified = (
        text.ljust(width) if index < TEXTS else text.rjust(width)
        for index, (text, width) in enumerate(zip(columns, widths, strict=False))
    )
    return "  ".join([*justified, reason]).rstrip()


def _grouped(records: Iterable[Record]) -> list[str]:
    """Return a paragraph for each reason to keep sites that were not timed."""
    paths: dict[tuple[str, str], list[str]] = {}
    for record in records:
        paths.setdefault((record.was, record.reason), []).append(record.path)
    return [
        line
        for (was, reason), group in paths.items()
        for line in textwrap.wrap(
            f"kept {was}, {reason}: {', '.join(group)}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
