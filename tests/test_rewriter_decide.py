"""Decisions on a model of chains, whose runs say themselves how long they took."""

import json
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rewriting import Pointwise, corrupted, noise
from test_rewriter_sites import RESIZE, UP, convolution, row

from subpixel.measure.race import ROUNDS, gain
from subpixel.rewriter import MismatchError, Record, Report, decide, reference
from subpixel.rewriter.cache import Cache
from subpixel.rewriter.decide import EXACT, WORTH, Settings
from subpixel.rewriter.forms import KEPT, Choice
from subpixel.rewriter.layers import Chain, Shape, Transposed
from subpixel.rewriter.rules import transposed
from subpixel.rewriter.sites import Site, find
from subpixel.rewriter.target import Choices, Differences

Run = Callable[[], float]
Model = dict[str, Chain]


class Chains:
    """A target: one transposed convolution after the other.

    A run takes a second except where seconds are given, and 0.9 of the whole once it is changed.

    Args:
        seconds: by path and form, "model.b" and "compact"; by "whole" and "before" or "after" too.
        wrong: a form that is computed wrongly at one site, and whether by itself or in the model alone.
        sites: to decide about.
    """

    runtime, bound, notes = "a test", 1e-4, ("a note",)

    def __init__(
        self,
        seconds: Mapping[tuple[str, str], float] | None = None,
        wrong: tuple[str, str, str] | None = None,
        sites: list[Site[str]] | None = None,
    ) -> None:
        self.seconds, self.wrong, self.timed = dict(seconds or {}), wrong, 0
        self.found = find(row(UP, Pointwise(torch.tanh), UP)) if sites is None else sites

    def sites(self) -> list[Site[Any]]:
        return self.found

    def shape(self, site: Site[Any]) -> Shape:  # noqa: ARG002
        return (1, 8, 4, 4)

    def key(self, site: Site[Any]) -> str:
        return site.path

    def choices(self, site: Site[Any]) -> list[Choice]:
        return list(map(Choice, site.names))

    def runs(self, site: Site[Any], choices: Sequence[Choice]) -> dict[Choice, Run]:
        return {choice: self._run(site.path, choice.form) for choice in (KEPT, *choices)}

    def difference(self, site: Site[Any], choice: Choice) -> float | None:
        return self._difference((site.chain,), (self._form(site, choice.form, "alone"),))

    def rewritten(self, choices: Choices) -> Model:
        return {site.path: self._form(site, choice.form, "in the model") for site, choice in choices.items()}

    def differences(self, model: Model, choices: Choices) -> Differences:  # noqa: ARG002
        original = [site.chain for site in self.found]
        changed = [model.get(site.path, site.chain) for site in self.found]
        return Differences(None, self._difference(original, changed))

    def whole(self, model: Model | None) -> Run:
        return self._run("whole", "before" if model is None else "after")

    def _run(self, path: str, form: str) -> Run:
        def run() -> float:
            self.timed += 1
            return self.seconds.get((path, form), 0.9 if form == "after" else 1.0)

        return run

    def _form(self, site: Site[Any], form: str, where: str) -> Chain:
        if self.wrong == (site.path, form, where):
            return corrupted(site.forms()[form], "a tap off by one") or ()
        return site.forms()[form]

    def _difference(self, original: Any, changed: Any) -> float:
        x = noise((1, 8, 4, 4))
        expected, found = (reference.compute(sum(chains, start=()), x) for chains in (original, changed))
        return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(autouse=True)
def _clockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run gives is the time that it takes."""

    def race(runs: Mapping[str, Run], _seconds: float, _seed: int, **_: Any) -> dict[str, list[float]]:
        return {name: [run()] * ROUNDS for name, run in runs.items()}

    monkeypatch.setattr(decide, "race", race)


TWICE = "2.00 times as fast"
REASON = "aligned is 1.00 times as fast"
STRIDED = "the convolution after the resize has stride (2, 2)"
A, C = "model.a", "model.c"
FASTER = {(A, "compact"): 0.5, ("whole", "after"): 0.8}


def decided(target: Chains, change: Any = "faster", cache: Cache | None = None) -> tuple[Any, Report]:
    return decide.decide(target, Settings(change), cache or Cache())


@pytest.mark.parametrize(
    ("seconds", "became"),
    [(1 / (WORTH + 1e-9), "split"), (1 / (WORTH - 1e-9), "kept"), (1.0, "kept"), (2.0, "kept")],
)
def test_a_form_must_be_three_percent_faster(seconds: float, became: str) -> None:
    times = {(C, form): seconds + 0.1 for form in ("aligned", "compact")} | {(C, "split"): seconds}
    model, report = decided(Chains(times))
    assert WORTH == 1.03
    assert [record.became for record in report.sites] == ["kept", became]
    assert (model is None) == (became == "kept")
    assert report.changed == (became != "kept")


def test_the_fastest_form_is_chosen_by_site() -> None:
    times = {(A, "compact"): 0.8, (A, "split"): 0.7, (C, "aligned"): 0.5}
    model, report = decided(Chains(times))
    first, second = find(row(UP, None, UP))
    assert [record.became for record in report.sites] == ["split", "aligned"]
    assert [record.milliseconds for record in report.sites] == [(1000, 700), (1000, 500)]
    assert [record.reason for record in report.sites] == ["1.43 times as fast", "2.00 times as fast"]
    assert list(map(type, model[A])) == list(map(type, first.forms()["split"]))
    assert list(map(type, model[C])) == list(map(type, second.forms()["aligned"]))
    # k = 4, r = 2: 16 a pixel and pair of channels; the aligned form multiplies 36.
    assert [record.macs for record in report.sites] == [(16**2 * 64,) * 2, (16**2 * 64, 36 * 16 * 64)]


def test_all_sites_change_if_asked_even_where_slower() -> None:
    slow = {(path, form): 9.0 for path in (A, C) for form in ("aligned", "split")}
    slow |= {(A, "compact"): 2.0, (C, "compact"): 3.0, ("whole", "after"): 4.0}
    target = Chains(slow)
    model, report = decided(target, "all")
    assert [record.became for record in report.sites] == ["compact", "compact"]
    assert {*model} == {A, C}
    assert report.milliseconds is None  # nothing hangs on the time of the whole
    assert target.timed == 2 * 4  # the original and three forms at each site


def test_asked_for_all_only_lr_forms_count() -> None:
    """A fused resize has the form of a transposed convolution too, which such machines do not have."""
    sites = find(row(RESIZE, convolution()))
    fast = {("model.b", "transposed"): 0.1, ("model.b", "compact"): 0.9}
    assert decided(Chains(fast, sites=sites), "all")[1].sites[0].became == "compact"
    assert decided(Chains(fast, sites=sites))[1].sites[0].became == "transposed"


def test_what_is_in_lr_space_stays_if_all_are_asked_for() -> None:
    """A strided convolution, for example a patch embedding, up-samples nothing."""
    (record,) = decided(Chains(sites=find(row(convolution(stride=2, channels=3)))), "all")[1].sites
    assert (record.became, record.reason) == ("kept", "it has neither a transposed convolution nor a resize")


def test_a_declined_site_is_not_timed() -> None:
    target = Chains(sites=find(row(RESIZE, convolution(stride=2))))
    (record,) = decided(target)[1].sites
    assert (record.became, record.reason) == ("kept", STRIDED)
    assert target.timed == 0


def test_the_same_decisions_from_a_cache(tmp_path: Path) -> None:
    """They are not timed again, and another machine's or another `change` are others."""
    path = tmp_path / "decisions.json"
    _, first = decided(Chains(FASTER), cache=Cache(path))
    again = Chains({(A, "compact"): 9.0, (C, "compact"): 0.1, ("whole", "after"): 0.5})
    _, second = decided(again, cache=Cache(path))
    assert [record.became for record in second.sites] == [record.became for record in first.sites]
    assert [record.reason for record in second.sites] == ["as decided before"] * 2
    assert again.timed == 0
    assert second.milliseconds is None
    assert [record.macs for record in second.sites] == [record.macs for record in first.sites]
    assert [record.became for record in decided(again, "all", Cache(path))[1].sites] == ["aligned", "compact"]
    again.runtime = "another"
    assert [record.became for record in decided(again, cache=Cache(path))[1].sites] == ["kept", "compact"]


def test_that_the_whole_is_slower_is_cached_too(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    decided(Chains(FASTER | {("whole", "after"): 1.01}), cache=Cache(path))
    again = Chains(FASTER)
    model, report = decided(again, cache=Cache(path))
    assert (model, again.timed) == (None, 0)
    assert report.sites[0].reason == "since the rewritten model was not faster when it was timed before"


def test_without_a_path_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    decided(Chains(FASTER))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', "null", b"\xff\xfe\x00"])
def test_another_file_is_no_cache(content: str | bytes, tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ValueError, match=r"the cache must be a JSON file of decisions; got .*\.json"):
        Cache(path)


def test_a_decision_that_the_site_does_not_have_is_made_anew(tmp_path: Path) -> None:
    """As another version may have left it in a cache."""
    path = tmp_path / "decisions.json"
    decided(Chains(FASTER), cache=Cache(path))
    path.write_text(path.read_text().replace('"compact"', '"unheard-of"'))
    _, report = decided(Chains(FASTER), cache=Cache(path))
    assert [record.became for record in report.sites] == ["compact", "kept"]
    assert "unheard-of" not in path.read_text()


@pytest.mark.parametrize(
    ("where", "reason"),
    [("alone", "as compact it differs by "), ("in the model", "as compact the model differs by ")],
)
def test_a_wrong_form_keeps_its_site_alone(where: str, reason: str) -> None:
    """A doubt is a reason to keep a site; what is proven changes."""
    times = {(A, "compact"): 0.5, (C, "split"): 0.5, ("whole", "after"): 0.8}
    assert all(record.changed for record in decided(Chains(times))[1].sites)
    model, report = decided(Chains(times, wrong=(A, "compact", where)))
    assert {*model} == {C}
    assert [record.became for record in report.sites] == ["kept", "split"]
    assert report.sites[0].reason.startswith(reason)
    assert all(record.changed for record in decided(Chains(times, wrong=(C, "compact", where)))[1].sites)


@pytest.mark.parametrize(
    ("error", "reason"),
    [(float("nan"), "as compact it differs by nan"), (None, "it takes too few sizes of input for a proof")],
)
def test_what_cannot_be_proven_is_kept(
    error: float | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Chains, "difference", lambda *_: error)
    model, report = decided(Chains(FASTER))
    assert model is None
    assert report.sites[0].reason.startswith(reason)


@pytest.mark.parametrize(
    "errors", [Differences(2 * EXACT, 0.0), Differences(None, 2e-4), Differences(0.0, float("nan"))]
)
def test_sites_that_are_wrong_only_together_are_kept(
    errors: Differences, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = {(A, "compact"): 0.5, (C, "compact"): 0.5}
    right = Differences(0.0, 0.0)
    monkeypatch.setattr(Chains, "differences", lambda *given: errors if len(given[-1]) > 1 else right)
    model, report = decided(Chains(together))
    assert model is None
    (reason,) = {record.reason for record in report.sites}
    assert reason.startswith("with model.a as compact, model.c as compact the model differs by ")


def test_a_model_that_differs_from_itself_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be proven of it."""
    monkeypatch.setattr(Chains, "differences", lambda *_: Differences(None, 1.0))
    with pytest.raises(MismatchError, match=r"must give the same result twice .* differ by 1\.0e\+00"):
        decided(Chains(FASTER))


def test_a_slower_whole_keeps_every_site() -> None:
    """What sites gain by themselves may be lost between them."""
    model, report = decided(Chains(FASTER | {("whole", "after"): 1.01}))
    assert model is None
    assert not report.changed
    assert report.sites[0].reason == "since the rewritten model would be 0.990 times as fast"
    assert report.sites[0].milliseconds == (1000, 500)
    assert report.sites[1].reason == REASON
    assert report.milliseconds is None


def test_a_gain_that_may_be_chance_keeps_every_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two rounds of seven are slower, five faster ones prove nothing."""

    def race(runs: Mapping[Any, Run], _seconds: float, _seed: int, **_: Any) -> dict[Any, list[float]]:
        times = {name: [run()] * ROUNDS for name, run in runs.items()}
        for name in times.keys() & {"after"}:
            times[name][2] = times[name][3] = 1.01
        return times

    monkeypatch.setattr(decide, "race", race)
    model, report = decided(Chains(FASTER))
    assert model is None
    assert report.sites[0].reason == (
        "since the rewritten model would be 1.250 times as fast, "
        "but 7 rounds cannot tell this from chance: allow more seconds"
    )


@pytest.mark.parametrize(
    ("gains", "reason"),
    [
        ([0.8] * 7, "compact is 0.80 times as fast"),
        ([1.02] * 7, "compact is 1.02 times as fast, and a change must gain 3%"),
        (
            [1.5] * 5 + [0.99] * 2,
            "compact is 1.50 times as fast, but 7 rounds cannot tell this from chance: allow more seconds",
        ),
    ],
)
def test_what_keeps_a_site_is_said(
    monkeypatch: pytest.MonkeyPatch, gains: Sequence[float], reason: str
) -> None:
    """Also where a form seems to be faster, which more seconds might prove."""

    def race(runs: Mapping[Any, Run], _seconds: float, _seed: int, **_: Any) -> dict[Any, list[float]]:
        times: dict[Any, list[float]] = {name: [9.0] * ROUNDS for name in runs}
        return times | {KEPT: [1.0] * ROUNDS, Choice("compact"): [1 / gain for gain in gains]}

    monkeypatch.setattr(decide, "race", race)
    model, report = decided(Chains())
    assert model is None
    assert {record.reason for record in report.sites} == {reason}


def test_a_form_that_was_not_timed_to_the_end_is_not_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the machine was quick one round may have been quicker than all that others had later."""

    def race(runs: Mapping[Any, Run], _seconds: float, _seed: int, **_: Any) -> dict[Any, list[float]]:
        if "after" in runs:
            return {"before": [1.0] * ROUNDS, "after": [0.5] * ROUNDS}
        times: dict[Any, list[float]] = {name: [0.3] for name in runs}
        return times | {KEPT: [1.0] * ROUNDS, Choice("compact"): [0.4] * ROUNDS}

    monkeypatch.setattr(decide, "race", race)
    report = decided(Chains())[1]
    assert {record.became for record in report.sites} == {"compact"}


def test_more_seconds_decide_anew() -> None:
    """What is in the cache was decided in fewer seconds, and may have been left open."""
    cache = Cache()
    for seconds, timed in ((1, True), (1, False), (2, True)):
        target = Chains(FASTER)
        decide.decide(target, Settings(seconds=seconds), cache)
        assert (target.timed > 0) == timed


def test_what_is_shown_is_what_was_decided_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """The median of the ratios, also where that of the times says the opposite."""
    before, after = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0], [0.9, 1.9, 2.9, 5.0, 4.9, 5.9, 8.9]

    def race(runs: Mapping[Any, Run], _seconds: float, _seed: int, **_: Any) -> dict[Any, list[float]]:
        if "after" in runs:
            return {"before": before * 4, "after": after * 4}
        return {name: [run()] * ROUNDS for name, run in runs.items()}

    monkeypatch.setattr(decide, "race", race)
    report = decided(Chains(FASTER))[1]
    assert report.milliseconds is not None
    shown_before, shown_after = report.milliseconds
    assert gain(before, after) == pytest.approx(shown_before / shown_after)
    assert "1.02 times as fast" in str(report).splitlines()[5]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"change": "some"}, 'change must be "faster" or "all"; got \'some\'.'),
        ({"seconds": -1}, "seconds must be a finite number, 0 or more; got -1."),
        ({"seconds": float("nan")}, "seconds must be a finite number, 0 or more; got nan."),
        ({"seconds": float("inf")}, "seconds must be a finite number, 0 or more; got inf."),
        ({"seconds": "2"}, "seconds must be a finite number, 0 or more; got '2'."),
        ({"seed": -1}, "seed must be an integer from 0 to 2**63 - 1; got -1."),
        ({"seed": 2**64}, "seed must be an integer from 0 to 2**63 - 1; got 18446744073709551616."),
        ({"seed": 0.5}, "seed must be an integer from 0 to 2**63 - 1; got 0.5."),
    ],
)
def test_settings_name_what_must_hold(options: Any, error: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(error)}$"):
        Settings(**options)


def test_the_report_of_a_change() -> None:
    report = decided(Chains(FASTER))[1]
    assert str(report).splitlines() == [
        "a test",
        f"model.a: transposed convolution became compact, {TWICE}.",
        "  1,000.00 ms, now 500.00; 0.0 million multiply-accumulates, now 0.0",
        f"model.c: kept transposed convolution, {REASON}.",
        "  1,000.00 ms; 0.0 million multiply-accumulates",
        "whole model: 1000.00 ms, now 800.00 ms: 1.25 times as fast",
        f"largest difference in its own precision: {report.error[1]:.1e} of the largest output",
        "a note",
    ]
    assert [str(record) for record in report.sites] == [
        "model.a: transposed convolution became compact, 2.00 times as fast.",
        f"model.c: kept transposed convolution, {REASON}.",
    ]


def test_the_report_of_no_change() -> None:
    report = decided(Chains(sites=find(row(RESIZE, convolution(stride=2)))))[1]
    assert str(report).splitlines() == [
        "a test",
        *textwrap.wrap(f"kept nearest resize + convolution, {STRIDED}: model.b", 80, subsequent_indent="  "),
        "nothing changed",
        "a note",
    ]
    nothing = str(decided(Chains(sites=[]))[1]).splitlines()
    assert nothing[-2] == "nothing changed: no up-sampler was found"


def test_equal_reasons_are_grouped() -> None:
    """One line where many sites are kept for the same reason, and the lines are not endless."""
    records = [Record(f"blocks.{index}.up", "resize", "kept", "it has hooks") for index in range(30)]
    records.insert(3, Record("head", "resize", "kept", "antialiasing"))
    report = Report("a test", tuple(records), None, (None, None))
    lines = str(report).splitlines()
    assert lines[1].startswith("kept resize, it has hooks: blocks.0.up, blocks.1.up, ")
    assert lines[2].startswith("  blocks.")
    assert max(map(len, lines)) <= 80
    assert lines[-2:] == ["kept resize, antialiasing: head", "nothing changed"]
    assert all(f"blocks.{index}.up" in str(report) for index in range(30))


def test_the_report_as_json() -> None:
    report = decided(Chains(FASTER))[1]
    read = json.loads(report.json())
    tuples = (
        {key: tuple(v) if isinstance(v, list) else v for key, v in site.items()} for site in read["sites"]
    )
    sites = [Record(**site) for site in tuples]
    assert tuple(sites) == report.sites
    assert read["runtime"] == "a test"
    assert read["milliseconds"] == [1000, 800]
    assert read["notes"] == ["a note"]


def test_the_rewritten_chain_of_the_tests_is_right() -> None:
    """And the difference that the tests measure finds a form that is not."""
    (site, _), target = find(row(UP, None, UP)), Chains()
    for form in transposed.rewrite((UP,)):
        assert (target.difference(site, Choice(form)) or 0.0) < 1e-14
    wrong = replace(UP, weight=UP.weight * (1 + 1e-9))
    assert isinstance(wrong, Transposed)
    assert target._difference(((UP,),), ((wrong,),)) > EXACT


def test_progress_is_told_site_by_site() -> None:
    told: list[tuple[int, int, str]] = []
    settings = Settings(progress=lambda *step: told.append(step))
    decide.decide(Chains(FASTER), settings, Cache())
    assert told == [(0, 3, A), (1, 3, C), (2, 3, "the whole model")]
