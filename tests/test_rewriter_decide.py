"""Decisions on a model of chains, whose runs say themselves how long they took."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rewriting import Pointwise, corrupted, noise
from test_rewriter_sites import RESIZE, UP, convolution, row

from subpixel.rewriter import MismatchError, Record, Report, decide, reference
from subpixel.rewriter.decide import EXACT, KEPT, WORTH, Cache, Choices, Settings
from subpixel.rewriter.layers import Chain, Shape, Transposed
from subpixel.rewriter.rules import transposed
from subpixel.rewriter.sites import Site, find

Run = Callable[[], float]
Model = dict[str, Chain]


class Chains:
    """A target: one transposed convolution behind the other. Seconds are 1 but where they are given.

    Args:
        seconds: by path and form, "model.b" and "compact"; by "whole" and "kept" or "rewritten" too.
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

    def names(self, site: Site[Any]) -> list[str]:
        return list(site.forms)

    def runs(self, site: Site[Any]) -> dict[str, Run]:
        return {name: self._run(site.path, name) for name in (KEPT, *site.forms)}

    def difference(self, site: Site[Any], form: str) -> float:
        return self._difference((site.chain,), (self._form(site, form, "alone"),))

    def rewritten(self, choices: Choices) -> Model:
        return {site.path: self._form(site, form, "in the model") for site, form in choices.items()}

    def differences(self, model: Model, choices: Choices) -> tuple[float | None, float]:  # noqa: ARG002
        original = [site.chain for site in self.found]
        changed = [model.get(site.path, site.chain) for site in self.found]
        return None, self._difference(original, changed)

    def whole(self, model: Model | None) -> Run:
        return self._run("whole", KEPT if model is None else "rewritten")

    def _run(self, path: str, form: str) -> Run:
        def run() -> float:
            self.timed += 1
            return self.seconds.get((path, form), 1.0)

        return run

    def _form(self, site: Site[Any], form: str, where: str) -> Chain:
        if self.wrong == (site.path, form, where):
            return corrupted(site.forms[form], "a tap off by one") or ()
        return site.forms[form]

    def _difference(self, original: Any, changed: Any) -> float:
        x = noise((1, 8, 4, 4))
        expected, found = (reference.compute(sum(chains, start=()), x) for chains in (original, changed))
        return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(autouse=True)
def _clockless(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run gives is the time that it takes."""

    def race(runs: Mapping[str, Run], _seconds: float, _seed: int) -> dict[str, list[float]]:
        return {name: [run()] * 3 for name, run in runs.items()}

    monkeypatch.setattr(decide, "race", race)


REASON = "aligned is 1.00 times as fast"
STRIDED = "the convolution after the resize has stride (2, 2)"
A, C = "model.a", "model.c"
FASTER = {(A, "compact"): 0.5, ("whole", "rewritten"): 0.8}


def decided(target: Chains, change: Any = "faster", cache: Cache | None = None) -> tuple[Any, Report]:
    return decide.decide(target, Settings(change), cache or Cache())


@pytest.mark.parametrize(
    ("seconds", "became"),
    [(1 / (WORTH + 1e-9), "split"), (1 / (WORTH - 1e-9), KEPT), (1.0, KEPT), (2.0, KEPT)],
)
def test_a_form_must_be_three_percent_faster(seconds: float, became: str) -> None:
    times = {(C, form): seconds + 0.1 for form in ("aligned", "compact")} | {(C, "split"): seconds}
    model, report = decided(Chains(times))
    assert WORTH == 1.03
    assert [record.became for record in report.sites] == [KEPT, became]
    assert (model is None) == (became == KEPT)
    assert report.changed == (became != KEPT)


def test_the_fastest_form_is_chosen_by_site() -> None:
    times = {(A, "compact"): 0.8, (A, "split"): 0.7, (C, "aligned"): 0.5}
    model, report = decided(Chains(times))
    first, second = find(row(UP, None, UP))
    assert [record.became for record in report.sites] == ["split", "aligned"]
    assert [record.milliseconds for record in report.sites] == [(1000, 700), (1000, 500)]
    assert [record.reason for record in report.sites] == ["1.43 times as fast", "2.00 times as fast"]
    assert list(map(type, model[A])) == list(map(type, first.forms["split"]))
    assert list(map(type, model[C])) == list(map(type, second.forms["aligned"]))
    # k = 4, r = 2: 16 a pixel and pair of channels; the aligned form multiplies 36.
    assert [record.macs for record in report.sites] == [(16**2 * 64,) * 2, (16**2 * 64, 36 * 16 * 64)]


def test_all_sites_change_if_asked_even_where_slower() -> None:
    slow = {(path, form): 9.0 for path in (A, C) for form in ("aligned", "split")}
    slow |= {(A, "compact"): 2.0, (C, "compact"): 3.0, ("whole", "rewritten"): 4.0}
    model, report = decided(Chains(slow), "all")
    assert [record.became for record in report.sites] == ["compact", "compact"]
    assert {*model} == {A, C}
    assert report.milliseconds == (1000, 4000)


def test_asked_for_all_only_lr_forms_count() -> None:
    """A fused resize has the form of a transposed convolution too, which such machines do not have."""
    sites = find(row(RESIZE, convolution()))
    fast = {("model.b", "transposed"): 0.1, ("model.b", "compact"): 0.9}
    assert decided(Chains(fast, sites=sites), "all")[1].sites[0].became == "compact"
    assert decided(Chains(fast, sites=sites))[1].sites[0].became == "transposed"


def test_what_is_in_lr_space_stays_if_all_are_asked_for() -> None:
    """A strided convolution needs no change on any machine."""
    (record,) = decided(Chains(sites=find(row(convolution(stride=2, channels=3)))), "all")[1].sites
    assert (record.became, record.reason) == (KEPT, "it is in LR space already")


def test_a_declined_site_is_not_timed() -> None:
    target = Chains(sites=find(row(RESIZE, convolution(stride=2))))
    (record,) = decided(target)[1].sites
    assert (record.became, record.reason) == (KEPT, STRIDED)
    assert target.timed == 0


def test_the_same_decisions_from_a_cache(tmp_path: Path) -> None:
    """They are not timed again, and another machine's or another `change` are others."""
    path = tmp_path / "decisions.json"
    _, first = decided(Chains(FASTER), cache=Cache(path))
    again = Chains({(A, "compact"): 9.0, (C, "compact"): 0.1, ("whole", "rewritten"): 0.5})
    _, second = decided(again, cache=Cache(path))
    assert [record.became for record in second.sites] == [record.became for record in first.sites]
    assert [record.reason for record in second.sites] == ["as decided before"] * 2
    assert again.timed == 0
    assert second.milliseconds is None
    assert [record.macs for record in second.sites] == [record.macs for record in first.sites]
    assert [record.became for record in decided(again, "all", Cache(path))[1].sites] == ["aligned", "compact"]
    again.runtime = "another"
    assert [record.became for record in decided(again, cache=Cache(path))[1].sites] == [KEPT, "compact"]


def test_that_the_whole_is_slower_is_cached_too(tmp_path: Path) -> None:
    path = tmp_path / "decisions.json"
    decided(Chains(FASTER | {("whole", "rewritten"): 1.01}), cache=Cache(path))
    again = Chains(FASTER)
    model, report = decided(again, cache=Cache(path))
    assert (model, again.timed) == (None, 0)
    assert report.sites[0].reason == "the whole model is not faster with it"


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
    assert [record.became for record in report.sites] == ["compact", KEPT]
    assert "unheard-of" not in path.read_text()


@pytest.mark.parametrize("where", ["alone", "in the model"])
def test_a_wrong_form_is_an_error_that_names_the_site(where: str) -> None:
    times = {(A, "compact"): 0.5, (C, "split"): 0.5}
    decided(Chains(times))
    with pytest.raises(MismatchError, match=r"model\.a must not change; as compact"):
        decided(Chains(times, wrong=(A, "compact", where)))
    decided(Chains(times, wrong=(C, "compact", where)))  # not chosen there


def test_a_difference_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chains, "difference", lambda *_: float("nan"))
    with pytest.raises(MismatchError, match=r"model\.a must not change"):
        decided(Chains(FASTER))


@pytest.mark.parametrize("errors", [(2 * EXACT, 0.0), (None, 2e-4), (0.0, float("nan"))])
def test_a_model_that_differs_by_all_sites_together_is_an_error(
    errors: tuple[float | None, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = {(A, "compact"): 0.5, (C, "compact"): 0.5}
    monkeypatch.setattr(Chains, "differences", lambda *given: errors if len(given[-1]) > 1 else (0.0, 0.0))
    with pytest.raises(MismatchError, match=r"with model\.a, model\.c changed it differs by"):
        decided(Chains(together))


def test_a_slower_whole_keeps_every_site() -> None:
    """What sites gain by themselves may be lost between them."""
    model, report = decided(Chains(FASTER | {("whole", "rewritten"): 1.01}))
    assert model is None
    assert not report.changed
    assert report.sites[0].reason == "the whole model would be 0.990 times as fast"
    assert report.sites[0].milliseconds == (1000, 500)
    assert report.sites[1].reason == REASON
    assert report.milliseconds is None


def test_settings_refuse_another_change() -> None:
    with pytest.raises(ValueError, match=r'change must be "faster" or "all"; got \'some\''):
        Settings("some")  # type: ignore[arg-type]


def test_the_report_of_a_change() -> None:
    report = decided(Chains(FASTER))[1]
    assert str(report).splitlines() == [
        "a test",
        "site     was                     became   MMACs             ms",
        "model.a  transposed convolution  compact    0.0  0.0  1,000.00    500.00  2.00 times as fast",
        f"model.c  transposed convolution  kept       0.0  0.0  1,000.00  1,000.00  {REASON}",
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
        "site     was                           became  MMACs    ms",
        f"model.b  nearest resize + convolution  kept                   {STRIDED}",
        "nothing changed",
        "a note",
    ]
    nothing = str(decided(Chains(sites=[]))[1]).splitlines()
    assert nothing[-2] == "nothing changed: no up-sampler was found"


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
        assert target.difference(site, form) < 1e-14
    wrong = replace(UP, weight=UP.weight * (1 + 1e-9))
    assert isinstance(wrong, Transposed)
    assert target._difference(((UP,),), ((wrong,),)) > EXACT


def test_progress_is_told_site_by_site() -> None:
    told: list[tuple[int, int, str]] = []
    settings = Settings(progress=lambda *step: told.append(step))
    decide.decide(Chains(FASTER), settings, Cache())
    assert told == [(0, 3, A), (1, 3, C), (2, 3, "the whole model")]
