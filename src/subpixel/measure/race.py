"""Which of several equal computations is the fastest here: by turns, until the medians separate."""

import random
import time
from collections.abc import Callable, Collection, Hashable, Mapping
from statistics import median
from typing import TypeVar

NameT = TypeVar("NameT", bound=Hashable)
Run = Callable[[], object]

SAMPLE = 2e-3  # seconds; a computation that is quicker is repeated, so that the clock's own cost is small
ROUNDS = 7  # at least: fewer have no quartiles to speak of
HOPELESS = 1.6  # a computation that is so many times slower than the fastest is timed no further


def race(
    runs: Mapping[NameT, Run], seconds: float, seed: int, always: Collection[NameT] = ()
) -> dict[NameT, list[float]]:
    """Time computations by turns, in a random order in each round.

    Args:
        runs: the computations by name; each runs once before it is timed, to warm up. The first one is what
            the others are compared with.
        seconds: time to spend, except for the least number of rounds.
        seed: of the order.
        always: names that are timed to the end as the first one is, however slow they are.

    Returns:
        The seconds by name, round by round; what is hopeless has few.
    """
    order = random.Random(seed)  # noqa: S311 (an order, not a secret)
    for run in runs.values():
        run()
    times = {name: [_sample(run, 1)] for name, run in runs.items()}
    repeats = {name: max(1, round(SAMPLE / taken[0])) for name, taken in times.items()}
    end = time.perf_counter() + seconds
    needed = {next(iter(runs)), *always}
    alive = list(runs)
    for index in range(10_000):
        for name in order.sample(alive, len(alive)):  # a run leaves caches and memory to the next one
            times[name].append(_sample(runs[name], repeats[name]))
        if index == 0:
            times = {name: taken[1:] for name, taken in times.items()}  # the first is still a warm-up
        limit = HOPELESS * min(median(times[name]) for name in alive)
        alive = [name for name in alive if name in needed or median(times[name]) < limit]
        if index + 1 >= ROUNDS and (separated(times) or time.perf_counter() > end):
            break
    return times


def separated(times: Mapping[NameT, list[float]]) -> bool:
    """Return whether the upper quartile of the fastest lies below the lower quartile of every other."""
    fastest, *others = sorted(times.values(), key=median)
    return all(_quartile(fastest, 3) < _quartile(other, 1) for other in others)


def gain(before: list[float], after: list[float]) -> float:
    """Return how many times faster the second is: the median of the ratios round by round.

    A disturbance that lasts slows both computations of a round, and leaves their ratio as it is.
    """
    return median(b / a for b, a in zip(before, after, strict=False))


def _quartile(times: list[float], which: int) -> float:
    return sorted(times)[(len(times) - 1) * which // 4]


def _sample(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
