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
runs each layer in the better of its two memory formats. OpenVINO, which this package's networks run in, has
the layers whose kernels are odd in both spaces. The ratio is the median over the rounds. The true one lies
below the lower bound by chance in at most one race in 16, and above the upper bound as rarely.

Where k * r is even, as in the note's example, an HR kernel has no middle: a layer that keeps the size is
padded by one pixel more at one end, and moves its maps by half an HR pixel.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from statistics import median

import numpy as np

from subpixel.engines import create
from subpixel.extras import needing
from subpixel.geometry import Axis
from subpixel.measure.race import gain, least_gain, race
from subpixel.network import LRConvolution, LRNetwork
from subpixel.studies.lab.bench import Arrays, Bench, Trial
from subpixel.studies.lab.layers import CONV, Layers, counted, pair, seen_by_gradient
from subpixel.studies.lab.palette import PHASES, TEXT
from subpixel.studies.lab.study import Picture, Result, Row, Study

with needing("study"):
    import torch
    from matplotlib.figure import Figure

Example = tuple[int, int, int, int]  # n, k, r, d

FRAMES = {1: (57_600,), 2: (180, 320), 3: (36, 40, 40)}  # LR pixels
QUICK_FRAMES = {1: (256,), 2: (16, 16), 3: (6, 6, 6)}
SECONDS = 15.0  # of each race
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
_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def compute(bench: Bench) -> Result:
    """Count both networks for a grid of sizes, and time the examples."""
    cases = [(example, "PyTorch") for example in EXAMPLES]
    cases += [((n, k, r, d), "OpenVINO") for n, k, r, d in EXAMPLES if d == 2 and k * r % 2]
    names = {f"time of a hidden layer, n, k, r, d = {case[0]}, {case[1]}": case for case in cases}
    times = bench.trials({name: _trial(*case, quick=bench.quick) for name, case in names.items()})
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


def _trial(example: Example, engine: str, *, quick: bool) -> Trial:
    frame = (QUICK_FRAMES if quick else FRAMES)[example[-1]]
    seconds = 0.05 if quick else SECONDS

    def run(_report: object) -> Arrays:
        make = _in_openvino if engine == "OpenVINO" else _in_pytorch
        runs = {
            (layers.space, layout): run
            for layers in pair(*example)
            for layout, run in make(layers, frame).items()
        }
        times = race(runs, seconds, seed=0, always=list(runs))
        best = {
            space: min((times[name] for name in times if name[0] == space), key=median)
            for space in ("LR", "HR")
        }
        return {space: np.array(rounds) for space, rounds in best.items()}

    return run


def _maps(layers: Layers, frame: Sequence[int]) -> torch.Tensor:
    """Return the input of a hidden layer that is not padded."""
    size = [pixels * layers.factor + layers.kernel_size - 1 for pixels in frame]
    return torch.rand(1, layers.maps, *size, generator=torch.Generator().manual_seed(0))


def _in_pytorch(layers: Layers, frame: Sequence[int]) -> Mapping[str, Callable[[], object]]:
    """Return a hidden layer as something to run, by memory format."""

    def runner(layout: torch.memory_format) -> Callable[[], object]:
        maps = _maps(layers, frame).contiguous(memory_format=layout)
        layer = CONV[layers.ndim](layers.maps, layers.maps, layers.kernel_size)
        layer.weight.data = layer.weight.data.contiguous(memory_format=layout)

        def run() -> object:
            with torch.inference_mode():
                return layer(maps)

        return run

    formats = {"channels first": torch.contiguous_format}
    if layers.ndim in _LAST:
        formats["channels last"] = _LAST[layers.ndim]
    return {name: runner(layout) for name, layout in formats.items()}


def _in_openvino(layers: Layers, frame: Sequence[int]) -> Mapping[str, Callable[[], object]]:
    """Return a hidden layer as something to run."""
    maps, shape = _maps(layers, frame).numpy(), [layers.maps] * 2 + [layers.kernel_size] * 2
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    network = LRNetwork(1, (LRConvolution(weight, np.zeros(layers.maps, np.float32)),))
    engine = create(network, engine="openvino", precision="f32")
    return {"its own format": lambda: engine(maps)}


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
    return [_draw_times(result.table[::2], result.table[1::2]), _draw_fields()]


def _draw_times(lr: Sequence[Row], hr: Sequence[Row]) -> Picture:
    figure = Figure((8, 0.45 * len(hr) + 1.2))
    axes = figure.subplots()
    ratios, low, high = (
        np.array([float(row[name]) for row in hr]) for name in ("time / LR time", "at least", "at most")
    )
    bounds = np.maximum([ratios - low, high - ratios], 0)
    places = np.arange(len(hr))
    axes.barh(places, ratios, 0.6, color=PHASES[0], xerr=bounds, ecolor=TEXT)
    for place, ratio, end in zip(places, ratios, np.maximum(ratios, high), strict=True):
        axes.text(float(end) + 0.1, float(place), f"{ratio:.2f}", va="center")
    axes.set_yticks(places, [_versus(*rows) for rows in zip(lr, hr, strict=True)])
    axes.invert_yaxis()
    axes.axvline(1, color=PHASES[5], label="same speed")
    axes.set_xlim(0, 1.12 * float(high.max()))
    axes.set_xlabel("time in HR space / time in LR space")
    axes.legend(loc="lower right")
    caption = (
        "The time of a hidden layer in HR space, divided by that of the layer in LR space with exactly as "
        "many operations. Where a bar is longer than 1 the LR layer is faster; the dark lines span the "
        "bounds."
    )
    return Picture("times", caption, figure)


def _draw_fields() -> Picture:
    figure = Figure((8, 3.6))
    depths = range(1, DEEP + 1)
    both = figure.subplots(1, 2, sharey=True)
    for axes, (n, k, r, d) in zip(both, (EXAMPLES[0], EXAMPLES[3]), strict=True):
        lr, hr = pair(n, k, r, d)
        seen = np.array([hr.seen(depth) for depth in depths])
        axes.fill_between(depths, seen.min(1), seen.max(1), color=PHASES[1], alpha=0.4)
        axes.plot(depths, seen.mean(1), "s-", color=PHASES[1], label=f"HR space, {hr.kernel}, mean of phases")
        axes.plot(depths, [lr.extent(depth) for depth in depths], "o-", label=f"LR space, {lr.kernel}")
        axes.set_title(f"r = {r}")
        axes.set_xlabel("layers")
        axes.legend(loc="upper left")
    both[0].set_ylabel("LR pixels along an axis")
    caption = (
        "LR pixels that an output depends on, along an axis, by the number of layers. The band spans the "
        "phases of HR pixels. Both networks cost the same, and the one in HR space sees further with every "
        "layer."
    )
    return Picture("receptive-fields", caption, figure)


STUDY = Study("cost", "The same cost in LR and in HR space", __doc__, compute, draw, ())
