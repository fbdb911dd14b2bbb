"""Contestants timed by turns, with a look before and after each sample at whether the machine is quiet."""

import time
from collections.abc import Collection, Mapping, Sequence
from math import nan
from random import Random
from statistics import median
from typing import NamedTuple

from contestants import Contestant
from probe import Probe

from subpixel.measure.race import gain

REST = 0.02  # seconds, until the threads of a contestant have stopped spinning
QUIET = 0.9  # of the best rate of a probe; at less, something else was running
TRIES = 5  # of a sample
LEAST_ROUNDS = 3
HOPELESS = 2.0  # what has always taken so many times the time of the fastest is timed no further


class Sample(NamedTuple):
    """The time of a run, and the lower of the probe's rates before and after it."""

    seconds: float
    rate: float


class Turns:
    """The samples of contestants, in rounds: each is timed once in a round, in a random order.

    A sample is void where the probe was slow beside it. It is taken anew at once, up to `TRIES` times in all.

    Args:
        contestants: what is timed.
        probes: by instruction set.
        quiet: the least rate of a probe beside a valid sample, as a share of its best rate.

    Attributes:
        taken: how many samples were taken.
        void: how many of them are void.
    """

    def __init__(self, contestants: Sequence[Contestant], probes: Mapping[str, Probe], quiet: float) -> None:
        self._probes, self._quiet = probes, quiet
        self._rounds: dict[Contestant, list[Sample]] = {contestant: [] for contestant in contestants}
        self._anew = 0

    def run(self, seconds: float, always: Collection[Contestant]) -> None:
        """Time the contestants for some seconds, those of `always` to the end, however slow they are."""
        order, end, alive = Random(0), time.perf_counter() + seconds, list(self._rounds)
        while self._done < LEAST_ROUNDS or time.perf_counter() < end:
            for contestant in order.sample(alive, len(alive)):
                self._rounds[contestant].append(self._sample(contestant))
            if self._done >= LEAST_ROUNDS:
                alive = [one for one in alive if one in always or self._is_hopeful(one)]

    @property
    def taken(self) -> int:
        return sum(map(len, self._rounds.values())) + self._anew

    @property
    def void(self) -> int:
        return self.taken - sum(len(self._valid(contestant)) for contestant in self._rounds)

    def median(self, contestant: Contestant) -> float:
        """Return the median of the seconds; NaN where all samples are void."""
        return median(self._valid(contestant).values() or [nan])

    def gain(self, before: Contestant, after: Contestant) -> float:
        """Return how many times faster the second one is: the median of the ratios round by round."""
        slow, fast = self._valid(before), self._valid(after)
        rounds = slow.keys() & fast.keys()
        return gain([slow[r] for r in rounds], [fast[r] for r in rounds]) if rounds else nan

    def peak(self, contestant: Contestant) -> float:
        """Return the best rate of the probe on as many threads, all of them together."""
        return contestant.threads * self._probe(contestant).best[contestant.threads]

    @property
    def _done(self) -> int:
        return max(map(len, self._rounds.values()))

    def _probe(self, contestant: Contestant) -> Probe:
        return self._probes[contestant.isa]

    def _sample(self, contestant: Contestant) -> Sample:
        probe = self._probe(contestant)
        for attempt in range(TRIES):
            self._anew += attempt > 0
            contestant.limit(contestant.threads)
            before = probe.rate(contestant.threads)
            start = time.perf_counter()
            contestant.run()
            seconds = time.perf_counter() - start
            time.sleep(REST)
            sample = Sample(seconds, min(before, probe.rate(contestant.threads)))
            if self._is_valid(contestant, sample):
                break
        return sample

    def _is_valid(self, contestant: Contestant, sample: Sample) -> bool:
        return sample.rate >= self._quiet * self._probe(contestant).best[contestant.threads]

    def _valid(self, contestant: Contestant) -> dict[int, float]:
        """Return the seconds of the samples that are valid, by round."""
        samples = enumerate(self._rounds[contestant])
        return {index: sample.seconds for index, sample in samples if self._is_valid(contestant, sample)}

    def _is_hopeful(self, contestant: Contestant) -> bool:
        rivals = (other for other in self._rounds if other.threads == contestant.threads)
        fastest = min(min(sample.seconds for sample in self._rounds[rival]) for rival in rivals)
        return min(sample.seconds for sample in self._rounds[contestant]) < HOPELESS * fastest
