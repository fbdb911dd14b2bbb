"""The note, section 3, compares two networks: one has n = 32 maps in LR space and kernels of 3x3, the other
n / r**2 = 8 maps in HR space and kernels of 6x6. Their complexity is the same, O(32 * 32 * 3 * 3 * W/2 *
H/2) = O(8 * 8 * 6 * 6 * W * H), and so is the information in the feature maps; "the receptive fields of each
activation is equivalent in the original input LR space"; and at the same speed the LR network has more
parameters.

Here that table stands for any n, kernel k, upscale factor r and dimension d, twice: by formulas, and counted
from real modules, the operations by PyTorch's counter, the pixels that an output depends on by its gradient.
Both must agree exactly. Operations are multiply-accumulates, there are no biases, and operations and numbers
are those for one LR pixel, which is r**d HR pixels. The note's table is about hidden layers, from n maps to
n maps; the first layer (one map in) and the last (one HR map out) are told apart. The HR network begins with
a nearest resize, whose pixels depend on one LR pixel each; any other adds to its receptive field.

Then both are timed by turns: one hidden layer in float32, on a frame of 180 x 320 LR pixels (or as many in
another dimension) with the context that it reads, so that the operations are equal to the last one. PyTorch
runs each layer in the better of its two memory formats. OpenVINO, one of this package's engines, has
the layers whose kernels are odd in both spaces. The ratio is the median over the rounds. The true one lies
below the lower bound by chance in at most one race in 16, and above the upper bound as rarely.

Where k * r is even, as in the note's example, an HR kernel has no middle: a layer that keeps the size is
padded by one pixel more at one end, and moves its maps by half an HR pixel.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Iterator, Sequence
from itertools import product
from statistics import median

from subpixel.geometry import Axis
from subpixel.measure.race import gain, least_gain
from subpixel.studies.cost import drawings
from subpixel.studies.cost.races import Example, race_trial
from subpixel.studies.lab.bench import Arrays, Bench
from subpixel.studies.lab.layers import counted, pair, seen_by_gradient
from subpixel.studies.lab.study import Picture, Result, Row, Study

SAME = 0.1  # a difference of speed that hardly matters
DEEP = 10  # hidden layers, for a receptive field
EXAMPLES: tuple[Example, ...] = (  # the note's own first; then wider ones, other factors, other dimensions
    (32, 3, 2, 2),
    (64, 3, 2, 2),
    (128, 3, 2, 2),
    (36, 3, 3, 2),
    (144, 3, 3, 2),
    (32, 3, 4, 2),
    (32, 3, 2, 1),
    (32, 3, 2, 3),
)


def compute(bench: Bench) -> Result:
    """Count both networks for a grid of sizes, and time the examples."""
    cases = [(example, "PyTorch") for example in EXAMPLES]
    cases += [((n, k, r, d), "OpenVINO") for n, k, r, d in EXAMPLES if d == 2 and k * r % 2]
    names = {f"time of a hidden layer, n, k, r, d = {case[0]}, {case[1]}": case for case in cases}
    times = bench.trials({name: race_trial(*case, quick=bench.quick) for name, case in names.items()})
    table = [row for name, case in names.items() for row in _rows(*case, times[name])]
    return Result(table, [*_about_costs(table), *_about_times(table)], _checks())


def _checks() -> dict[str, bool]:
    grid = [
        (m * r**d, k, r, d, hidden)
        for m, k, r, d, hidden in product((1, 2), (1, 2, 3), (1, 2, 3), (1, 2, 3), (1, 2))
        if d < 3 or (k * r < 6 and hidden == 1)  # the others take minutes
    ]
    networks = [(layers, hidden, r) for n, k, r, d, hidden in grid for layers in pair(n, k, r, d)]
    return {
        f"formulas and modules agree on operations, parameters and numbers of {len(networks)} networks": all(
            layers.cost(hidden) == counted(layers, hidden) for layers, hidden, _ in networks
        ),
        "formulas and gradients agree on their receptive fields, for each phase": all(
            sorted(side**layers.ndim for side in layers.seen(hidden + 2) * (r // layers.factor))
            == seen_by_gradient(layers, hidden, r)
            for layers, hidden, r in networks
        ),
        "hidden layers in both spaces have the same operations and numbers, in LR space r**d times the "
        "parameters": all(
            (lr.operations, lr.parameters, lr.numbers) == (hr.operations, r**d * hr.parameters, hr.numbers)
            for n, k, r, d, hidden in grid
            for lr, hr in zip(*(layers.cost(hidden)[1:-1] for layers in pair(n, k, r, d)), strict=True)
        ),
        "after l layers an output depends on (r - 1) * (l - 1) more HR pixels along an axis in HR space": all(
            hr.extent(depth) - r * lr.extent(depth) == (r - 1) * (depth - 1)
            for n, k, r, d, _ in grid
            for lr, hr in [pair(n, k, r, d)]
            for depth in (1, 2, DEEP)
        ),
        "lifted to LR space, k * r taps become k + 1, and (k - 1) * r + 1 taps become k": all(
            (lifted(k * r, r), lifted((k - 1) * r + 1, r)) == (k + 1, k)
            for k, r in product((1, 2, 3, 4), (2, 3, 4))
        ),
    }


def lifted(kernel_size: int, r: int) -> int:
    """Return the taps of the smallest LR kernel that `lift_conv` makes of an HR kernel, over all paddings."""
    return min(Axis(kernel_size + r - 1, r, padding).lr("aligned").taps for padding in range(r))


def _rows(example: Example, engine: str, times: Arrays) -> Iterator[Row]:
    """Yield the rows of an example in LR and in HR space; the costs are those that were counted."""
    lr, hr = times["LR"].tolist(), times["HR"].tolist()
    ratios = {"LR": (1.0, 1.0, 1.0), "HR": (gain(hr, lr), least_gain(hr, lr), 1 / least_gain(lr, hr))}
    for layers in pair(*example):
        cost = counted(layers, hidden=1)[1]
        ratio, low, high = ratios[layers.space]
        yield {
            "space": layers.space,
            "r": example[2],
            "maps": layers.maps,
            "kernel": layers.kernel,
            "run by": engine,
            "operations": cost.operations,
            "parameters": cost.parameters,
            "numbers": cost.numbers,
            "LR pixels seen, 1 layer": _span(layers.seen(1)),
            f"{DEEP} layers": _span(layers.seen(DEEP)),
            "ms": 1e3 * median(times[layers.space].tolist()),
            "time / LR time": ratio,
            "at least": low,
            "at most": high,
        }


def _span(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def _about_costs(table: Sequence[Row]) -> Iterator[str]:
    """Yield what the counts say, for the note's example."""
    lr, hr = table[:2]
    n, k, r, d = EXAMPLES[0]
    yield (
        f"Counted for n = {n} and r = {r}, for a hidden layer and an LR pixel: {lr['operations']:,} "
        f"operations in LR space and {hr['operations']:,} in HR space, {lr['numbers']} and {hr['numbers']} "
        f"numbers in feature maps, {lr['parameters']:,} and {hr['parameters']:,} parameters. This is the "
        "note's table."
    )
    yield (
        f"The receptive fields of one layer alone are equally long, {k * r} HR pixels along an axis. They "
        f"touch {lr['LR pixels seen, 1 layer']} LR pixels in LR space, and "
        f"{hr['LR pixels seen, 1 layer']} in HR space, depending on the phase. "
        f"After {DEEP} layers they are {lr[f'{DEEP} layers']} and {hr[f'{DEEP} layers']}. At equal cost the "
        "HR network sees further, by (r - 1) * (l - 1) HR pixels for l layers, which the note does not say."
    )
    (lr_first, _, lr_last), (hr_first, _, hr_last) = (layers.cost(hidden=1) for layers in pair(n, k, r, d))
    yield (
        f"The first and the last layer are not like the hidden ones. The first, from one map, has "
        f"{lr_first.operations:,} operations in LR space and {hr_first.operations:,} in HR space, r**d times "
        f"as many, and as many parameters ({lr_first.parameters:,} and {hr_first.parameters:,}). The last "
        f"has as many operations ({lr_last.operations:,} and {hr_last.operations:,}), and in LR space r**d "
        f"times as many parameters ({lr_last.parameters:,} and {hr_last.parameters:,})."
    )
    taps, least = lifted(k * r, r), (k - 1) * r + 1
    yield (
        f"The HR layer is not one of the LR layers that cost the same: lifted to LR space, {k * r} taps "
        f"along an axis become {taps}, with {taps**d / k**d:.2f} times the operations. The largest HR kernel "
        f"that {k} LR taps hold has {least} taps, and {least**d / (k * r) ** d:.2f} of the operations."
    )


def _about_times(table: Sequence[Row]) -> Iterator[str]:
    """Yield who was faster, and whether equal operations meant equal speed."""
    races: dict[str, list[str]] = {"LR": [], "HR": [], "neither": []}
    for lr, hr in zip(table[::2], table[1::2], strict=True):
        winner = "LR" if float(hr["at least"]) > 1 else "HR" if float(hr["at most"]) < 1 else "neither"
        races[winner].append(f"{_versus(lr, hr)}: {float(hr['time / LR time']):.2f}")
    count = len(table) // 2
    for space, ratios in races.items():
        if ratios:
            layer = "Neither layer" if space == "neither" else f"The layer in {space} space"
            yield (
                f"{layer} is faster beyond chance in {len(ratios)} of {count} races. Time in HR space by "
                f"time in LR space: {'; '.join(ratios)}."
            )
    all_ratios = [float(hr["time / LR time"]) for hr in table[1::2]]
    same = sum(abs(ratio - 1) < SAME for ratio in all_ratios)
    yield (
        f'"At the same speed" is true within {SAME:.0%} in {same} of {count} races on this machine; '
        f"the ratios go from {min(all_ratios):.2f} to {max(all_ratios):.2f} at equal operations."
    )


def _versus(lr: Row, hr: Row) -> str:
    return f"{hr['maps']} maps of {hr['kernel']} against {lr['maps']} of {lr['kernel']}, {hr['run by']}"


def draw(result: Result) -> list[Picture]:
    """Draw the times, and the receptive fields by the number of layers."""
    lr, hr = result.table[::2], result.table[1::2]
    names = [_versus(*rows) for rows in zip(lr, hr, strict=True)]
    return [drawings.times(hr, names), drawings.fields((EXAMPLES[0], EXAMPLES[3]), DEEP)]


STUDY = Study("cost", "The same cost in LR and in HR space", __doc__, compute, draw, ())
