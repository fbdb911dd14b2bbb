"""What engines are timed on: shipped networks, and random ones of the shapes that run in real time."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from subpixel.engines import create
from subpixel.network import LRConvolution, LRNetwork, Skip, bicubic, load

Planes = NDArray[np.float32]


class Case(NamedTuple):
    """A network, and the size of the image that it enlarges."""

    name: str
    make: Callable[[], LRNetwork]
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.name} {self.width}x{self.height}"

    def shrunk(self, times: int) -> "Case":
        return self._replace(width=self.width // times, height=self.height // times)


def random(upscale_factor: int, channels: Sequence[int], skip: Skip) -> LRNetwork:
    """Return a network of 3x3 convolutions with PReLU, random but of a trained one's magnitudes.

    Weights of variance 2 / ((1 + slope^2) * inputs * 9) keep the variance from layer to layer; the last ones
    are smaller, since what a network adds to its skip is small.
    """
    generator = np.random.default_rng(0)
    convolutions = []
    for inputs, outputs in pairwise(channels):
        slope = generator.uniform(0.05, 0.4, outputs)
        weight = generator.normal(0, np.sqrt(2 / (1.06 * 9 * inputs)), (outputs, inputs, 3, 3))
        bias = generator.normal(0, 0.05, outputs)
        weight, bias, slope = (array.astype(np.float32) for array in (weight, bias, slope))
        convolutions.append(LRConvolution(weight, bias, "prelu", slope))
    last = LRConvolution(weight * np.float32(0.1), bias)
    return LRNetwork(upscale_factor, (*convolutions[:-1], last), skip)


CASES = [
    *(Case(f"espcn-x{r}-360p", partial(load, f"espcn-x{r}"), 640, 360) for r in (2, 3, 4)),
    *(Case(f"espcn-x{r}-1080p", partial(load, f"espcn-x{r}"), 1920, 1080) for r in (2, 3, 4)),
    Case("nano", partial(random, 2, (1, 8, 8, 8, 8, 4), "bicubic"), 1920, 1080),
    Case("nano-shallow", partial(random, 2, (1, 8, 8, 8, 4), "bicubic"), 1920, 1080),
    Case("fast", partial(random, 2, (1, *[16] * 5, 4), "bicubic"), 960, 540),
    Case("best", partial(random, 3, (1, *[32] * 10, 9), "bicubic"), 640, 360),
    Case("compact", partial(random, 4, (3, *[64] * 17, 48), "nearest"), 320, 180),
]


def scene(channels: int, height: int, width: int) -> Planes:
    """Return smooth shapes with soft edges, in codes of video: what bf16 loses depends on the picture."""
    noise = np.random.default_rng(0).random((channels, 1, height // 8 + 5, width // 8 + 5), np.float32)
    shapes = create(bicubic(8))(np.round(noise))[:, :, :height, :width].swapaxes(0, 1)
    return np.rint(16 + 219 * shapes.clip(0, 1)).astype(np.float32, order="C") / np.float32(255)
