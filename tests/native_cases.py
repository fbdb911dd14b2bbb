"""Writes cases for `native/check.cpp`: networks, pixels, and what PyTorch makes of them in float64."""

import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from networks import evaluate, random_network

from subpixel.engines.library import ACTIVATIONS, TYPES
from subpixel.network import LRNetwork, load

# What kernels tell apart: widths of whole vectors and others, sizes, activations, skips, types of pixels.
NETWORKS = (
    load("espcn-x3"),
    random_network(2, 1, (8, 8, 8), (3, 3, 3, 3), ("prelu", "relu", "leaky_relu", None), "bicubic"),
    random_network(3, 1, (16, 32), (3, 3, 3), ("relu", "tanh", None), "nearest"),
    random_network(4, 3, (24, 5), (5, 1, 3), ("prelu", "relu", None), "bicubic"),
    random_network(1, 3, (7, 64), (9, 3, 5), ("tanh", "leaky_relu", None)),
    random_network(16, 1, (3,), (7, 1), ("relu", None), "bicubic"),
)
SIZES = ((1, 1), (5, 4), (9, 67), (30, 33))


def write(file: BinaryIO, network: LRNetwork, size: tuple[int, int], extra: int, kind: np.dtype[Any]) -> None:
    """Write a case as `check.cpp` describes it."""
    context, top = 2 * network.radius, 1 if kind == np.float32 else np.iinfo(kind).max
    shape = (network.channels, size[0] + context + extra, size[1] + context + extra)
    pixels = (np.random.default_rng(0).random(shape, np.float32) * top).astype(kind)
    whole = pixels[None, :, : size[0] + context, : size[1] + context]
    expected = evaluate(network, whole.astype(np.float64) / top)[0]
    taps = np.zeros((0, 0), np.float32) if network.skip_taps is None else network.skip_taps
    convolutions = network.shifted(0.5).convolutions
    head = (network.upscale_factor, network.channels, len(convolutions), taps.shape[1], *size, extra)
    file.write(np.int32((*head, TYPES[kind])).tobytes())
    for convolution in convolutions:
        outputs, inputs, kernel_size, _ = convolution.weight.shape
        shape = kernel_size, inputs, outputs, ACTIVATIONS[convolution.activation]
        file.write(np.int32(shape).tobytes())
        file.write(convolution.weight.tobytes() + convolution.bias.tobytes())
        if convolution.slope is not None:
            file.write(np.broadcast_to(convolution.slope, outputs).tobytes())
    file.write(taps.tobytes() + pixels.tobytes() + expected.tobytes())


if __name__ == "__main__":
    with Path(sys.argv[1]).open("wb") as out:
        for network in NETWORKS:
            for index, size in enumerate(SIZES):
                write(out, network, size, 3 * (index % 2), list(TYPES)[index % 3])
