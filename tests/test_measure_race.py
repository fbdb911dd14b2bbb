"""Races against a clock that only the runners move."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from subpixel.measure.race import (
    DISTURBED,
    EARLY_ODDS,
    HOPELESS,
    ODDS,
    ROUNDS,
    SAMPLE,
    gain,
    least_gain,
    race,
    separated,
)


class Clock:
    """A clock, and runs that take a time of it and say that they ran."""

    def __init__(self) -> None:
        self.now, self.ran = 0.0, ""

    def run(self, name: str, times: Iterator[float]) -> Callable[[], None]:
        def run() -> None:
            self.now += next(times)
            self.ran += name

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def steady(seconds: float) -> Iterator[float]:
    while True:
        yield seconds


def shaky(*seconds: float) -> Iterator[float]:
    while True:
        yield from seconds


def test_a_rest_comes_before_each_run_and_does_not_count(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep(seconds: float) -> None:
        clock.now += seconds
        clock.ran += "-"

    monkeypatch.setattr(time, "sleep", sleep)
    runs = {"a": clock.run("a", steady(1.0)), "b": clock.run("b", steady(0.9))}
    times = race(runs, 100, seed=0, rest=0.5)
    assert times == {"a": pytest.approx([1.0] * ROUNDS), "b": pytest.approx([0.9] * ROUNDS)}
    assert clock.ran[2::2] == "-" * 2 * ROUNDS


def test_what_separates_is_timed_no_longer(clock: Clock) -> None:
    """A run of each to warm up; then rounds, and all run in each."""
    times = race({"a": clock.run("a", steady(1.0)), "b": clock.run("b", steady(0.9))}, 100, seed=0)
    assert times == {"a": pytest.approx([1.0] * ROUNDS), "b": pytest.approx([0.9] * ROUNDS)}
    rounds = [clock.ran[i : i + 2] for i in range(2, len(clock.ran), 2)]
    assert {*rounds} == {"ab", "ba"}
    assert len(rounds) == ROUNDS


def test_the_order_is_that_of_the_seed(clock: Clock) -> None:
    orders = []
    for seed in (1, 1, 2):
        clock.ran = ""
        race({name: clock.run(name, steady(1.0)) for name in "abcd"}, 0, seed)
        orders.append(clock.ran)
    assert orders[0] == orders[1] != orders[2]


def test_what_does_not_separate_is_timed_until_the_end(clock: Clock) -> None:
    runs = {name: clock.run(name, shaky(1.0, 1.3, 1.1)) for name in "ab"}
    times = race(runs, 100, seed=0)
    assert not separated(times)
    assert 40 < len(times["a"]) < 50  # 100 seconds of two that take 1.13


def test_the_hopeless_is_timed_no_further(clock: Clock) -> None:
    """Except the original, with which all are compared."""
    runs = {
        "original": clock.run("o", steady(9.0)),
        "fast": clock.run("f", shaky(1.0, 1.3)),
        "faster": clock.run("g", shaky(0.9, 1.3)),
        "hopeless": clock.run("h", steady(1.4 * HOPELESS * DISTURBED)),
    }
    times = race(runs, 100, seed=0)
    assert len(times["hopeless"]) == 1
    assert len(times["original"]) == len(times["fast"]) >= ROUNDS


def test_one_disturbance_is_not_hopeless(clock: Clock) -> None:
    """Neither in the first round nor later; what is slower each time is."""
    first, later = iter([1.0, 3.0, *[1.0] * 99]), iter([1.0, 1.0, 3.0, *[1.0] * 99])
    runs = {
        "a": clock.run("a", shaky(1.2, 1.3)),
        "first": clock.run("f", first),
        "later": clock.run("l", later),
        "slow": clock.run("s", steady(2.0)),
    }
    times = race(runs, 60, seed=0)
    assert len(times["first"]) == len(times["later"]) == len(times["a"]) >= ROUNDS
    assert len(times["slow"]) == 2


def test_what_is_always_wanted_is_timed_to_the_end(clock: Clock) -> None:
    """As a benchmark wants that shows the slow beside the fast."""
    runs = {name: clock.run(name, steady(seconds)) for name, seconds in (("a", 1.0), ("b", 9.0), ("c", 9.0))}
    times = race(runs, 1000, seed=0, always=["b"])
    assert {name: len(taken) for name, taken in times.items()} == {"a": ROUNDS, "b": ROUNDS, "c": 1}


def test_the_quick_is_repeated(clock: Clock) -> None:
    """So that each sample takes as long as the clock needs."""
    runs = {"a": clock.run("a", steady(SAMPLE / 5)), "b": clock.run("b", steady(SAMPLE / 4))}
    times = race(runs, 100, seed=0)
    assert clock.ran.count("a") == 2 + 5 * ROUNDS
    assert clock.ran.count("b") == 2 + 4 * ROUNDS
    assert times["a"] == pytest.approx([SAMPLE / 5] * ROUNDS)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 2), (10, 2), (20, 3), (31, 5)])
def test_seconds_bound_what_is_slow(clock: Clock, seconds: float, rounds: int) -> None:
    """Runs of three seconds: a warm-up, two rounds, and more only as long as there is time."""
    race({name: clock.run(name, shaky(3.0, 3.1)) for name in "ab"}, seconds, seed=0)
    assert (clock.ran.count("a"), clock.ran.count("b")) == (1 + rounds, 1 + rounds)


@pytest.mark.parametrize(("seconds", "rounds"), [(0, 2), (100, 2), (250, 3), (400, 5)])
def test_what_takes_very_long_needs_no_warm_up(clock: Clock, seconds: float, rounds: int) -> None:
    """Of half a minute, what a first run does only once is little; the hopeless runs once."""
    runs = {name: clock.run(name, shaky(30.0, 31.0)) for name in "ab"}
    times = race(runs | {"c": clock.run("c", steady(120.0))}, seconds, seed=0)
    assert [clock.ran.count(name) for name in "abc"] == [rounds, rounds, 1]
    assert [len(times[name]) for name in "abc"] == [rounds, rounds, 1]


def test_one_that_is_quick_makes_all_warm_up(clock: Clock) -> None:
    """So that what a round compares was measured side by side."""
    times = race({"a": clock.run("a", steady(9.0)), "b": clock.run("b", steady(1.0))}, 0, seed=0)
    assert (clock.ran.count("a"), len(times["a"])) == (3, 2)


def test_gain_compares_round_by_round() -> None:
    """A machine that is slow for a while slows both."""
    assert gain([2.0, 4.0, 20.0], [1.0, 2.0, 10.0]) == 2.0
    assert gain([2.0, 4.0, 20.0], [1.0]) == 2.0


def test_the_fastest_must_separate_from_every_other() -> None:
    """One that is far away says nothing about one that is near."""
    near, also, far = [1.0, 1.1, 1.2] * 3, [1.1, 1.2, 1.0] * 3, [9.0, 9.1, 9.2] * 3
    assert separated({"near": near, "far": far})
    assert not separated({"near": near, "also": also, "far": far})


@pytest.mark.parametrize("odds", [ODDS, EARLY_ODDS])
@pytest.mark.parametrize("rounds", [2, 3, 5, 7, 8, 11, 15, 40, 400])
def test_what_is_equally_fast_seems_faster_as_rarely_as_is_said(rounds: int, odds: int) -> None:
    """In one of so many races, or 5 of 100 of few rounds; chance among 4000 allows a half more."""
    random = np.random.default_rng(rounds)
    before, after = np.exp(random.normal(0, 0.05, (2, 4000, rounds))).tolist()
    seems = sum(least_gain(b, a, odds) > 1 for b, a in zip(before, after, strict=True)) / 4000
    assert seems <= 1.5 * (0.05 if rounds < ROUNDS else 1 / odds)


@pytest.mark.parametrize("rounds", range(ROUNDS, 21))
def test_a_gain_of_a_seventh_is_seen_in_nearly_all_races(rounds: int) -> None:
    """1.15 times as fast, where times differ by a twentieth."""
    random = np.random.default_rng(rounds)
    before, after = np.exp(random.normal(0, 0.05, (2, 1000, rounds))).tolist()
    seems = sum(least_gain([1.15 * x for x in b], a) > 1 for b, a in zip(before, after, strict=True)) / 1000
    assert seems > 0.95


@pytest.mark.parametrize("rounds", [2, 3, 5, 7, 8, 11, 15, 40])
def test_what_is_faster_is_seen_to_be(rounds: int) -> None:
    """A tenth faster, where times differ by a hundredth."""
    random = np.random.default_rng(rounds)
    before, after = np.exp(random.normal(0, 0.01, (2, 1000, rounds))).tolist()
    seems = sum(least_gain([1.1 * x for x in b], a) > 1 for b, a in zip(before, after, strict=True)) / 1000
    assert seems > (0.5 if rounds < 3 else 0.99)


def test_one_round_proves_nothing() -> None:
    assert least_gain([9.0], [1.0]) == 0


@pytest.mark.parametrize(("odds", "disturbed"), [(ODDS, 2), (EARLY_ODDS, 1)])
def test_single_disturbances_change_nothing(odds: int, disturbed: int) -> None:
    """Of eleven rounds the slowest may be anything."""
    before, after = [1.0] * 11, [0.9] * 11
    for count in range(disturbed + 1):
        assert least_gain(before, [100.0] * count + after[count:], odds) == pytest.approx(1 / 0.9)
    assert least_gain(before, [100.0] * (disturbed + 1) + after[disturbed + 1 :], odds) < 1
