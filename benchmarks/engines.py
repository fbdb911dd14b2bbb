"""Which engine is the fastest, and how much of the machine does it use? Ours and others, the same networks.

    python benchmarks/engines.py                     all cases
    python benchmarks/engines.py nano best -s 20     some, for a shorter time
    python benchmarks/engines.py --shrink 4 --busy   a trial: images of a quarter of the sides, on any machine
    python benchmarks/engines.py --native            the native engine alone

All take turns in one run, with one thread and with two. Before and after each sample a loop of multiply-adds
says whether the machine is quiet; a sample beside which it was slow is void and is taken anew, a few times at
most. The tables hold

    ms          the median
    of native   how many times the time of the native engine with its best instruction set and as many
                threads: the median of the ratios round by round
    of peak     the operations of the direct form in that time, as a share of what the loop reached at best
                with the same instruction set; an engine that needs fewer operations may exceed 100 %
    off by      the largest difference from the result in float64, for values of 0..1

and nan where there is no rival, or all samples were void. Needs `pip install 'subpixel[bench]'` and, for
torch.compile, a C++ compiler.
"""

import argparse
import logging
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from math import isnan, nan
from pathlib import Path
from statistics import geometric_mean

import numpy as np
from cases import CASES, Case, scene
from contestants import ONNX_RUNTIME, OPENVINO, OPENVINO_BF16, Contestant, exact, native, others
from numpy.typing import NDArray
from probe import Probe
from turns import QUIET, Turns

from subpixel.engines.library import instruction_sets
from subpixel.measure.machine import features, processor, processors

PACKAGES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless", "pyanime4k", "torch")
LARGEST = 0.02  # difference that bf16 explains; a wrong result has more, or is NaN
RIVALS = (ONNX_RUNTIME, OPENVINO)  # timed to the end, however slow they are


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(case.name for case in CASES))
    parser.add_argument("-s", "--seconds", type=float, default=60.0, help="for the timing of each case")
    parser.add_argument("--shrink", type=int, default=1, help="divide the width and the height of images")
    parser.add_argument("--busy", action="store_true", help="count samples that are void: for a trial only")
    parser.add_argument("--native", action="store_true", help="time the native engine alone")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # PyTorch's, while it exports
    logging.disable(logging.WARNING)
    isas = tuple(instruction_sets())
    print(f"{processor()}, {processors()} processors: {' '.join(features())}")
    print(f"native engine: {', '.join(isas)}; {', '.join(f'{name} {version(name)}' for name in PACKAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        probes = {isa: Probe(isa, Path(folder)) for isa in isas}
    results = []
    for case in CASES:
        if not options.cases or case.name in options.cases:
            shrunk = case.shrunk(options.shrink)
            quiet = 0.0 if options.busy else QUIET
            results.append(measure(shrunk, probes, options.seconds, quiet, alone=options.native))
            print("\n" + "\n\n".join(results[-1].tables()), flush=True)
    print(f"\n{summary(results)}\n\n{quietness(results, probes)}")


def measure(
    case: Case, probes: Mapping[str, Probe], seconds: float, quiet: float, *, alone: bool
) -> "Result":
    network = case.make()
    context = 2 * network.radius
    planes = scene(network.channels, case.height + context, case.width + context)
    contestants: dict[int, list[Contestant]] = {}
    for threads in range(1, min(2, processors()) + 1):
        contestants[threads] = [*native(network, planes, threads)]
        if not alone:
            contestants[threads] += others(network, planes, threads)
    everyone = list(chain(*contestants.values()))
    truth = exact(network, planes)
    differences = {contestant: difference(contestant, truth) for contestant in everyone}  # and they are warm
    turns = Turns(everyone, probes, quiet)
    natives = [contestants[threads][0] for threads in contestants]
    turns.run(seconds, [*natives, *(other for other in everyone if other.name in RIVALS)])
    for contestant in everyone:
        contestant.free()
    operations = 2 * network.macs_per_lr_pixel * case.width * case.height
    return Result(case, operations, contestants, differences, turns)


def difference(contestant: Contestant, truth: NDArray[np.float64]) -> float | None:
    """Return the largest difference from the truth; None for another network."""
    contestant.limit(contestant.threads)
    result = contestant.run()
    if not contestant.same:
        return None
    if result.dtype == np.uint8:
        result, truth = result / 255, truth.clip(0, 1)
    largest = float(np.abs(result - truth).max())
    assert largest <= LARGEST, f"{contestant.name} is off by {largest}"
    return largest


@dataclass(frozen=True)
class Result:
    """What was measured of a case.

    Attributes:
        case: the case.
        operations: multiplications and additions of its direct form.
        contestants: by number of threads; the native engine with its best instruction set comes first.
        differences: the largest difference of each from float64.
        turns: their times.
    """

    case: Case
    operations: int
    contestants: Mapping[int, Sequence[Contestant]]
    differences: Mapping[Contestant, float | None]
    turns: Turns

    def tables(self) -> Iterator[str]:
        for threads, contestants in self.contestants.items():
            title = [f"{self.case}, threads: {threads}", "ms", "of native", "of peak", "off by"]
            yield table(title, map(self._row, sorted(contestants, key=self._order)))

    def _order(self, contestant: Contestant) -> tuple[bool, float]:
        seconds = self.turns.median(contestant)
        return isnan(seconds), seconds

    def _row(self, contestant: Contestant) -> list[str]:
        ratio = self.turns.gain(contestant, self.contestants[contestant.threads][0])
        return [contestant.name, self.milliseconds(contestant), f"{ratio:.2f}", *self.quality(contestant)]

    def milliseconds(self, contestant: Contestant) -> str:
        return f"{1000 * self.turns.median(contestant):.1f}"

    def quality(self, contestant: Contestant) -> tuple[str, str]:
        """Return the share of the peak and the difference; nothing for another network."""
        if self.differences[contestant] is None:
            return "", ""
        share = self.operations / self.turns.median(contestant) / self.turns.peak(contestant)
        return f"{share:.0%}", f"{self.differences[contestant]:.1e}"

    def gain(self, threads: int, rivals: Sequence[str]) -> float:
        """Return how many times faster the native engine is than the fastest of some rivals."""
        best, *rest = self.contestants[threads]
        rival = min((other for other in rest if other.name in rivals), key=self._order, default=None)
        return nan if rival is None else self.turns.gain(rival, best)


def summary(results: Sequence[Result]) -> str:
    """Return a table of what the native engine reaches with its best instruction set."""
    title = [
        "native engine",
        "ms",
        "gain over the better of two",
        "over the fastest other",
        "over OpenVINO bf16",
    ]
    title += ["over one thread", "of peak", "off by"]
    rows, gains = [], defaultdict(list)
    for result in results:
        for threads, (best, *rest) in result.contestants.items():
            same = [other.name for other in rest if other.same and not other.ours]
            ratios = [result.gain(threads, rivals) for rivals in (RIVALS, same, [OPENVINO_BF16])]
            ratios.append(result.turns.gain(result.contestants[1][0], best))
            figures = [result.milliseconds(best), *map("{:.2f}".format, ratios), *result.quality(best)]
            rows.append([f"{result.case}, threads: {threads}", *figures])
            gains[threads].append(ratios[0])
    means = [f"{geometric_mean(ratios):.2f} with threads: {threads}" for threads, ratios in gains.items()]
    return f"{table(title, rows)}\n\nTwo: {' and '.join(RIVALS)}; geometric mean {', '.join(means)}."


def quietness(results: Sequence[Result], probes: Mapping[str, Probe]) -> str:
    """Return how many samples count, and the best rates of the probes."""
    taken, void = (sum(getattr(result.turns, name) for result in results) for name in ("taken", "void"))
    verdict = "The machine was not quiet: all figures are void. " if 2 * void > taken else ""
    rates = [
        f"{isa} {rate / 1e9:.0f} with threads: {threads}"
        for isa, probe in probes.items()
        for threads, rate in probe.best.items()
    ]
    return f"{verdict}{void} of {taken} samples are void. Peak in GFLOP/s a thread: {', '.join(rates)}."


def table(title: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [title, ["---", *["--:"] * (len(title) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
