"""Weights rounded to bfloat16 so that the errors of the rounding cancel."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from subpixel.network import LRConvolution, LRNetwork

Array = NDArray[np.float64]

_DAMPING = 1e-6  # times the mean of the diagonal: keeps the inverse finite where maps are redundant


def round_weights(network: LRNetwork, planes: NDArray[np.float32]) -> LRNetwork:
    """Round the weights of a network to bfloat16 with hardly a change of its output.

    With X the patches of typical planes as rows, and w the weights of an output with its bias, find rounded
    weights q that make |X (q - w)|^2 small: round one weight after another, and after each let the weights
    not yet rounded, and finally the bias, which stays float32, compensate for its error as well as they can.
    An engine that computes in bfloat16 then loses nothing by its weights.

    Args:
        network: the network to round; its skip stays as it is.
        planes: (n, channels, height, width), typical inputs of the network.

    References: Frantar et al. 2022 (arXiv:2210.17323), section 3.3.
    """
    maps = planes.astype(np.float64)
    convolutions = []
    for convolution in network.convolutions:
        patches = _patches(maps, 2 * convolution.radius + 1)
        rows = patches.reshape(-1, patches.shape[-1])
        kernel = np.column_stack([convolution.weight.reshape(len(convolution.weight), -1), convolution.bias])
        maps = np.moveaxis(_activate(patches @ kernel.T, convolution), -1, 1)
        rounded = _round(kernel, rows.T @ rows)
        weight = _to_bfloat16(rounded[:, :-1]).reshape(convolution.weight.shape)
        convolutions.append(replace(convolution, weight=weight, bias=rounded[:, -1].astype(np.float32)))
    return replace(network, convolutions=tuple(convolutions))


def _patches(maps: Array, size: int) -> Array:
    """Return the inputs of each output pixel, and a one for the bias: (n, h, w, c * size**2 + 1)."""
    windows = np.moveaxis(sliding_window_view(maps, (size, size), axis=(2, 3)), 1, 3)
    flat = windows.reshape(*windows.shape[:3], -1)
    return np.concatenate([flat, np.ones((*flat.shape[:3], 1))], axis=-1)


def _activate(maps: Array, convolution: LRConvolution) -> Array:
    if convolution.activation == "tanh":
        return np.tanh(maps)
    slope: Any = convolution.slope
    if slope is None:
        slope = {None: 1.0, "relu": 0.0}[convolution.activation]
    return np.where(maps > 0, maps, slope * maps)


def _round(kernel: Array, gram: Array) -> Array:
    """Round all columns except the last; spread the error of each over the columns after it.

    With H = X^T X, the best response of the columns after j to an error e in column j is
    -e * U[j, j+1:] / U[j, j], where U is the upper Cholesky factor of the inverse of H.
    """
    damping = _DAMPING * np.trace(gram) / len(gram)
    spread = np.linalg.cholesky(np.linalg.inv(gram + damping * np.eye(len(gram)))).T
    for column in range(len(gram) - 1):
        error = kernel[:, column] - _to_bfloat16(kernel[:, column])
        kernel[:, column:] -= np.outer(error / spread[column, column], spread[column, column:])
    return kernel


def _to_bfloat16(numbers: Array) -> NDArray[np.float32]:
    """Round to the nearest bfloat16, ties to even: the upper half of a float32."""
    bits = numbers.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
