"""Chains as modules: PyTorch's own layers wherever there is one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.functional import CHANNELS_LAST, convolve, pad, periodic_unshuffle, phase_maps
from subpixel.geometry import Axis
from subpixel.kernels import Phase
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

CONVOLUTIONS: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED: dict[int, Any] = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


class Padding(nn.Module):
    """Pad (low, high) on each axis, or crop where a number is negative."""

    def __init__(self, pads: Sequence[tuple[int, int]], mode: str) -> None:
        super().__init__()
        self.pads, self.mode = tuple(pads), mode

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, c, *(n + low + high))."""
        if self.mode == "zeros":
            return pad(x, self.pads)
        return F.pad(x, [n for pair in reversed(self.pads) for n in pair], mode=self.mode)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return f"{self.pads}, mode={self.mode!r}"


class SplitConvTranspose(nn.Module):
    """A transposed convolution as a convolution for each phase, whose kernels are mapped once."""

    def __init__(
        self, phases: Sequence[Phase[Tensor]], bias: Tensor | None, geometry: Sequence[Axis], groups: int
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList(_parameter(phase.weight) for phase in phases)
        self.bias = None if bias is None else _parameter(bias)
        self.axes = [phase.axes for phase in phases]
        self.geometry, self.groups = tuple(geometry), groups

    def forward(self, x: Tensor) -> Tensor:
        """Give what the transposed convolution gives."""
        phases = [Phase(weight, axes) for weight, axes in zip(self.weights, self.axes, strict=True)]
        return phase_maps(x, phases, self.bias, self.geometry, self.groups)


class UnshuffledConv(nn.Module):
    """A strided convolution computed on the unshuffled input, of any size."""

    def __init__(self, layer: UnshuffledConvolution) -> None:
        super().__init__()
        self.weight = _parameter(layer.weight)
        self.bias = None if layer.bias is None else _parameter(layer.bias)
        self.geometry, self.groups = layer.geometry, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        """Give what the strided convolution gives."""
        layer = UnshuffledConvolution(self.weight, self.bias, self.geometry, self.groups)
        for step in layer.lower(x.shape[2:]):
            if isinstance(step, Pad):
                x = pad(x, step.pads)
            elif isinstance(step, Unshuffle):
                x = periodic_unshuffle(x, step.factors)
            elif isinstance(step, Convolution):
                x = convolve(x, step.weight, step.bias, step.pads, step.dilation, step.groups)
        return x


class ZeroInsert(nn.Module):
    """Zeros between pixels, and behind the last."""

    def __init__(self, layer: ZeroInsertion) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, c, *m)."""
        result = x.new_zeros(self.layer.output_shape(tuple(x.shape)))
        originals: Any = (..., *(slice(None, None, factor) for factor in self.layer.factors))
        result[originals] = x
        return result


class ToMemoryFormat(nn.Module):
    """Change how pixels and channels lie in memory, and no value."""

    def __init__(self, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.memory_format = memory_format

    def forward(self, x: Tensor) -> Tensor:
        """Give the same tensor in the memory format."""
        return x.contiguous(memory_format=self.memory_format)

    def extra_repr(self) -> str:
        """What `repr` shows."""
        return str(self.memory_format)


Formats = tuple[torch.memory_format, torch.memory_format, torch.memory_format]


def lower(chain: Sequence[Layer], like: Tensor, formats: Formats) -> nn.Module:
    """A chain without pointwise functions as a module.

    Args:
        chain: what to compute.
        like: the dtype and the device of the weights.
        formats: the memory formats of the input, to compute in, and of the result.
    """
    given, inner, result = formats
    modules = [module for layer in chain for module in MAKERS[type(layer)](layer)]
    if given != inner:
        modules = [ToMemoryFormat(inner), *modules]
    if inner != result or isinstance(chain[-1], Pad):  # a crop leaves gaps
        modules = [*modules, ToMemoryFormat(result)]
    row = nn.Sequential(*modules).to(device=like.device, dtype=like.dtype).eval()
    if inner in CHANNELS_LAST.values():
        for weight in row.parameters():
            if weight.ndim in CHANNELS_LAST and CHANNELS_LAST[weight.ndim] == inner:
                weight.data = weight.data.contiguous(memory_format=inner)
    return row if len(row) > 1 else row[0]


def _convolution(layer: Convolution) -> list[nn.Module]:
    even = all(low == high >= 0 for low, high in layer.pads)
    weight, kind = _tensor(layer.weight), CONVOLUTIONS[len(layer.pads)]
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
    weight, kind = _tensor(layer.weight), TRANSPOSED[len(layer.geometry)]
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


def _fill(module: Any, weight: Tensor, bias: Any) -> None:
    module.weight = _parameter(weight)
    if bias is not None:
        module.bias = _parameter(bias)


def _parameter(weight: Any) -> nn.Parameter:
    return nn.Parameter(_tensor(weight).clone(memory_format=torch.contiguous_format), requires_grad=False)


def _tensor(weight: Any) -> Tensor:
    return torch.from_numpy(weight) if isinstance(weight, np.ndarray) else weight
