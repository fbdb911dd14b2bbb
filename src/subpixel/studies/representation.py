"""The note, section 3: of two networks with the same run-time speed, "the representation power of the LR
network is actually greater than the HR network". The LR network has n maps and kernels of k x k in LR space;
the HR network up-samples the input first, and has n / r**2 maps and kernels of kr x kr in HR space. Both cost
the same, and the LR network has r**2 times the weights in its hidden layers.

Here both learn super-resolution: luma, reduced by bicubic interpolation, from the same patches in the same
order, with the same loss, optimizer and number of steps. Each kind has its own learning rate, the best of the
same few by validation after a short pilot run. What is compared is the PSNR on images that no network was
trained on, in pairs: one seed gives both the same patches.

*Equal operations.* Both have three layers with ReLUs between them, n maps of kernels kr, 3 and 3 in LR space
against n / r**2 maps of kernels kr, kr and kr in HR space (n = 32 for r = 2, n = 36 for r = 3, k = 3). The
first layer is wider in the LR network, so that every layer, the first and the last included, takes exactly as
many multiply-accumulates, and both see about as far (the HR network reads the bicubic image, whose pixels
depend on five LR pixels along an axis).

*Equal time.* The HR network has fewer maps or smaller kernels: of all such whose measured time in PyTorch is
at most that of the LR network, with 5 % more allowed, the three with the most multiply-accumulates, and of
these the best one after the pilot run. Each network is timed in the better of PyTorch's two memory formats.

Neither kind is given a better start: the layers of both add to the bicubic image, which the HR network has
at hand anyway. No layer pads, so that kernels of even size handicap nobody: maps move by half an HR pixel in
each such layer, and the whole network reads at most one HR pixel more after each pixel than before it.

*Longer, and with tanh.* What a network can represent shows only at the end of its training, and if training
gets there. For the first upscale factor the networks of equal operations are therefore trained once more for
longer, and once with tanh, as the paper behind the note does, with learning rates of its own.

*Freeing.* An HR network is an LR network with structured weights: `lift` makes of the trained one an LR
network with r**2 times the maps and the same output, most of whose weights are zeros or copies. Trained
further for a few steps, all weights free, it is compared with the HR network trained further as it is, each
with the better of the same learning rates. A kernel of kr taps lifts to k + 1, not to k: at equal operations
neither kind contains the other, and the freed network takes more of them.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import NamedTuple

import numpy as np

from subpixel.extras import needing
from subpixel.measure.race import gain, race
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.networks import InHR, InLR, lift
from subpixel.studies.lab.palette import PHASES
from subpixel.studies.lab.study import Picture, Result, Row, Study, interval, verdict
from subpixel.studies.lab.super_resolution import SuperResolution

with needing("study"):
    import torch
    from matplotlib.figure import Figure

Network = InLR | InHR
Grid = dict[str, dict[float, float]]  # validated PSNR after the pilot run, by kind and learning rate

MAPS = {2: 32, 3: 36}  # n by r
KERNEL = 3  # k
EQUAL = 0.05  # a difference in time that counts as none
NEAR = 0.2  # a difference in time after which it is measured once more
TRIED = 3  # networks of equal time that are trained for a pilot run
ROUNDS = 5  # races among those whose time is near
EXACT = 1e-12  # of values in 0..1, in float64
PHOTO = 64  # pixels on a side of the photograph on which the lifted network is checked

LR, HR, TIMED = "LR", "HR, equal operations", "HR, equal time"
FREED, FURTHER = "HR, freed and trained further", "HR, trained further as it is"
LONGER = LONG_LR, LONG_HR = f"{LR}, longer", f"{HR}, longer"
TANH = TANH_LR, TANH_HR = f"{LR}, tanh", f"{HR}, tanh"
COLOURS = {LR: PHASES[0], HR: PHASES[1], TIMED: PHASES[3], FREED: PHASES[2], FURTHER: PHASES[1]}
COLOURS |= {LONG_LR: PHASES[0], LONG_HR: PHASES[1], TANH_LR: PHASES[4], TANH_HR: PHASES[5]}
COMPARISONS = {
    (LR, HR): "equal operations",
    (LR, TIMED): "equal time",
    LONGER: "equal operations, longer",
    TANH: "equal operations, tanh",
}
FORMATS = (torch.contiguous_format, torch.channels_last)


class Size(NamedTuple):
    """How much is done."""

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1500
    pilot: int = 400
    longer: int = 4000
    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    further_steps: int = 300
    further_pilot: int = 100
    further_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    patch: int = 24
    batch: int = 8
    held_back: int = 18
    points: int = 15  # of a learning curve
    frame: int = 128  # LR pixels on a side, to measure time
    seconds: float = 20.0  # of the race of all that are timed, and again of the races of those that are near


QUICK = Size(
    (0, 1), 16, 4, 24, (1e-3, 3e-3), 8, 2, (3e-4, 1e-3),
    patch=8, batch=2, held_back=2, points=4, frame=8, seconds=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A network that can be built."""

    kind: type[Network]
    r: int
    maps: int
    kernel_sizes: tuple[int, int, int]
    tanh: bool = False  # instead of ReLU

    def build(self, seed: int) -> Network:
        """Return the network with the first weights of a seed."""
        torch.manual_seed(seed)
        activation = torch.tanh if self.tanh else torch.relu
        return self.kind(self.r, (self.maps, self.maps), self.kernel_sizes, activation=activation)

    @property
    def kernels(self) -> str:
        """Its kernels in words."""
        return ", ".join(f"{size}x{size}" for size in self.kernel_sizes)

    def __str__(self) -> str:
        activation = "tanh" if self.tanh else "ReLU"
        return f"x{self.r} {self.kind.__name__}, {self.maps} maps, {self.kernels}, {activation}"


def equal_operations(r: int) -> tuple[Shape, Shape]:
    """Return the LR network and the HR network of the same multiply-accumulates."""
    long = KERNEL * r
    lr = Shape(InLR, r, MAPS[r], (long, KERNEL, KERNEL))
    return lr, Shape(InHR, r, MAPS[r] // r**2, (long, long, long))


class Begin(NamedTuple):
    """What training begins with."""

    name: str  # says all that the network depends on, except the seed
    network: Callable[[int], Network]  # made for a seed
    stream: int = 0  # which patches


class Scale:
    """All that is measured and trained for one upscale factor."""

    def __init__(self, bench: Bench, r: int) -> None:
        self.size, self._bench, self.r = QUICK if bench.quick else Size(), bench, r
        size, (lr, hr) = self.size, equal_operations(r)
        timed = self._best_of_equal_time(lr, hr)
        self.shapes = {LR: lr, HR: hr, TIMED: timed}
        begins = {label: Begin(str(shape), shape.build) for label, shape in self.shapes.items()}
        self.grid = self._pilot(begins, size.rates, size.pilot)
        self.runs = self._train(begins, size.steps)
        origin = f"{hr} after {best(self.grid[HR])}, {size.steps}"
        further = {
            FREED: Begin(f"{origin}, freed", self.freed, 1),
            FURTHER: Begin(f"{origin}, as it is", self.restored, 1),
        }
        self.grid |= self._pilot(further, size.further_rates, size.further_pilot)
        self.runs |= self._train(further, size.further_steps)

    def _best_of_equal_time(self, lr: Shape, hr: Shape) -> Shape:
        """Time the networks, and return the best HR network that takes no longer than the LR network."""
        size = self.size
        name = f"times of {lr} and up to {hr}, {size.frame} pixels, {size.seconds} s"
        self.times = self._bench.trials({name: lambda report: equal_time(lr, hr, size, report)})[name]
        shapes = {
            f"{maps} maps, {kernel}": Shape(InHR, self.r, int(maps), (int(kernel),) * 3)
            for maps, kernel in zip(self.times["maps"], self.times["kernel"], strict=True)
        }
        begins = {label: Begin(str(shape), shape.build) for label, shape in shapes.items()}
        grid = self._pilot(begins, size.rates, size.pilot)
        chosen = max(grid, key=lambda label: max(grid[label].values()))
        self.ratios = {LR: 1.0, HR: float(self.times["whole"])}
        self.ratios[TIMED] = float(self.times["ratio"][list(shapes).index(chosen)])
        return shapes[chosen]

    def train_variants(self) -> None:
        """Train the networks of equal operations for more steps, and with tanh."""
        size = self.size
        for label, longer, tanh in ((LR, LONG_LR, TANH_LR), (HR, LONG_HR, TANH_HR)):
            shape = self.shapes[label]
            self.shapes |= {longer: shape, tanh: replace(shape, tanh=True)}
            self.grid[longer] = self.grid[label]
        begins = {label: Begin(str(shape), shape.build) for label, shape in self.shapes.items()}
        with_tanh = {label: begins[label] for label in TANH}
        self.grid |= self._pilot(with_tanh, size.rates, size.pilot)
        self.runs |= self._train(with_tanh, size.steps)
        self.runs |= self._train({label: begins[label] for label in LONGER}, size.longer)

    @cached_property
    def _task(self) -> SuperResolution:
        """Images, which a study whose trials are all done does not read."""
        size = self.size
        return SuperResolution(
            self._bench.samples, self.r, patch=size.patch, batch=size.batch, held_back=size.held_back
        )

    def restored(self, seed: int) -> Network:
        """Return the trained HR network of equal operations."""
        network = self.shapes[HR].build(seed)
        weights = self.runs[HR][self.size.seeds.index(seed)]
        network.load_state_dict({key: torch.from_numpy(weights[key]) for key in network.state_dict()})
        return network

    def freed(self, seed: int) -> Network:
        """Return the same as an LR network."""
        return lift(self.restored(seed))  # type: ignore[arg-type]

    def _name(self, begin: Begin, rate: float, steps: int, seed: int) -> str:
        batches = f"{self.size.batch} patches of {self.size.patch}, {self.size.held_back} held back"
        return f"{begin.name}, rate {rate}, {steps} steps, seed {seed}, {batches}"

    def _pilot(self, begins: Mapping[str, Begin], rates: Sequence[float], steps: int) -> Grid:
        """Return the validated PSNR of each kind after a short run with each learning rate."""
        names = {
            (label, rate): self._name(begin, rate, steps, 0)
            for label, begin in begins.items()
            for rate in rates
        }
        done = self._bench.trials({
            name: partial(self._run, begins[label], rate, steps, 0, measured=False)
            for (label, rate), name in names.items()
        })  # fmt: skip
        return {
            label: {rate: float(done[names[label, rate]]["curve"][-1, 1]) for rate in rates}
            for label in begins
        }

    def _train(self, begins: Mapping[str, Begin], steps: int) -> dict[str, list[Arrays]]:
        """Return curves, weights and PSNR by kind and seed, each kind trained at its own learning rate."""
        rates = {label: best(self.grid[label]) for label in begins}
        names = {
            (label, seed): self._name(begin, rates[label], steps, seed)
            for seed in self.size.seeds
            for label, begin in begins.items()
        }
        done = self._bench.trials({
            name: partial(self._run, begins[label], rates[label], steps, seed, measured=True)
            for (label, seed), name in names.items()
        })  # fmt: skip
        return {label: [done[names[label, seed]] for seed in self.size.seeds] for label in begins}

    def _run(
        self, begin: Begin, rate: float, steps: int, seed: int, report: Report, *, measured: bool
    ) -> Arrays:
        """Train a network; return its learning curve, and if it is to be measured its weights and PSNR."""
        network, task = begin.network(seed), self._task
        due = {round(share * steps) for share in np.linspace(0, 1, self.size.points + 1)}
        curve = [(0, task.validate(network, network.radius))]

        def watch(done: int) -> None:
            if done in due:
                curve.append((done, task.validate(network, network.radius)))

        batches = task.batches(seed + 1000 * begin.stream, network.radius)
        fit(network, batches, steps=steps, rate=rate, report=report, watch=watch)
        results = {"curve": np.array(curve)}
        if measured:
            results |= {key: value.numpy() for key, value in network.state_dict().items()}
            sets = task.psnr(network, network.radius)
            results |= {f"PSNR {name}": np.array(value) for name, value in sets.items()}
        return results

    def difference(self) -> float:
        """Return how far the lifted networks are from the trained HR networks on a photograph, in float64."""
        photo = next(iter(self._bench.samples.tests.values()))[0][:PHOTO, :PHOTO]
        plane = torch.from_numpy(photo / 255.0)[None, None]
        errors = []
        for seed in self.size.seeds:
            network = self.restored(seed).double()
            freed = lift(network)  # type: ignore[arg-type]
            spare = freed.radius - network.radius
            with torch.no_grad():
                expected = network(plane[..., spare : len(photo) - spare, spare : photo.shape[1] - spare])
                errors.append(float((freed(plane) - expected).abs().max()))
        return max(errors)


def best(grid: Mapping[float, float]) -> float:
    """Return the learning rate with the highest PSNR."""
    return max(grid, key=lambda rate: grid[rate])


def equal_time(lr: Shape, hr: Shape, size: Size, report: Report) -> Arrays:
    """Return the maps and the kernel of the largest HR networks that take no longer than the LR network.

    Also their times divided by that of the LR network, "ratio", and that of the HR network of equal
    operations, "whole".
    """
    shapes = [
        Shape(InHR, hr.r, maps, (kernel, kernel, kernel))
        for maps in range(1, hr.maps + 1)
        for kernel in range(2, hr.kernel_sizes[0] + 1)
    ]
    runs = {
        (shape, index): _inference(shape, size.frame, layout)
        for shape in (lr, *shapes)
        for index, layout in enumerate(FORMATS)
    }
    first = race(runs, size.seconds, seed=0, always=list(runs))
    chosen = {
        shape: min(range(len(FORMATS)), key=lambda index: median(first[shape, index]))
        for shape in (lr, *shapes)
    }
    ratios = {shape: gain(first[shape, chosen[shape]], first[lr, chosen[lr]]) for shape in shapes}
    near = [shape for shape in shapes if ratios[shape] < 1 + NEAR]
    times: dict[Shape, list[float]] = {shape: [] for shape in (lr, hr, *near)}
    for seed in range(ROUNDS):
        again = {shape: runs[shape, chosen[shape]] for shape in times}
        for shape, seconds in race(again, size.seconds / ROUNDS, seed, always=list(times)).items():
            times[shape] += seconds
        report((seed + 1) / ROUNDS)
    ratios = {shape: gain(seconds, times[lr]) for shape, seconds in times.items()}
    quickest = min(
        near, key=lambda shape: ratios[shape], default=hr
    )  # something to train, whatever the noise
    same = [shape for shape in near if ratios[shape] <= 1 + EQUAL] or [quickest]
    largest = _largest(same, TRIED)
    return {
        "maps": np.array([shape.maps for shape in largest]),
        "kernel": np.array([shape.kernel_sizes[0] for shape in largest]),
        "ratio": np.array([ratios[shape] for shape in largest]),
        "whole": np.array(ratios[hr]),
        "milliseconds": np.array(1e3 * median(times[lr])),
    }


def _largest(shapes: Sequence[Shape], count: int) -> list[Shape]:
    """Return the shapes of the most multiply-accumulates."""
    return sorted(shapes, key=lambda shape: shape.build(0).macs_per_lr_pixel, reverse=True)[:count]


def _inference(shape: Shape, frame: int, layout: torch.memory_format) -> Callable[[], object]:
    """Return the network as something to run on a frame."""
    network = shape.build(0).to(memory_format=layout)  # type: ignore[call-overload]
    side = frame + 2 * network.radius
    plane = torch.rand(1, 1, side, side).contiguous(memory_format=layout)

    def run() -> object:
        with torch.inference_mode():
            return network(plane)

    return run


def compute(bench: Bench) -> Result:
    """Train all networks for both upscale factors and compare them."""
    scales = [Scale(bench, r) for r in MAPS]
    scales[0].train_variants()
    table = [row for scale in scales for row in _rows(scale)]
    errors = [scale.difference() for scale in scales]
    checks = {
        "at equal operations each layer takes exactly as many multiply-accumulates": all(
            [layer.weight.numel() for layer in lr.build(0).convolutions]
            == [r**2 * layer.weight.numel() for layer in hr.build(0).convolutions]
            for r in MAPS
            for lr, hr in [equal_operations(r)]
        ),
        f"trained HR networks, lifted, compute the same on a photograph, in float64 within {EXACT:g} of "
        f"values in 0..1": max(errors) <= EXACT,
        "lifted networks begin at the validated PSNR of those that are trained further as they are, within "
        "0.001 dB in float32": all(
            abs(freed["curve"][0, 1] - further["curve"][0, 1]) < 1e-3
            for scale in scales
            for freed, further in zip(scale.runs[FREED], scale.runs[FURTHER], strict=True)
        ),
    }
    findings = [_about_all(scales), *(finding for scale in scales for finding in _about(scale))]
    findings.append(
        f"Trained HR networks, lifted, change their output by at most {max(errors):.1e} on a photograph of "
        "values in 0..1, in float64."
    )
    arrays = {
        f"x{scale.r}, {label}": np.array([run["curve"] for run in runs])
        for scale in scales
        for label, runs in scale.runs.items()
    }
    return Result(table, findings, checks, arrays)


def _sets(run: Arrays) -> list[str]:
    return [key for key in run if key.startswith("PSNR ")]


def _rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each kind of network."""
    networks = {label: shape.build(0) for label, shape in scale.shapes.items()}
    networks |= {FURTHER: networks[HR], FREED: scale.freed(scale.size.seeds[0])}
    for label, runs in scale.runs.items():
        network = networks[label]
        sizes = [layer.kernel_size[0] for layer in network.convolutions]
        figures = {"validated": [float(run["curve"][-1, 1]) for run in runs]}
        figures |= {key: [float(run[key]) for run in runs] for key in _sets(runs[0])}
        yield {
            "r": scale.r,
            "network": label,
            "steps": _steps(scale, label),
            "maps": network.convolutions[0].out_channels,
            "kernels": ", ".join(f"{size}x{size}" for size in sizes),
            "weights": network.weights,
            "operations": network.macs_per_lr_pixel,
            "time / LR time": f"{scale.ratios[label]:.2f}" if label in scale.ratios else "",
            "rate": best(scale.grid[label]),
            **{key: f"{np.mean(dB):.3f} ± {np.std(dB, ddof=1):.3f}" for key, dB in figures.items()},
        }


def _steps(scale: Scale, label: str) -> int:
    return int(scale.runs[label][0]["curve"][-1, 0])


def _about_all(scales: Sequence[Scale]) -> str:
    """Return how often the claim was borne out."""
    key = _sets(scales[0].runs[LR][0])[0]
    said = {
        f"x{scale.r} at {condition}": verdict(_paired(scale, *pair, key))
        for scale in scales
        for pair, condition in COMPARISONS.items()
        if pair[0] in scale.runs
    }
    lists = {
        word: "; ".join(name for name, verdict in said.items() if verdict == word) or "none"
        for word in ("more", "less")
    }
    return (
        f"Of {len(said)} comparisons on {key.removeprefix('PSNR ')} the LR network has the higher PSNR "
        f"beyond chance in {[*said.values()].count('more')} ({lists['more']}), the lower one in "
        f"{[*said.values()].count('less')} ({lists['less']}). Intervals below are of 95 %, for the mean of "
        "paired differences, one a seed."
    )


def _about(scale: Scale) -> Iterator[str]:
    """Yield what came out for one upscale factor."""
    words = {
        "more": "the LR network does better, as the note says",
        "less": "the HR network does better, against the note",
    }
    for (lr, hr), condition in COMPARISONS.items():
        if lr in scale.runs:
            yield (
                f"x{scale.r} at {condition}, after {_steps(scale, lr):,} steps, PSNR of the LR network less "
                f"that of the HR network: {_differences(scale, lr, hr, words)}"
            )
    timed = scale.shapes[TIMED]
    yield (
        f"x{scale.r}: at equal operations the HR network takes {scale.ratios[HR]:.2f} times as long as the "
        f"LR network in PyTorch, whose frame of {scale.size.frame} x {scale.size.frame} LR pixels takes "
        f"{float(scale.times['milliseconds']):.1f} ms. The HR network of equal time has {timed.maps} maps "
        f"and {timed.kernels}, and takes {scale.ratios[TIMED]:.2f} times as long."
    )
    words = {"more": "freeing gains beyond chance", "less": "freeing loses beyond chance"}
    freed, whole = scale.freed(scale.size.seeds[0]), scale.shapes[HR].build(0)
    yield (
        f"x{scale.r}: PSNR of a trained HR network that is lifted, freed and trained for "
        f"{scale.size.further_steps} more steps, less that of the one trained further as it is: "
        f"{_differences(scale, FREED, FURTHER, words)} The freed network has "
        f"{freed.weights / whole.weights:.1f} times the weights and takes "
        f"{freed.macs_per_lr_pixel / whole.macs_per_lr_pixel:.2f} times the operations."
    )
    rows = (
        f"{label}: {', '.join(f'{db:.2f} at {rate:g}' for rate, db in rates.items())}"
        for label, rates in scale.grid.items()
        if label not in LONGER
    )
    yield f"x{scale.r}, learning rates, validated PSNR in dB after the pilot run. {'; '.join(rows)}."


def _paired(scale: Scale, one: str, other: str, key: str) -> list[float]:
    return [float(a[key] - b[key]) for a, b in zip(scale.runs[one], scale.runs[other], strict=True)]


def _differences(scale: Scale, one: str, other: str, words: Mapping[str, str]) -> str:
    """Return the differences on each set, and what the set with the most images, the first, says."""
    sets = {key.removeprefix("PSNR "): _paired(scale, one, other, key) for key in _sets(scale.runs[one][0])}
    texts = []
    for name, values in sets.items():
        low, high = interval(values)
        texts.append(f"{np.mean(values):+.3f} dB on {name} ({low:+.3f} to {high:+.3f})")
    first, values = next(iter(sets.items()))
    said = verdict(values)
    return f"{', '.join(texts)}. On {first}: {words.get(said, said)}."


def draw(result: Result) -> list[Picture]:
    """Draw the learning curves, of the first training and of the further one."""
    return [
        _draw_curves(
            result, "learning-curves", [[(r, label) for label in (LR, HR, TIMED)] for r in MAPS],
            "Validated PSNR over training, mean and range over the seeds, for both upscale factors: the LR "
            "network, the HR network of equal operations, and the HR network of equal time.",
        ),
        _draw_curves(
            result, "variants", [[(2, label) for label in pair] for pair in (LONGER, TANH)],
            "Validated PSNR over training, mean and range over the seeds, of the networks of equal "
            "operations for x2: trained for longer, and with tanh instead of ReLU.",
        ),
        _draw_curves(
            result, "freeing", [[(r, label) for label in (FREED, FURTHER)] for r in MAPS],
            "Validated PSNR of trained HR networks as training goes on, mean and range over the seeds: "
            "lifted to LR space with all weights free, and as they are. Both begin with the same output.",
        ),
    ]  # fmt: skip


def _draw_curves(
    result: Result, name: str, panels: Sequence[Sequence[tuple[int, str]]], caption: str
) -> Picture:
    figure = Figure((8, 3.6))
    for axes, lines in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for (r, label), style in zip(lines, ("o-", "s--", "^:"), strict=False):
            curves = result.arrays[f"x{r}, {label}"]
            steps, values = curves[0, :, 0], curves[:, :, 1]
            axes.plot(steps, values.mean(0), style, color=COLOURS[label], label=label, markersize=4)
            axes.fill_between(steps, values.min(0), values.max(0), color=COLOURS[label], alpha=0.3)
        axes.set_title(f"x{lines[0][0]}")
        axes.set_xlabel("steps")
        axes.set_ylabel("validated PSNR (dB)")
        axes.legend(loc="lower right")
        # The first steps, far below, would flatten what is compared.
        axes.set_ylim(bottom=min(result.arrays[f"x{r}, {label}"][:, 1:, 1].min() for r, label in lines))
    return Picture(name, caption, figure)


STUDY = Study("representation", "What LR and HR networks represent at equal cost", __doc__, compute, draw)
