"""All that is measured and trained for one upscale factor."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from subpixel.extras import needing
from subpixel.studies.lab.bench import Arrays, Bench, Report
from subpixel.studies.lab.fit import fit
from subpixel.studies.lab.networks import InHR, lift
from subpixel.studies.lab.super_resolution import SuperResolution
from subpixel.studies.representation.shapes import Network, Shape, equal_operations
from subpixel.studies.representation.times import equal_time

with needing("study"):
    import torch

Grid = dict[str, dict[float, float]]  # validated PSNR after the pilot run, by kind and learning rate

PHOTO = 64  # pixels on a side of the photograph on which the lifted network is checked

LR, HR, TIMED = "LR", "HR, equal operations", "HR, equal time"
FREED, FURTHER = "HR, freed and trained further", "HR, trained further as it is"
LONGER = LONG_LR, LONG_HR = f"{LR}, longer", f"{HR}, longer"
TANH = TANH_LR, TANH_HR = f"{LR}, tanh", f"{HR}, tanh"


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
        self.times = self._bench.trials(
            {name: lambda report: equal_time(lr, hr, size.frame, size.seconds, report)}
        )[name]
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
