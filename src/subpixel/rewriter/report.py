"""What a rewrite found, decided and gained: for a terminal and for machines."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

WIDTH = 80  # columns of the usual terminal


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
    """A rewrite, site by site and as a whole; `print` shows it to people.

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
        timed = [record for record in self.sites if record.macs is not None]
        others = [record for record in self.sites if record.macs is None]
        lines = [self.runtime, *(line for record in timed for line in _described(record)), *_grouped(others)]
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
        return "\n".join([*lines, *(line for note in self.notes for line in _wrapped(note))])


def _described(record: Record) -> list[str]:
    """Return what became of a site that may change, and below it the numbers."""
    numbers = [_before_and_after(record, record.macs, "million multiply-accumulates", 1e6)]
    if record.milliseconds is not None:
        numbers.insert(0, _before_and_after(record, record.milliseconds, "ms"))
    return [*_wrapped(str(record)), f"  {'; '.join(numbers)}"]


def _before_and_after(record: Record, numbers: Sequence[float] | None, unit: str, scale: float = 1) -> str:
    assert numbers is not None
    before, after = (f"{number / scale:,.{1 if scale > 1 else 2}f}" for number in numbers)
    return f"{before} {unit}, now {after}" if record.changed else f"{before} {unit}"


def _grouped(records: Iterable[Record]) -> list[str]:
    """Return a paragraph for each reason to keep sites that were not timed."""
    paths: dict[tuple[str, str], list[str]] = {}
    for record in records:
        paths.setdefault((record.was, record.reason), []).append(record.path)
    texts = (f"kept {was}, {reason}: {', '.join(group)}" for (was, reason), group in paths.items())
    return [line for text in texts for line in _wrapped(text)]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
