"""The hidden layers of an example in LR and in HR space, timed by turns."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

from subpixel.engines import create
from subpixel.extras import needing
from subpixel.measure.race import race
from subpixel.network import LRConvolution, LRNetwork
from subpixel.studies.lab.bench import Arrays, Trial
from subpixel.studies.lab.layers import CONV, Layers, pair

with needing("study"):
    import torch

Example = tuple[int, int, int, int]  # n, k, r, d

FRAMES = {1: (57_600,), 2: (180, 320), 3: (36, 40, 40)}  # LR pixels
QUICK_FRAMES = {1: (256,), 2: (16, 16), 3: (6, 6, 6)}
SECONDS = 15.0  # of each race
_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}


def race_trial(example: Example, engine: str, *, quick: bool) -> Trial:
    """Return the trial that times the hidden layers of an example in LR and in HR space by turns."""
    frame = (QUICK_FRAMES if quick else FRAMES)[example[-1]]
    seconds = 0.05 if quick else SECONDS

    def run(_report: object) -> Arrays:
        make = in_openvino if engine == "OpenVINO" else in_pytorch
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


def in_pytorch(layers: Layers, frame: Sequence[int]) -> Mapping[str, Callable[[], object]]:
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


def in_openvino(layers: Layers, frame: Sequence[int]) -> Mapping[str, Callable[[], object]]:
    """Return a hidden layer as something to run."""
    maps, shape = _maps(layers, frame).numpy(), [layers.maps] * 2 + [layers.kernel_size] * 2
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    network = LRNetwork(1, (LRConvolution(weight, np.zeros(layers.maps, np.float32)),))
    engine = create(network, engine="openvino", precision="f32")
    return {"its own format": lambda: engine(maps)}
