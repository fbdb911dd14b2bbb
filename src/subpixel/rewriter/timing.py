"""Which of several equal computations is the fastest here: by turns, until the medians separate."""

import random
import time
from collections.abc import Callable, Mapping
from statistics import median

Run = Callable[[], object]
Times = dict[str, list[float]]  # seconds by name, round by round

SAMPLE = 2e-3  # seconds; what is quicker is repeated
ROUNDS = 7  # at least
HOPELESS = 1.6  # what is this many times slower than the fastest is timed no further


def race(runs: Mapping[str, Run], seconds: float, seed: int) -> Times:
    """Time computations by turns, in a random order each round.

    Args:
        runs: what to time, by name; each is run once before, to warm up.
        seconds: at most, but for the least number of rounds.
        seed: of the order.

    Returns:
        The times of each; what is hopeless has few.
    """
    order = random.Random(seed)  # noqa: S311 (an order, not a secret)
    for run in runs.values():
        run()
    times = {name: [_sample(run, 1)] for name, run in runs.items()}
    repeats = {name: max(1, round(SAMPLE / taken[0])) for name, taken in times.items()}
    end = time.perf_counter() + seconds
    alive = list(runs)
    for index in range(10_000):
        for name in order.sample(alive, len(alive)):
            times[name].append(_sample(runs[name], repeats[name]))
        if index == 0:
            times = {name: taken[1:] for name, taken in times.items()}  # the first is still a warm-up
        alive = _hopeful(times, alive)
        if index + 1 >= ROUNDS and (separated(times) or time.perf_counter() > end):
            break
    return times


def separated(times: Times) -> bool:
    """Whether the fastest one is so beyond chance: its upper quartile lies below the others' lower ones."""
    fastest, *others = sorted(times.values(), key=median)
    return all(_quartile(fastest, 3) < _quartile(other, 1) for other in others)


def gain(before: list[float], after: list[float]) -> float:
    """How many times faster the second is, round by round: what slows the machine for a while slows both."""
    return median(b / a for b, a in zip(before, after, strict=False))


def _hopeful(times: Times, alive: list[str]) -> list[str]:
    """The original, which comes first and is what all are compared with, and what may still win."""
    limit = HOPELESS * min(median(times[name]) for name in alive)
    return [name for index, name in enumerate(alive) if index == 0 or median(times[name]) < limit]


def _quartile(times: list[float], which: int) -> float:
    return sorted(times)[(len(times) - 1) * which // 4]


def _sample(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
