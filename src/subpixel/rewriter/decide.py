"""Site by site: time the forms and prove the one chosen; then prove and time the whole model."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Literal, get_args

from subpixel.measure.race import gain, least_gain, race
from subpixel.rewriter.cache import Cache
from subpixel.rewriter.forms import KEPT, Choice, in_lr_space
from subpixel.rewriter.layers import macs
from subpixel.rewriter.report import Record, Report
from subpixel.rewriter.sites import Site
from subpixel.rewriter.target import Choices, Differences, ModelT, Target, chosen_chain

Change = Literal["faster", "all"]
WORTH = 1.03  # times faster; a form that gains less does not pay for another layer to maintain
EXACT = 1e-10  # largest difference in float64, relative to the largest output
WHOLE = 8  # times as long as a site the whole model is timed: its gain is smaller, and one decision

Progress = Callable[[int, int, str], object]
Times = Mapping[Choice, Sequence[float]]  # seconds, round by round


class MismatchError(RuntimeError):
    """Nothing can be proven: the model does not even equal itself."""


@dataclass(frozen=True)
class Settings:
    """How to decide.

    Attributes:
        change: "faster" changes what is measured to be faster, "all" every site that has an exact LR form.
        seconds: time to spend on timing each site; on the whole model, `WHOLE` times as much.
        seed: of random inputs and of the order of timing.
        progress: called with how many of how many steps are done, and the name of the next one.

    Raises:
        ValueError: one of them has no such value.
    """

    change: Change = "faster"
    seconds: float = 2.0
    seed: int = 0
    progress: Progress = lambda _done, _count, _name: None

    def __post_init__(self) -> None:
        if self.change not in get_args(Change):
            raise ValueError(f'change must be "faster" or "all"; got {self.change!r}.')
        if not isinstance(self.seconds, int | float) or not (0 <= self.seconds < math.inf):
            raise ValueError(f"seconds must be a finite number, 0 or more; got {self.seconds!r}.")
        if not isinstance(self.seed, int) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be an integer from 0 to 2**63 - 1; got {self.seed!r}.")


def decide(target: Target[ModelT], settings: Settings, cache: Cache) -> tuple[ModelT | None, Report]:
    """Rewrite a model.

    Returns:
        The model, or None where nothing changes; and the report.

    Raises:
        MismatchError: the model does not equal itself.
    """
    records: dict[Site[Any], Record] = {}
    choices: dict[Site[Any], Choice] = {}
    sites = target.sites()
    for done, site in enumerate(sites):
        settings.progress(done, len(sites) + 1, site.path)
        choices[site], records[site] = _decided(target, site, settings, cache)
    settings.progress(len(sites), len(sites) + 1, "the whole model")
    cache.save()
    choices = {site: choice for site, choice in choices.items() if choice != KEPT}
    proven = _proven(target, choices)
    model, differences, doubts = proven
    records.update({site: _kept(records[site], reason) for site, reason in doubts.items()})
    report = Report(target.runtime, tuple(records.values()), None, (None, None), target.notes)
    if model is None:
        return None, report
    changed = {site: choice for site, choice in choices.items() if site not in doubts}
    errors, notes = differences[:2], (*target.notes, *differences.notes)
    milliseconds, reason = None, None
    if settings.change == "faster":  # otherwise the time of the whole decides nothing
        milliseconds, reason = _whole(target, model, changed, settings, cache)
    if reason is not None:
        records.update({site: _kept(records[site], reason) for site in changed})
        return None, replace(report, sites=tuple(records.values()))
    return model, replace(report, milliseconds=milliseconds, error=errors, notes=notes)


def _decided(target: Target[Any], site: Site[Any], settings: Settings, cache: Cache) -> tuple[Choice, Record]:
    """Choose what a site becomes, by timing unless that was decided before."""
    record = Record(site.path, site.was, str(KEPT), site.reason or "")
    if site.reason is not None:
        return KEPT, record
    allowed = _allowed(target, site, settings.change)
    if not allowed:
        return KEPT, replace(record, reason="it has neither a transposed convolution nor a resize")
    by_name = {str(choice): choice for choice in (KEPT, *allowed)}
    key, times = _key(target, site, settings), {}
    if cache.sites.get(key) not in by_name:
        runs = target.runs(site, allowed)
        if len(runs) == 1:
            return KEPT, replace(record, reason="the runtime refuses its other forms")
        times = race(runs, settings.seconds, settings.seed)
        cache.sites[key] = str(_choice(times, settings.change))
    choice = by_name[cache.sites[key]]
    return choice, _described(record, site, choice, target, times)


def _key(target: Target[Any], site: Site[Any], settings: Settings) -> str:
    """Return all that a decision depends on; with more seconds, one that was left open is made anew."""
    return f"{settings.change} in {settings.seconds:g} s: {target.runtime} {target.key(site)}"


def _allowed(target: Target[Any], site: Site[Any], change: Change) -> list[Choice]:
    """Return the choices for a site: all, or those in LR space if the site is not there yet."""
    choices = target.choices(site)
    if change == "faster":
        return choices
    if in_lr_space(site.chain):
        return []
    forms = site.forms()
    return [choice for choice in choices if in_lr_space(forms.get(choice.form, site.chain))]


def _choice(times: Times, change: Change) -> Choice:
    best = _fastest(times)
    faster = gain(times[KEPT], times[best]) >= WORTH and least_gain(times[KEPT], times[best]) > 1
    return best if change == "all" or faster else KEPT


def _fastest(times: Times) -> Choice:
    """Return the fastest form of those that were timed to the end, if any was."""
    forms = [choice for choice in times if choice != KEPT]
    finished = [choice for choice in forms if len(times[choice]) == len(times[KEPT])]
    return min(finished or forms, key=lambda choice: median(times[choice]))


def _described(record: Record, site: Site[Any], choice: Choice, target: Target[Any], times: Times) -> Record:
    """Return the record with what was chosen, and why."""
    chain, shape = chosen_chain(site, choice), target.shape(site)
    record = replace(record, became=str(choice), macs=(macs(site.chain, shape), macs(chain, shape)))
    if not times:
        return replace(record, reason="as decided before")
    best = _fastest(times) if choice == KEPT else choice
    reason = f"{gain(times[KEPT], times[best]):.2f} times as fast"
    if choice == KEPT:
        reason = f"{best} is {reason}{_obstacle(times[KEPT], times[best], WORTH)}"
    return replace(record, reason=reason, milliseconds=_milliseconds(times[KEPT], times[choice]))


def _obstacle(before: Sequence[float], after: Sequence[float], worth: float) -> str:
    """Return what stands against a change that seems to be faster, to follow its gain in a reason."""
    if gain(before, after) <= 1:
        return ""
    if gain(before, after) < worth:
        return f", and a change must gain {worth - 1:.0%}"
    return f", but {min(len(before), len(after))} rounds cannot tell this from chance: allow more seconds"


def _milliseconds(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """Return the median before, and what the gain leaves of it: one statistic is decided on and shown."""
    milliseconds = median(before) * 1e3
    return milliseconds, milliseconds / gain(before, after)


def _kept(record: Record, reason: str) -> Record:
    """Return the record of a site that was to change, and does not."""
    return replace(record, became=str(KEPT), reason=reason)


def _proven(
    target: Target[ModelT], choices: Choices
) -> tuple[ModelT | None, Differences, dict[Site[Any], str]]:
    """Put the choices into the model as far as they are proven.

    Returns:
        The model, or None where nothing changes; its differences; the reasons to keep other sites.
    """
    doubts = {site: doubt for site, choice in choices.items() if (doubt := _doubt(target, site, choice))}
    while choices := {site: choice for site, choice in choices.items() if site not in doubts}:
        model = target.rewritten(choices)
        differences = target.differences(model, choices)
        if _equal(target, differences):
            return model, differences, doubts
        del model  # frees its weights for the models to come
        doubts |= _doubts_in_the_model(target, choices, differences)
    return None, Differences(None, 0.0), doubts


def _doubt(target: Target[Any], site: Site[Any], choice: Choice) -> str | None:
    """Return why a site by itself cannot be proven, or None."""
    error = target.difference(site, choice)
    if error is None:
        return "it takes too few sizes of input for a proof"
    return None if error <= EXACT else f"as {choice} it differs by {error:.1e} in float64"


def _doubts_in_the_model(
    target: Target[Any], choices: Choices, differences: Differences
) -> dict[Site[Any], str]:
    """Return at least one reason to keep a site of a model that differs.

    Raises:
        MismatchError: the model differs although no site is changed.
    """
    doubts = {}
    several = len(choices) > 1  # a single one was in the model that differs
    for site, choice in choices.items() if several else ():
        alone = {site: choice}
        found = target.differences(target.rewritten(alone), alone)
        if not _equal(target, found):
            doubts[site] = f"as {choice} the model differs by {_largest(found)}"
    if doubts:
        return doubts
    unchanged = target.differences(target.rewritten({}), {})
    if not _equal(target, unchanged):
        raise MismatchError(
            "a model must give the same result twice for the same input and seed; "
            f"got results that differ by {_largest(unchanged)}. Rewrite the part of it that does."
        )
    names = ", ".join(f"{site.path} as {choice}" for site, choice in choices.items())
    return dict.fromkeys(choices, f"with {names} the model differs by {_largest(differences)}")


def _equal(target: Target[Any], differences: Differences) -> bool:
    exact, own, _, allowed = differences
    return (exact is None or exact <= EXACT) and own <= max(
        target.bound, allowed
    )  # so written, NaN is not equal


def _largest(differences: Differences) -> str:
    exact, own, *_ = differences
    in_float64 = "" if exact is None else f"{exact:.1e} in float64 and "
    return f"{in_float64}{own:.1e} in its own precision"


def _whole(
    target: Target[ModelT], model: ModelT, choices: Choices, settings: Settings, cache: Cache
) -> tuple[tuple[float, float] | None, str | None]:
    """Time the whole model, unless that was decided before.

    Returns:
        Milliseconds before and after, where it was timed; the reason to keep all sites, or None.
    """
    key = json.dumps(sorted([_key(target, site, settings), str(choice)] for site, choice in choices.items()))
    if key in cache.models:
        return None, None if cache.models[
            key
        ] else "since the rewritten model was not faster when it was timed before"
    runs = {"before": target.whole(None), "after": target.whole(model)}
    before, after = race(runs, WHOLE * settings.seconds, settings.seed, always=list(runs)).values()
    cache.models[key] = least_gain(before, after) > 1
    cache.save()
    if cache.models[key]:
        return _milliseconds(before, after), None
    reason = f"since the rewritten model would be {gain(before, after):.3f} times as fast"
    return None, reason + _obstacle(before, after, worth=1)
