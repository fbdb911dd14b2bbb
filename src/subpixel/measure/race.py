"""Which of several equal computations is the fastest here: by turns, until it is beyond chance.

One round times every computation once, so that a disturbance which lasts slows all of a round alike. What is
compared, decided and shown is therefore the ratio of two computations in the same round, `gain`: its median
over the rounds, and with `least_gain` the value that it has at least.
"""

import random
import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from functools import lru_cache
from math import comb, exp, log, sqrt
from statistics import NormalDist, mean, median, stdev
from typing import TypeVar

NameT = TypeVar("NameT", bound=Hashable)
Run = Callable[[], object]

SAMPLE = 2e-3  # seconds; a computation that is quicker is repeated, so that the clock's own cost is small
SLOW = 5e-2  # seconds; the first run of a quick computation says little, so it warms up twice
SETTLED = 5.0  # seconds; what a first run does only once is little of such a time, so it is a round too
ROUNDS = 7  # before the race is decided early: then all must agree
LEAST_ROUNDS = 2  # where the time is over: a single round has no spread
MOST_ROUNDS = 10_000
HOPELESS = 1.6  # a computation that is always so many times slower than the fastest is timed no further
DISTURBED = 2  # times more after a single round, which something else may have slowed

EARLY_ODDS = 100  # to one against a wrong early decision: every round from the seventh on asks again
ODDS = 16  # to one at the end, which asks once: about the 95 % that fewer rounds are asked for
EXACT = 100  # tosses; of more, the number of heads is taken to be normally distributed
STUDENT = {2: 6.31, 3: 2.92, 4: 2.35, 5: 2.13, 6: 2.02}  # 95 % of Student's t lies below, by rounds
REPEATABLE = 0.01  # relative spread that few rounds are taken to have at least: two may agree by luck


def race(
    runs: Mapping[NameT, Run],
    seconds: float,
    seed: int,
    *,
    always: Collection[NameT] = (),
    rest: float = 0.0,
) -> dict[NameT, list[float]]:
    """Time computations by turns, in a random order in each round.

    Args:
        runs: the computations by name. The first one is what the others are compared with.
        seconds: time to spend, with the warm-up. What runs is not interrupted, so a slow computation takes
            more: it runs three times at least (once to warm up), or twice where it is hopeless, and each time
            once less where all of them take `SETTLED` or more.
        seed: of the order.
        always: names that are timed to the end as the first one is, however slow they are.
        rest: seconds to wait before each run, until the threads of the one before, which may be those of
            another library, have stopped spinning.

    Returns:
        The seconds by name, round by round; what is hopeless has few.
    """
    order = random.Random(seed)  # noqa: S311 (an order, not a secret)
    end = time.perf_counter() + seconds
    first = {name: _sample(run, 1) for name, run in runs.items()}
    settled = min(first.values()) >= SETTLED
    repeats = {name: 1 if settled else _repeats(run, first[name]) for name, run in runs.items()}
    times = {name: [first[name]] if settled else [] for name in runs}
    needed = {next(iter(runs)), *always}
    alive = _hopeful(times, list(runs), needed) if settled else list(runs)
    for done in range(1 + settled, MOST_ROUNDS + 1):
        for name in order.sample(alive, len(alive)):  # a run leaves caches and memory to the next one
            if rest:  # even no sleep at all hands the processor to others
                time.sleep(rest)
            times[name].append(_sample(runs[name], repeats[name]))
        alive = _hopeful(times, alive, needed)
        over = done >= LEAST_ROUNDS and time.perf_counter() > end
        if over or (done >= ROUNDS and separated({name: times[name] for name in alive})):
            break
    return times


def _hopeful(
    times: Mapping[NameT, Sequence[float]], alive: Collection[NameT], needed: Collection[NameT]
) -> list[NameT]:
    """Return the names that are worth another round."""
    fastest = min(median(times[name]) for name in alive)
    rounds = max(len(times[name]) for name in alive)
    limit = fastest * HOPELESS * (DISTURBED if rounds == 1 else 1)
    return [name for name in alive if name in needed or min(times[name]) < limit]


def separated(times: Mapping[NameT, Sequence[float]]) -> bool:
    """Return whether the fastest one is so beyond chance, so surely that a race may end early."""
    fastest, *others = sorted(times.values(), key=median)
    return all(least_gain(other, fastest, EARLY_ODDS) > 1 for other in others)


def gain(before: Sequence[float], after: Sequence[float]) -> float:
    """Return how many times faster the second is: the median of the ratios round by round.

    Example:
        >>> gain([2.0, 4.0, 20.0], [1.0, 2.0, 10.0])
        2.0
    """
    return median(_ratios(before, after))


def least_gain(before: Sequence[float], after: Sequence[float], odds: int = ODDS) -> float:
    """Return a lower bound of the gain that chance does not explain; 0 for a single round.

    From seven rounds on it is an order statistic, as in the sign test: were the true median smaller than the
    k-th smallest of n ratios, fewer than k of n tosses of a coin would have shown heads. k is the largest for
    which that is as rare as one in `odds`: 2 of 7, 3 of 10, 5 of 15 at the end of a race; 1 of 7, 2 of 11,
    3 of 14 for an early end. Single disturbances do not move it.

    Fewer rounds are few because each takes long, and then times differ little: Student's interval for the
    mean of their logarithms.
    """
    ratios = sorted(_ratios(before, after))
    count = len(ratios)
    if count >= ROUNDS:
        return ratios[_rank(count, odds) - 1]
    if count < LEAST_ROUNDS:
        return 0.0
    logarithms = [log(ratio) for ratio in ratios]
    error = max(stdev(logarithms), REPEATABLE) / sqrt(count)
    return exp(mean(logarithms) - STUDENT[count] * error)


def _ratios(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [b / a for b, a in zip(before, after, strict=False)]


@lru_cache
def _rank(count: int, odds: int) -> int:
    """Return the largest k for which fewer than k heads in so many tosses are as rare as one in `odds`."""
    if count > EXACT:
        return int(count / 2 - NormalDist().inv_cdf(1 - 1 / odds) * sqrt(count) / 2)
    rank, tail = 0, 0
    while odds * (tail := tail + comb(count, rank)) <= 2**count:
        rank += 1
    return rank


def _repeats(run: Run, taken: float) -> int:
    """Warm up once more if need be, and return how often to run for a sample that is long enough."""
    if taken < SLOW:
        taken = _sample(run, 1)
    return max(1, round(SAMPLE / max(taken, 1e-9)))


def _sample(run: Run, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - start) / repeats
