"""Races against a clock that only the runners move."""

import time
from collections.abc import Callable, Iterator

import pytest

from subpixel.measure.race import HOPELESS, ROUNDS, SAMPLE, gain, race, separated


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


def test_what_separates_is_timed_no_longer(clock: Clock) -> None:
    """A run of each to warm up and one to count; then rounds, all run in each."""
    times = race({"a": clock.run("a", steady(1.0)), "b": clock.run("b", steady(0.9))}, 100, seed=0)
    assert times == {"a": pytest.approx([1.0] * ROUNDS), "b": pytest.approx([0.9] * ROUNDS)}
    rounds = [clock.ran[i : i + 2] for i in range(4, len(clock.ran), 2)]
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
    """But for the original, with which all are compared."""
    runs = {
        "original": clock.run("o", steady(9.0)),
        "fast": clock.run("f", shaky(1.0, 1.3)),
        "faster": clock.run("g", shaky(0.9, 1.3)),
        "hopeless": clock.run("h", steady(1.1 * HOPELESS)),
    }
    times = race(runs, 100, seed=0)
    assert len(times["hopeless"]) == 1
    assert len(times["original"]) == len(times["fast"]) >= ROUNDS


def test_what_is_always_wanted_is_timed_to_the_end(clock: Clock) -> None:
    """As a benchmark wants that shows the slow beside the fast."""
    runs = {name: clock.run(name, steady(seconds)) for name, seconds in (("a", 1.0), ("b", 9.0), ("c", 9.0))}
    times = race(runs, 0, seed=0, always=["b"])
    assert {name: len(taken) for name, taken in times.items()} == {"a": ROUNDS, "b": ROUNDS, "c": 1}


def test_the_quick_is_repeated(clock: Clock) -> None:
    """So that each sample takes as long as the clock needs."""
    times = race(
        {"a": clock.run("a", steady(SAMPLE / 5)), "b": clock.run("b", steady(SAMPLE / 4))}, 0, seed=0
    )
    assert clock.ran.count("a") == 2 + 5 * ROUNDS
    assert clock.ran.count("b") == 2 + 4 * ROUNDS
    assert times["a"] == pytest.approx([SAMPLE / 5] * ROUNDS)


def test_gain_compares_round_by_round() -> None:
    """A machine that is slow for a while slows both."""
    assert gain([2.0, 4.0, 20.0], [1.0, 2.0, 10.0]) == 2.0
    assert gain([2.0, 4.0, 20.0], [1.0]) == 2.0


def test_the_fastest_must_separate_from_every_other() -> None:
    """One that is far behind says nothing about one that is near."""
    near, also, far = [1.0, 1.1, 1.2, 1.3], [1.05, 1.15, 1.25, 1.35], [9.0, 9.1, 9.2, 9.3]
    assert separated({"near": near, "far": far})
    assert not separated({"near": near, "also": also, "far": far})
