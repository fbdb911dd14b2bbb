"""Chains as modules: PyTorch's own layers wherever there is one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from subpixel.functional import CHANNELS_LAST
from subpixel.nn import PeriodicShuffle, PeriodicUnshuffle, ResizeConv
from subpixel.rewriter.layers import (
    Convolution,
    Layer,
    Pad,
    Resize,
    ResizeConvolution,
    Shuffle,
    Split,
    Transposed,
    Unshuffle,
    UnshuffledConvolution,
    ZeroInsertion,
)
from subpixel.rewriter.pytorch.installed import (
    Padding,
    SplitConvTranspose,
    ToMemoryFormat,
    UnshuffledConv,
    ZeroInsert,
    frozen,
)

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
Formats = tuple[torch.memory_format, torch.memory_format, torch.memory_format]


def lower(chain: Sequence[Layer], like: Tensor, formats: Formats) -> nn.Module:
    """Return a module that computes a chain without pointwise functions.

    Args:
        chain: the layers to compute.
        like: a tensor of the dtype and on the device that the weights are to have.
        formats: the memory formats of the input, to compute in, and of the result.
    """
    given, inner, result = formats
    modules = [module for layer in chain for module in MAKERS[type(layer)](layer)]
    if given != inner:
        modules = [ToMemoryFormat(inner), *modules]
    if inner != result or isinstance(chain[-1], Pad):  # a crop is a view with gaps
        modules = [*modules, ToMemoryFormat(result)]
    row = nn.Sequential(*modules).to(device=like.device, dtype=like.dtype).eval()
    if inner in CHANNELS_LAST.values():
        for weight in (*row.parameters(), *row.buffers()):
            if weight.ndim in CHANNELS_LAST and CHANNELS_LAST[weight.ndim] == inner:
                weight.data = weight.data.contiguous(memory_format=inner)
    return row if len(row) > 1 else row[0]


def _convolution(layer: Convolution) -> list[nn.Module]:
    even = all(low == high >= 0 for low, high in layer.pads)
    weight, kind = layer.weight, CONVOLUTIONS[len(layer.pads)]
    module = kind(
        weight.shape[1] * layer.groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        layer.stride,
        tuple(low for low, _ in layer.pads) if even else 0,
        layer.dilation,
        layer.groups,
        bias=layer.bias is not None,
        device="meta",
    )
    _fill(module, weight, layer.bias)
    return [module] if even else [Padding(layer.pads, "zeros"), module]


def _transposed(layer: Transposed) -> list[nn.Module]:
    names = ("stride", "padding", "output_padding", "dilation")
    options: Any = {name: tuple(getattr(axis, name) for axis in layer.geometry) for name in names}
    weight, kind = layer.weight, TRANSPOSED[len(layer.geometry)]
    channels = weight.shape[0], weight.shape[1] * layer.groups
    size, bias = tuple(weight.shape[2:]), layer.bias is not None
    module = kind(*channels, size, groups=layer.groups, bias=bias, device="meta", **options)
    _fill(module, weight, layer.bias)
    return [module]


def _pad(layer: Pad) -> list[nn.Module]:
    return [Padding(layer.pads, layer.mode)] if any(map(any, layer.pads)) else []


def _shuffle(layer: Shuffle) -> list[nn.Module]:
    assert layer.order == "CRD"  # PyTorch has no other
    return [PeriodicShuffle(layer.factors)]


def _resize(layer: Resize) -> list[nn.Module]:
    linear = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(layer.factors)]
    mode = {"nearest": "nearest", "linear": linear, "cubic": "bicubic"}[layer.mode]
    return [nn.Upsample(scale_factor=tuple(map(float, layer.factors)), mode=mode)]


MAKERS: dict[type[Layer], Callable[[Any], list[nn.Module]]] = {
    Convolution: _convolution,
    Transposed: _transposed,
    ResizeConvolution: lambda layer: [ResizeConv(layer.products, layer.bias, layer.factors)],
    Split: lambda layer: [SplitConvTranspose(layer.phases, layer.bias, layer.geometry, layer.groups)],
    UnshuffledConvolution: lambda layer: [UnshuffledConv(layer)],
    Pad: _pad,
    Shuffle: _shuffle,
    Unshuffle: lambda layer: [PeriodicUnshuffle(layer.factors)],
    ZeroInsertion: lambda layer: [ZeroInsert(layer)],
    Resize: _resize,
}


def _fill(module: Any, weight: Any, bias: Any) -> None:
    if isinstance(weight, np.ndarray):  # kernels of an interpolation: no weights, so not in the state_dict
        del module.weight
        module.register_buffer("weight", torch.from_numpy(weight), persistent=False)
        return
    module.weight = frozen(weight)
    if bias is not None:
        module.bias = frozen(bias)
