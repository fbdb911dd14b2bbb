"""Site by site: time the forms, prove the one chosen, put it in; then prove and time the whole model."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, Protocol, TypeVar

from subpixel.files import replacing
from subpixel.measure.race import Run, gain, race
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Pad,
    Pointwise,
    ResizeConvolution,
    Shape,
    Shuffle,
    Split,
    UnshuffledConvolution,
    macs,
)
from subpixel.rewriter.report import Record, Report
from subpixel.rewriter.sites import Site

Change = Literal["faster", "all"]
KEPT = "kept"
REWRITTEN = "rewritten"
ORIGINAL = "original"  # where only the memory format changes
IN_LR_SPACE = (Convolution, ResizeConvolution, Split, UnshuffledConvolution, Shuffle, Pad, Pointwise)
WORTH = 1.03  # times faster; what gains less stays as it is
EXACT = 1e-10  # largest difference in float64, relative to the largest output

Progress = Callable[[int, int, str], object]
ModelT = TypeVar("ModelT")
Times = dict[str, list[float]]  # seconds by the name of a run, round by round
Choices = Mapping[Site[Any], str]  # the form by site; a site that is missing is kept


class MismatchError(RuntimeError):
    """A rewritten site or model does not compute what the original did."""


class Target(Protocol[ModelT]):
    """A model with its example inputs, in the runtime that is to be timed.

    Attributes:
        runtime: what it is, with its version, threads and processor.
        bound: largest difference in the model's own precision, relative to the largest output.
        notes: for the report.
    """

    runtime: str
    bound: float
    notes: tuple[str, ...]

    def sites(self) -> list[Site[Any]]:
        """All up-samplers of the model."""

    def shape(self, site: Site[Any]) -> Shape:
        """The shape of the site's input in the example."""

    def key(self, site: Site[Any]) -> str:
        """Everything that a site's times depend on, as text."""

    def names(self, site: Site[Any]) -> list[str]:
        """The forms that can be put in; a name may say a memory format behind that of the form."""

    def runs(self, site: Site[Any]) -> dict[str, Run]:
        """What to time by name of the form: the original, named "kept", first."""

    def difference(self, site: Site[Any], form: str) -> float:
        """The largest of a form in float64 at several sizes, relative to the largest output."""

    def rewritten(self, choices: Choices) -> ModelT:
        """The model with these forms put in."""

    def differences(self, model: ModelT, choices: Choices) -> tuple[float | None, float]:
        """The largest of the whole model in float64, where that can be had, and in its own precision."""

    def whole(self, model: ModelT | None) -> Run:
        """The whole model on the example inputs; None is the original."""


@dataclass
class Cache:
    """Decisions by the key of a site; kept in a JSON file where a path is given.

    Raises:
        ValueError: the file is not one of these.
    """

    path: Path | None = None
    forms: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            self.forms = json.loads(self.path.read_text())
            valid = isinstance(self.forms, dict) and all(
                isinstance(form, str) for form in self.forms.values()
            )
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"the cache must be a JSON file of decisions; got {self.path}. Delete it.")

    def save(self) -> None:
        """Write the file, if there is to be one."""
        if self.path is not None:
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(self.forms, indent=1, sort_keys=True))


@dataclass(frozen=True)
class Settings:
    """How to decide.

    Attributes:
        change: "faster" changes what is measured to be faster, "all" every site that has an exact LR form.
        seconds: for the timing of a site, at most.
        seed: of random inputs and of the order of timing.
        progress: told how many of how many timings are done, and what is timed next.
    """

    change: Change = "faster"
    seconds: float = 2.0
    seed: int = 0
    progress: Progress = lambda _done, _count, _name: None

    def __post_init__(self) -> None:
        if self.change not in ("faster", "all"):
            raise ValueError(f'change must be "faster" or "all"; got {self.change!r}.')


def decide(target: Target[ModelT], settings: Settings, cache: Cache) -> tuple[ModelT | None, Report]:
    """Rewrite a model.

    Returns:
        The model, or None where nothing changes; and the report.

    Raises:
        MismatchError: a form or the whole differs from the original; the message names the site.
    """
    records: dict[Site[Any], Record] = {}
    sites = target.sites()
    for done, site in enumerate(sites):
        settings.progress(done, len(sites) + 1, site.path)
        records[site] = _record(target, site, settings, cache)
    settings.progress(len(sites), len(sites) + 1, "the whole model")
    cache.save()
    choices = {site: record.became for site, record in records.items() if record.changed}
    for site, form in choices.items():
        if not (error := target.difference(site, form)) <= EXACT:  # so that NaN is an error too
            raise MismatchError(
                f"{site.path} must not change; as {form} it differs by {error:.1e} in float64."
            )
    if not choices:
        return None, Report(target.runtime, tuple(records.values()), None, (None, None), target.notes)
    model = target.rewritten(choices)
    errors = target.differences(model, choices)
    _require_equal(target, choices, errors)
    key = " and ".join(sorted(f"{_key(target, site, settings)} as {form}" for site, form in choices.items()))
    times: Times = {}
    if key not in cache.forms:
        times = _race_whole(target, model, settings)
        slower = settings.change == "faster" and gain(times[KEPT], times[REWRITTEN]) < 1
        cache.forms[key] = KEPT if slower else REWRITTEN
        cache.save()
    if cache.forms[key] == KEPT:
        return None, _unchanged(target, records, times)
    milliseconds = _milliseconds(times, REWRITTEN) if times else None
    return model, Report(target.runtime, tuple(records.values()), milliseconds, errors, target.notes)


def _key(target: Target[Any], site: Site[Any], settings: Settings) -> str:
    return f"{settings.change} {target.runtime} {target.key(site)}"


def _race_whole(target: Target[ModelT], model: ModelT, settings: Settings) -> Times:
    """The times of the whole model; where it seems slower it is timed again, for one disturbance would do."""
    runs = {KEPT: target.whole(None), REWRITTEN: target.whole(model)}
    times = race(runs, 4 * settings.seconds, settings.seed)
    if gain(times[KEPT], times[REWRITTEN]) >= 1:
        return times
    again = race(runs, 8 * settings.seconds, settings.seed)
    return {name: taken + again[name] for name, taken in times.items()}


def _record(target: Target[Any], site: Site[Any], settings: Settings, cache: Cache) -> Record:
    if site.reason is not None:
        return Record(site.path, site.was, KEPT, site.reason)
    allowed = _allowed(target, site, settings.change)
    if not allowed:
        return Record(site.path, site.was, KEPT, "it is in LR space already")
    key = _key(target, site, settings)
    times: Times = {}
    if cache.forms.get(key) not in {KEPT, *allowed}:
        runs = {name: run for name, run in target.runs(site).items() if name in {KEPT, *allowed}}
        if len(runs) == 1:
            return Record(site.path, site.was, KEPT, "the runtime refuses its other forms")
        times = race(runs, settings.seconds, settings.seed)
        cache.forms[key] = _choice(times, settings.change)
    return _described(site, cache.forms[key], target.shape(site), times)


def _allowed(target: Target[Any], site: Site[Any], change: Change) -> list[str]:
    """The names to choose from: all, or those in LR space if the site is not there yet."""
    if change == "faster":
        return target.names(site)
    if _in_lr_space(site.chain):
        return []
    return [name for name in target.names(site) if _in_lr_space(site.forms.get(base(name), site.chain))]


def _in_lr_space(chain: Chain) -> bool:
    return all(isinstance(layer, IN_LR_SPACE) for layer in chain)


def base(name: str) -> str:
    """The form in the name of a run, which may also say a memory format."""
    return name.partition(",")[0]


def _choice(times: Times, change: Change) -> str:
    others = {name: taken for name, taken in times.items() if name != KEPT}
    best = min(others, key=lambda name: median(others[name]))
    return best if change == "all" or gain(times[KEPT], times[best]) >= WORTH else KEPT


def _described(site: Site[Any], choice: str, shape: Shape, times: Times) -> Record:
    chain = site.forms.get(base(choice), site.chain)
    counts = macs(site.chain, shape), macs(chain, shape)
    if not times:
        return Record(site.path, site.was, choice, "as decided before", counts)
    best = choice if choice != KEPT else min((n for n in times if n != KEPT), key=lambda n: median(times[n]))
    factor = gain(times[KEPT], times[best])
    reason = f"{factor:.2f} times as fast"
    if choice == KEPT:
        reason = f"{best} is {reason}"
    return Record(site.path, site.was, choice, reason, counts, _milliseconds(times, choice))


def _milliseconds(times: Times, name: str) -> tuple[float, float]:
    return median(times[KEPT]) * 1e3, median(times[name]) * 1e3


def _unchanged(target: Target[Any], records: Mapping[Site[Any], Record], times: Times) -> Report:
    """All kept: the gains of the sites by themselves are lost in the whole."""
    reason = "the whole model is not faster with it"
    if times:
        reason = f"the whole model would be {gain(times[KEPT], times[REWRITTEN]):.3f} times as fast"
    kept = tuple(
        Record(r.path, r.was, KEPT, reason, r.macs, r.milliseconds) if r.changed else r
        for r in records.values()
    )
    return Report(target.runtime, kept, None, (None, None), target.notes)


def _require_equal(target: Target[ModelT], choices: Choices, errors: tuple[float | None, float]) -> None:
    if _equal(target, errors):
        return
    for site, form in choices.items():
        alone = {site: form}
        if not _equal(target, found := target.differences(target.rewritten(alone), alone)):
            raise MismatchError(f"{site.path} must not change; as {form} the model differs by {found}.")
    paths = ", ".join(site.path for site in choices)
    raise MismatchError(
        f"the rewritten model must equal the original; with {paths} changed it differs by {errors}."
    )


def _equal(target: Target[Any], errors: tuple[float | None, float]) -> bool:
    exact, own = errors
    return (exact is None or exact <= EXACT) and own <= target.bound
