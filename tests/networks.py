"""Random LR networks for the tests, and a slow evaluation of them that shares no code with the engines."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from subpixel.network import Activation, LRConvolution, LRNetwork, Skip


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
