"""The note, section 3: of two networks with the same run-time speed, "the representation power of the LR
network is actually greater than the HR network". The LR network has n maps and kernels of k x k in LR space;
the HR network up-samples the input first, and has n / r**2 maps and kernels of kr x kr in HR space. Both cost
the same, and the LR network has r**2 times the weights in its hidden layers.

Here both learn super-resolution: luma, reduced by bicubic interpolation, from the same patches in the same
order, with the same loss, optimizer and number of steps. Each kind has its own learning rate, the best of the
same few by validation after a short pilot run. What is compared is the PSNR on images that no network was
trained on, in pairs: one seed gives both the same patches.

*Equal operations.* Both have three layers with tanh between them, n maps of kernels kr, 3 and 3 in LR space
against n / r**2 maps of kernels kr, kr and kr in HR space (n = 32 for r = 2, n = 36 for r = 3, k = 3). The
first layer is wider in the LR network, so that every layer, the first and the last included, takes exactly as
many multiply-accumulates, and both see about as far (the HR network reads the bicubic image, whose pixels
depend on five LR pixels along an axis). *Equal time.* The HR network has fewer maps or smaller kernels: of
all such, the one with the most multiply-accumulates among those whose measured time in PyTorch is that of
the LR network within 5 %, each in the better of PyTorch's two memory formats.

Neither kind is given a better start: the layers of both add to the bicubic image, which the HR network has
at hand anyway. No layer pads, so that kernels of even size handicap nobody: maps move by half an HR pixel in
each such layer, and the whole network reads at most one HR pixel more after each pixel than before it.

*Freeing.* An HR network is an LR network with structured weights: `lift` makes of the trained one an LR
network with r**2 times the maps and the same output, most of whose weights are zeros or copies. Trained
further for a few steps, all weights free, it is compared with the HR network trained further as it is, each
with the better of the same learning rates. A kernel of kr taps lifts to k + 1, not to k: at equal operations
neither kind contains the other, and the freed network takes more of them.
"""  # noqa: D205 (a page's text, not a summary)

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
Start = Callable[[int], Network]  # the network that a seed's training begins with
Grid = dict[str, dict[float, float]]  # validated PSNR after the pilot run, by kind and learning rate

MAPS = {2: 32, 3: 36}  # n by r
KERNEL = 3  # k
EQUAL = 0.05  # a difference in time that counts as none
ROUNDS = 5  # races among those whose time is near
EXACT = 1e-12  # of values in 0..1, in float64
PHOTO = 64  # pixels on a side of the photograph on which the lifted network is checked

LR, HR, TIMED = "LR", "HR, equal operations", "HR, equal time"
FREED, FURTHER = "HR, freed and trained further", "HR, trained further as it is"
COLOURS = {LR: PHASES[0], HR: PHASES[1], TIMED: PHASES[3], FREED: PHASES[2], FURTHER: PHASES[1]}
FORMATS = (torch.contiguous_format, torch.channels_last)


class Size(NamedTuple):
    """How much is done."""

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1500
    pilot: int = 300
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
    (0, 1), 24, 4, (1e-3, 3e-3), 8, 2, (3e-4, 1e-3),
    patch=8, batch=2, held_back=2, points=4, frame=8, seconds=0.0,
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A network that can be built."""

    kind: type[Network]
    r: int
    maps: int
    kernel_sizes: tuple[int, int, int]

    def build(self, seed: int) -> Network:
        """Return the network with the first weights of a seed."""
        torch.manual_seed(seed)
        return self.kind(self.r, (self.maps, self.maps), self.kernel_sizes)

    @property
    def kernels(self) -> str:
        """Its kernels in words."""
        return ", ".join(f"{size}x{size}" for size in self.kernel_sizes)

    def __str__(self) -> str:
        return f"x{self.r} {self.kind.__name__}, {self.maps} maps, {self.kernels}"


def equal_operations(r: int) -> tuple[Shape, Shape]:
    """Return the LR network and the HR network of the same multiply-accumulates."""
    long = KERNEL * r
    lr = Shape(InLR, r, MAPS[r], (long, KERNEL, KERNEL))
    return lr, Shape(InHR, r, MAPS[r] // r**2, (long, long, long))


class Scale:
    """All that is measured and trained for one upscale factor."""

    def __init__(self, bench: Bench, r: int) -> None:
        self.size, self._bench, self.r = QUICK if bench.quick else Size(), bench, r
        lr, hr = equal_operations(r)
        name = f"times of {lr} and {hr}, {self.size.frame} pixels, {self.size.seconds} s"
        self.times = bench.trials({name: lambda report: equal_time(lr, hr, self.size, report)})[name]
        maps, kernel = (int(self.times[key]) for key in ("maps", "kernel"))
        self.shapes = {LR: lr, HR: hr, TIMED: Shape(InHR, r, maps, (kernel, kernel, kernel))}
        size = self.size
        self.grid, self.trained = self._tuned(
            {label: (str(shape), shape.build) for label, shape in self.shapes.items()},
            *(size.rates, size.pilot, size.steps),
        )
        origin = f"{hr} after {best(self.grid[HR])}, {size.steps}"
        self.further_grid, self.further = self._tuned(
            {FREED: (f"{origin}, freed", self.freed), FURTHER: (f"{origin}, as it is", self.restored)},
            *(size.further_rates, size.further_pilot, size.further_steps),
            stream=1,
        )

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
        weights = self.trained[HR][self.size.seeds.index(seed)]
        network.load_state_dict({key: torch.from_numpy(weights[key]) for key in network.state_dict()})
        return network

    def freed(self, seed: int) -> Network:
        """Return the same as an LR network."""
        return lift(self.restored(seed))  # type: ignore[arg-type]

    def _tuned(
        self,
        starts: Mapping[str, tuple[str, Start]],
        rates: Sequence[float],
        pilot: int,
        steps: int,
        stream: int = 0,
    ) -> tuple[Grid, dict[str, list[Arrays]]]:
        """Train each kind with the learning rate that is best for it after a pilot run.

        Args:
            starts: by kind, what it begins with in words, and made for a seed.
            rates: learning rates to try.
            pilot: steps of a pilot run.
            steps: steps of a run.
            stream: which patches.

        Returns:
            The PSNR after the pilot runs; the learning curves, the weights and the PSNR of the runs by seed.
        """

        def train(runs: Mapping[str, tuple[str, float, int, int]], *, measured: bool) -> dict[str, Arrays]:
            return self._bench.trials({
                name: partial(self._run, starts[label][1], rate, steps, seed, stream, measured=measured)
                for name, (label, rate, steps, seed) in runs.items()
            })  # fmt: skip

        def named(label: str, rate: float, steps: int, seed: int) -> str:
            batches = f"{self.size.batch} patches of {self.size.patch}, {self.size.held_back} held back"
            return f"{starts[label][0]}, rate {rate}, {steps} steps, seed {seed}, {batches}"

        pilots = {(label, rate): named(label, rate, pilot, 0) for label in starts for rate in rates}
        done = train({name: (*key, pilot, 0) for key, name in pilots.items()}, measured=False)
        grid = {
            label: {rate: float(done[pilots[label, rate]]["curve"][-1, 1]) for rate in rates}
            for label in starts
        }
        runs = {
            (label, seed): named(label, best(grid[label]), steps, seed)
            for seed in self.size.seeds
            for label in starts
        }
        done = train(
            {name: (key[0], best(grid[key[0]]), steps, key[1]) for key, name in runs.items()}, measured=True
        )
        return grid, {label: [done[runs[label, seed]] for seed in self.size.seeds] for label in starts}

    def _run(
        self,
        start: Start,
        rate: float,
        steps: int,
        seed: int,
        stream: int,
        report: Report,
        *,
        measured: bool,
    ) -> Arrays:
        """Train a network; return its learning curve, and if it is to be measured its weights and PSNR."""
        network, task = start(seed), self._task
        due = {round(share * steps) for share in np.linspace(0, 1, self.size.points + 1)}
        curve = [(0, task.validate(network, network.radius))]

        def watch(done: int) -> None:
            if done in due:
                curve.append((done, task.validate(network, network.radius)))

        batches = task.batches(seed + 1000 * stream, network.radius)
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
    """Return the maps and the kernel of the largest HR network that takes the time of the LR network.

    Also the time of that network and of the HR network of equal operations, divided by the LR network's.
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
    base = median(first[lr, chosen[lr]])
    near = [shape for shape in shapes if abs(median(first[shape, chosen[shape]]) / base - 1) < 4 * EQUAL]
    times: dict[Shape, list[float]] = {shape: [] for shape in (lr, hr, *near)}
    for seed in range(ROUNDS):
        near_runs = {shape: runs[shape, chosen[shape]] for shape in times}
        again = race(near_runs, size.seconds / ROUNDS, seed, always=list(times))
        for shape, seconds in again.items():
            times[shape] += seconds
        report((seed + 1) / ROUNDS)
    ratios = {shape: gain(times[shape], times[lr]) for shape in times if shape != lr}
    same = [shape for shape in ratios if abs(ratios[shape] - 1) <= EQUAL]
    if same:
        timed = max(same, key=lambda shape: shape.build(0).macs_per_lr_pixel)
    else:
        timed = min(ratios, key=lambda shape: abs(ratios[shape] - 1))
    numbers = {
        "maps": timed.maps, "kernel": timed.kernel_sizes[0], TIMED: ratios[timed], HR: ratios[hr], LR: 1.0,
        "milliseconds": 1e3 * median(times[lr]), "tried": len(shapes),
    }  # fmt: skip
    return {name: np.array(value) for name, value in numbers.items()}


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
            for freed, further in zip(scale.further[FREED], scale.further[FURTHER], strict=True)
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
        for label, runs in (scale.trained | scale.further).items()
    }
    return Result(table, findings, checks, arrays)


def _sets(run: Arrays) -> list[str]:
    return [key for key in run if key.startswith("PSNR ")]


def _rows(scale: Scale) -> Iterator[Row]:
    """Yield a row for each kind of network."""
    networks = {label: shape.build(0) for label, shape in scale.shapes.items()}
    networks |= {FURTHER: networks[HR], FREED: scale.freed(scale.size.seeds[0])}
    for label, runs in (scale.trained | scale.further).items():
        network = networks[label]
        rate = best((scale.grid | scale.further_grid)[label])
        figures = {key: [float(run[key]) for run in runs] for key in _sets(runs[0])}
        sizes = [layer.kernel_size[0] for layer in network.convolutions]
        yield {
            "r": scale.r,
            "network": label,
            "maps": network.convolutions[0].out_channels,
            "kernels": ", ".join(f"{size}x{size}" for size in sizes),
            "weights": network.weights,
            "operations": network.macs_per_lr_pixel,
            "time / LR time": f"{float(scale.times[label]):.2f}" if label in scale.times else "",
            "rate": rate,
            "validation": _mean(runs, lambda run: float(run["curve"][-1, 1])),
            **{
                key: f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"
                for key, values in figures.items()
            },
        }


def _mean(runs: Sequence[Arrays], value: Callable[[Arrays], float]) -> str:
    values = [value(run) for run in runs]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def _about_all(scales: Sequence[Scale]) -> str:
    """Return how often the claim was borne out."""
    key = _sets(scales[0].trained[LR][0])[0]
    said = [
        verdict(_paired(scale.trained[LR], scale.trained[label], key))
        for scale in scales
        for label in (HR, TIMED)
    ]
    return (
        f"Of {len(said)} comparisons (equal operations and equal time, for each upscale factor) on "
        f"{key.removeprefix('PSNR ')}, the LR network has the higher PSNR beyond chance in "
        f"{said.count('more')}, and the lower one in {said.count('less')}. Intervals below are of 95 %, "
        "for the mean of paired differences, one a seed."
    )


def _about(scale: Scale) -> Iterator[str]:
    """Yield what came out for one upscale factor."""
    words = {
        "more": "the LR network represents more, as the note says",
        "less": "the HR network represents more, against the note",
    }
    for label, condition in ((HR, "operations"), (TIMED, "time")):
        yield (
            f"x{scale.r} at equal {condition}, PSNR of the LR network less that of the HR network: "
            f"{_differences(scale.trained[LR], scale.trained[label])}."
            f"{_verdict(scale.trained[LR], scale.trained[label], words)}"
        )
    times, timed = scale.times, scale.shapes[TIMED]
    yield (
        f"x{scale.r}: at equal operations the HR network takes {float(times[HR]):.2f} times as long as the "
        f"LR network in PyTorch, whose frame of {scale.size.frame} x {scale.size.frame} LR pixels takes "
        f"{float(times['milliseconds']):.1f} ms. Of {int(times['tried'])} HR networks up to that size, the "
        f"one with {timed.maps} maps and {timed.kernels} takes {float(times[TIMED]):.2f} times as long."
    )
    words = {
        "more": "freeing the structured weights gains beyond chance",
        "less": "freeing the structured weights loses beyond chance",
    }
    freed, hr = scale.freed(scale.size.seeds[0]), scale.shapes[HR].build(0)
    yield (
        f"x{scale.r}: a trained HR network that is lifted, freed and trained for {scale.size.further_steps} "
        f"more steps, less the one trained further as it is: "
        f"{_differences(scale.further[FREED], scale.further[FURTHER])}."
        f"{_verdict(scale.further[FREED], scale.further[FURTHER], words)} The freed network has "
        f"{freed.weights / hr.weights:.1f} times the weights and takes "
        f"{freed.macs_per_lr_pixel / hr.macs_per_lr_pixel:.2f} times the operations."
    )
    grids = (scale.grid | scale.further_grid).items()
    rows = (
        f"{label}: {', '.join(f'{db:.2f} at {rate:g}' for rate, db in rates.items())}"
        for label, rates in grids
    )
    yield f"x{scale.r}, learning rates, validated PSNR in dB after the pilot run. {'; '.join(rows)}."


def _paired(one: Sequence[Arrays], other: Sequence[Arrays], key: str) -> list[float]:
    return [float(a[key] - b[key]) for a, b in zip(one, other, strict=True)]


def _differences(one: Sequence[Arrays], other: Sequence[Arrays]) -> str:
    texts = []
    for key in _sets(one[0]):
        values = _paired(one, other, key)
        low, high = interval(values)
        texts.append(f"{np.mean(values):+.3f} dB on {key.removeprefix('PSNR ')} ({low:+.3f} to {high:+.3f})")
    return ", ".join(texts)


def _verdict(one: Sequence[Arrays], other: Sequence[Arrays], words: Mapping[str, str]) -> str:
    """Return what the set with the most images says, which is the first."""
    key = _sets(one[0])[0]
    said = verdict(_paired(one, other, key))
    return f" On {key.removeprefix('PSNR ')}: {words.get(said, said)}."


def draw(result: Result) -> list[Picture]:
    """Draw the learning curves, of the first training and of the further one."""
    return [
        _draw_curves(
            result, "learning-curves", (LR, HR, TIMED),
            "Validated PSNR over training, mean and range over the seeds, for both upscale factors: the LR "
            "network, the HR network of equal operations, and the HR network of equal time.",
        ),
        _draw_curves(
            result, "freeing", (FREED, FURTHER),
            "Validated PSNR of trained HR networks as training goes on, mean and range over the seeds: "
            "lifted to LR space with all weights free, and as they are. Both begin with the same output.",
        ),
    ]  # fmt: skip


def _draw_curves(result: Result, name: str, labels: Sequence[str], caption: str) -> Picture:
    figure = Figure((8, 3.6))
    for axes, r in zip(figure.subplots(1, len(MAPS)), MAPS, strict=True):
        for label, style in zip(labels, ("o-", "s--", "^:"), strict=False):
            curves = result.arrays[f"x{r}, {label}"]
            steps, values = curves[0, :, 0], curves[:, :, 1]
            axes.plot(steps, values.mean(0), style, color=COLOURS[label], label=label, markersize=4)
            axes.fill_between(steps, values.min(0), values.max(0), color=COLOURS[label], alpha=0.3)
        axes.set_title(f"x{r}")
        axes.set_xlabel("steps")
        axes.set_ylabel("validated PSNR (dB)")
        axes.legend(loc="lower right")
    return Picture(name, caption, figure)


STUDY = Study("representation", "What LR and HR networks represent at equal cost", __doc__, compute, draw)
