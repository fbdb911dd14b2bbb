"""What a rewrite found, decided and gained: for a terminal and for machines."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Record:
    """What became of one site.

    Attributes:
        path: where it is.
        was: what it was, by the rule's name.
        became: the form chosen, or "kept".
        reason: why it was kept, or by which factor the site is faster.
        macs: multiply-accumulates (before, after) at the example's shapes, where they are known.
        milliseconds: medians (before, after) of the site by itself, where it was timed.
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
        sites: a record each, in the order of the network.
        milliseconds: medians (before, after) of the whole model; None where nothing was changed, or where
            that was decided before.
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
        """Whether any site was."""
        return any(record.changed for record in self.sites)

    def json(self) -> str:
        """The same for machines."""
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        header = ("site", "was", "became", "MMACs", "", "ms", "", "")
        rows = [header, *map(_cells, self.sites)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [self.runtime, *(_line(row, widths) for row in rows)]
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


def _cells(record: Record) -> tuple[str, ...]:
    macs = [f"{count / 1e6:,.1f}" for count in record.macs or ()] or ["", ""]
    times = [f"{time:,.2f}" for time in record.milliseconds or ()] or ["", ""]
    return record.path, record.was, record.became, *macs, *times, record.reason


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    *texts, reason = cells
    justified = (
        text.ljust(width) if index < 3 else text.rjust(width)
        for index, (text, width) in enumerate(zip(texts, widths, strict=False))
    )
    return "  ".join([*justified, reason]).rstrip()
