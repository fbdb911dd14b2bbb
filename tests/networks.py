"""Random LR networks for the tests, and a slow evaluation of them that shares no code with the engines."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from subpixel.network import MAX_CONTEXT, Activation, LRConvolution, LRNetwork, Skip

MACS = 20_000_000  # multiply-accumulates that a random case may take, so that hundreds of them take a minute
PRODUCTS = 4000  # of which the largest sum of a random network consists


def random_network(
    upscale_factor: int = 3,
    channels: int = 1,
    widths: Sequence[int] = (16, 8),
    kernel_sizes: Sequence[int] = (5, 3, 3),
    activations: Sequence[Activation | None] = ("tanh", "tanh", None),
    skip: Skip | None = None,
    seed: int = 0,
) -> LRNetwork:
    rng = np.random.default_rng(seed)
    convolutions, given = [], channels
    outputs = (*widths, channels * upscale_factor**2)
    for out, k, activation in zip(outputs, kernel_sizes, activations, strict=True):
        weight = rng.normal(0, 1 / np.sqrt(given * k * k), (out, given, k, k)).astype(np.float32)
        bias = rng.normal(0, 0.1, out).astype(np.float32)
        slopes = {"leaky_relu": np.float32([0.2]), "prelu": rng.random(out, dtype=np.float32)}
        convolutions.append(LRConvolution(weight, bias, activation, slopes.get(activation or "")))
        given = out
    return LRNetwork(upscale_factor, tuple(convolutions), skip, {"name": "random", "seed": seed})


def evaluate(network: LRNetwork, planes: NDArray[np.floating]) -> NDArray[np.float64]:
    """The network in float64, its skip by PyTorch's own interpolation of planes that reach far enough."""
    given = torch.tensor(planes, dtype=torch.float64)
    reach = sum(c.radius for c in network.convolutions)
    maps = _crop(given, network.radius - reach)
    for convolution in network.convolutions:
        weight, bias = (torch.tensor(a).double() for a in (convolution.weight, convolution.bias))
        maps = _activate(functional.conv2d(maps, weight, bias), convolution)
    enlarged = functional.pixel_shuffle(maps, network.upscale_factor)
    if network.skip is not None:
        whole = functional.interpolate(given, scale_factor=network.upscale_factor, mode=network.skip)
        enlarged = enlarged + _crop(whole, network.upscale_factor * network.radius)
    return enlarged.numpy()


def _activate(maps: torch.Tensor, convolution: LRConvolution) -> torch.Tensor:
    match convolution.activation:
        case None:
            return maps
        case "tanh":
            return torch.tanh(maps)
        case "relu":
            return torch.relu(maps)
        case _:
            return functional.prelu(maps, torch.tensor(convolution.slope).double())


def _crop(planes: torch.Tensor, margin: int) -> torch.Tensor:
    height, width = planes.shape[2:]
    return planes[:, :, margin : height - margin, margin : width - margin]


# Random cases

_KERNEL_SIZES = st.sampled_from([3, 3, 3, 1, 5, 7, 9]) | st.sampled_from([1, 3, 3, 11, 31])
_WIDTHS = st.sampled_from([2, 3, 4, 8, 12, 16, 32]) | st.integers(1, 40) | st.integers(1, 400)
_ACTIVATIONS = st.sampled_from([None, "tanh", "relu", "leaky_relu", "prelu"])
_SIZES = (  # an ordinary image, a wide one of several strips, a high one
    st.tuples(st.integers(1, 60), st.integers(1, 250))
    | st.tuples(st.integers(1, 6), st.integers(1, 2500))
    | st.tuples(st.integers(1, 400), st.integers(1, 9))
)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """What `random_network` takes for a network that gives a pixel within `MACS`, or a thousandth of it."""
    most = draw(st.sampled_from([MACS // 1000, MACS]))
    channels = draw(st.sampled_from([1, 1, 2, 3]))
    upscale_factor = draw(st.integers(1, 4) | st.integers(1, 16))
    outputs = channels * upscale_factor**2
    kernel_sizes = draw(st.lists(_KERNEL_SIZES, min_size=1, max_size=6))
    widths: list[int] = []
    for index, (k, k_after) in enumerate(pairwise(kernel_sizes)):
        side = 1 + sum(after - 1 for after in kernel_sizes[index + 1 :])  # of the maps that a pixel needs
        each = k * k * side * side * (widths or [channels])[-1]
        if index == len(kernel_sizes) - 2:
            each += k_after**2 * outputs
        widths.append(max(1, min(draw(_WIDTHS), most // len(kernel_sizes) // each, PRODUCTS // k_after**2)))
    activations = draw(st.lists(_ACTIVATIONS, min_size=len(widths), max_size=len(widths)))
    skip, seed = draw(st.sampled_from([None, "nearest", "bicubic"])), draw(st.integers(0, 2**32 - 1))
    assume(sum(k // 2 for k in kernel_sizes) * max([*widths, outputs]) <= MAX_CONTEXT)
    return {
        "upscale_factor": upscale_factor,
        "channels": channels,
        "widths": widths,
        "kernel_sizes": kernel_sizes,
        "activations": [*activations, None],
        "skip": skip,
        "seed": seed,
    }


@st.composite
def sizes(draw: st.DrawFn, network: LRNetwork) -> tuple[int, int]:
    """Height and width of an image that a network enlarges within `MACS`, or of a single pixel."""
    height, width = draw(_SIZES)
    while macs(network, height, width) > MACS and (height, width) != (1, 1):
        height, width = (height, width // 2) if width > height else (height // 2, width)
    return height, width


def macs(network: LRNetwork, height: int, width: int) -> int:
    """Multiply-accumulates of the convolutions for an image, its context among them."""
    total = 0
    for convolution in reversed(network.convolutions):
        total += height * width * convolution.weight.size
        height, width = height + 2 * convolution.radius, width + 2 * convolution.radius
    return total


def planes_for(network: LRNetwork, *size: int, extra: int = 0) -> NDArray[np.float32]:
    """Random pixels of an image with its context."""
    sides = [side + 2 * network.radius + extra for side in size]
    return np.random.default_rng(0).random((network.channels, *sides), dtype=np.float32)


def result_for(network: LRNetwork, *size: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Memory for the enlarged image."""
    r = network.upscale_factor
    return np.zeros((network.channels, r * size[0], r * size[1]), dtype)
