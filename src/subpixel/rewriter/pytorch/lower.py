"""Chains as modules: PyTorch's own layers wherever there is one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.functional import CHANNELS_LAST, pad, periodic_unshuffle, phase_maps
from subpixel.geometry import Axis
from subpixel.kernels import Phase
from subpixel.nn import PeriodicShuffle, PeriodicUnshuffle
from subpixel.rewriter.layers import (
    Convolution,
    Layer,
    Pad,
    Resize,
    Shuffle,
    Split,
    Transposed,
    Unshuffle,
    UnshuffledConvolution,
    ZeroInsertion,
)

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}


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
        *front, convolution = layer.lower(x.shape[2:])
        for step in front:
            x = pad(x, step.pads) if isinstance(step, Pad) else periodic_unshuffle(x, step.factors)  # type: ignore[attr-defined]
        operator = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(self.geometry)]
        return operator(pad(x, convolution.pads), self.weight, self.bias, groups=self.groups)  # type: ignore[attr-defined]


class ZeroInsert(nn.Module):
    """Zeros between pixels, and behind the last."""

    def __init__(self, layer: ZeroInsertion) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Give (batch, c, *m)."""
        result = x.new_zeros(self.layer.output_shape(tuple(x.shape)))
        result[(..., *(slice(None, None, factor) for factor in self.layer.factors))] = x
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
    modules = [module for layer in chain for module in _modules(layer)]
    if given != inner:
        modules = [ToMemoryFormat(inner), *modules]
    if inner != result or isinstance(chain[-1], Pad):  # a crop leaves gaps
        modules = [*modules, ToMemoryFormat(result)]
    row = nn.Sequential(*modules).to(device=like.device, dtype=like.dtype).eval()
    if inner in CHANNELS_LAST.values():
        row = row.to(memory_format=inner)
    return row if len(row) > 1 else row[0]


def _modules(layer: Layer) -> list[nn.Module]:
    if isinstance(layer, Convolution):
        return _convolution(layer)
    if isinstance(layer, Transposed):
        return [_transposed(layer)]
    if isinstance(layer, Split):
        return [SplitConvTranspose(layer.phases, layer.bias, layer.geometry, layer.groups)]
    if isinstance(layer, UnshuffledConvolution):
        return [UnshuffledConv(layer)]
    if isinstance(layer, Pad):
        return [Padding(layer.pads, layer.mode)] if any(map(any, layer.pads)) else []
    if isinstance(layer, Shuffle):
        assert layer.order == "CRD"  # PyTorch has no other
        return [PeriodicShuffle(layer.factors)]
    if isinstance(layer, Unshuffle):
        return [PeriodicUnshuffle(layer.factors)]
    if isinstance(layer, ZeroInsertion):
        return [ZeroInsert(layer)]
    assert isinstance(layer, Resize), layer
    return [_resize(layer)]


def _convolution(layer: Convolution) -> list[nn.Module]:
    even = all(low == high >= 0 for low, high in layer.pads)
    weight = _tensor(layer.weight)
    module = CONVOLUTIONS[len(layer.pads)](
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


def _transposed(layer: Transposed) -> nn.Module:
    columns = [
        [getattr(axis, name) for axis in layer.geometry] for name in ("stride", "padding", "output_padding")
    ]
    weight = _tensor(layer.weight)
    module = TRANSPOSED[len(layer.geometry)](
        weight.shape[0],
        weight.shape[1] * layer.groups,
        tuple(weight.shape[2:]),
        *map(tuple, columns),
        groups=layer.groups,
        bias=layer.bias is not None,
        dilation=tuple(axis.dilation for axis in layer.geometry),
        device="meta",
    )
    _fill(module, weight, layer.bias)
    return module


def _resize(layer: Resize) -> nn.Module:
    mode = {
        1: ("nearest", "linear", ""),
        2: ("nearest", "bilinear", "bicubic"),
        3: ("nearest", "trilinear", ""),
    }
    name = mode[len(layer.factors)][("nearest", "linear", "cubic").index(layer.mode)]
    return nn.Upsample(scale_factor=tuple(map(float, layer.factors)), mode=name)


def _fill(module: Any, weight: Tensor, bias: Any) -> None:
    module.weight = _parameter(weight)
    if bias is not None:
        module.bias = _parameter(bias)


def _parameter(weight: Any) -> nn.Parameter:
    return nn.Parameter(_tensor(weight).clone(memory_format=torch.contiguous_format), requires_grad=False)


def _tensor(weight: Any) -> Tensor:
    return torch.from_numpy(weight) if isinstance(weight, np.ndarray) else weight
