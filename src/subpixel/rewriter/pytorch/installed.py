"""The modules that a rewritten model holds, for as long as its user keeps it.

They can be pickled, copied, trained and exported, and ask PyTorch for nothing that is not public.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F  # noqa: N812 (its usual name)

from subpixel.functional import convolve, pad, periodic_unshuffle, phase_maps
from subpixel.geometry import Axis
from subpixel.kernels import Phase
from subpixel.rewriter.layers import (
    Convolution,
    Pad,
    Pointwise,
    Shuffle,
    Transposed,
    Unshuffle,
    UnshuffledConvolution,
    ZeroInsertion,
)

if TYPE_CHECKING:
    from subpixel.rewriter.pytorch.loading import Recipe

# `torch.fx` takes the calls of these functions, and of those with `@fx.wrap` below, for one step each: it
# cannot branch on a size. TorchScript reads some of them, and knows no generators.
for _name in ("convolve", "pad", "phase_maps"):
    fx.wrap(_name)

# PyTorch takes an input of these without a batch as a batch of one.
BATCH_IS_OPTIONAL = (Convolution, Pad, Pointwise, Shuffle, Transposed)


class RewrittenSite(nn.Module):
    """What a site became: its layers, and a guard on the number of dimensions of its input.

    PyTorch's resize takes the second dimension for the channels, and its convolution the first one where the
    batch is missing: without a batch the two in a row are another function, which the layers do not compute.

    Args:
        layers: compute the site for an input of `ndim` dimensions.
        ndim: of the input in the example, the batch included.
        recipe: how the layers came from the weights of the original.
    """

    def __init__(self, layers: nn.Module, ndim: int, recipe: "Recipe") -> None:
        super().__init__()
        self.layers, self.ndim, self.recipe = layers, ndim, recipe
        self.batch_is_optional = all(isinstance(layer, BATCH_IS_OPTIONAL) for layer in recipe.chain)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as PyTorch's own layers)
        """Return what the original site returns."""
        result = self.layers(with_batch(input, self.ndim, self.batch_is_optional))
        return as_batched_as(input, self.ndim, result)


@fx.wrap
def with_batch(x: Tensor, ndim: int, batch_is_optional: bool) -> Tensor:
    """Return the input of a site with a batch.

    Raises:
        ValueError: the input has not as many dimensions as in the example, and lacks more than a batch.
    """
    if x.dim() == ndim:
        return x
    if batch_is_optional and x.dim() == ndim - 1:
        return x.unsqueeze(0)
    raise ValueError(
        f"a rewritten layer must get an input of {ndim} dimensions, as in the example; got one of the shape "
        f"{list(x.shape)}. Add the batch, or rewrite the model for inputs of this kind."
    )


@fx.wrap
def as_batched_as(x: Tensor, ndim: int, result: Tensor) -> Tensor:
    """Return the output of a site, without the batch if x had none."""
    return result if x.dim() == ndim else result.squeeze(0)


class Padding(nn.Module):
    """Pad (low, high) on each axis, or crop where a number is negative."""

    def __init__(self, pads: Sequence[tuple[int, int]], mode: str) -> None:
        super().__init__()
        self.pads, self.mode = tuple(pads), mode

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, c, *(n + low + high)) for (batch, c, *n)."""
        if self.mode == "zeros":
            return pad(x, self.pads)
        return F.pad(x, [n for pair in reversed(self.pads) for n in pair], mode=self.mode)

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"{self.pads}, mode={self.mode!r}"


class SplitConvTranspose(nn.Module):
    """A transposed convolution as a convolution for each phase, whose kernels are mapped once."""

    def __init__(
        self, phases: Sequence[Phase[Tensor]], bias: Tensor | None, geometry: Sequence[Axis], groups: int
    ) -> None:
        super().__init__()
        self.weights = nn.ParameterList(frozen(phase.weight) for phase in phases)
        self.bias = None if bias is None else frozen(bias)
        self.axes = [phase.axes for phase in phases]
        self.geometry, self.groups = tuple(geometry), groups

    def forward(self, x: Tensor) -> Tensor:
        """Return what the transposed convolution returns."""
        phases = [Phase(weight, axes) for weight, axes in zip(self.weights, self.axes, strict=True)]
        return phase_maps(x, phases, self.bias, self.geometry, self.groups)


class UnshuffledConv(nn.Module):
    """A strided convolution computed on the unshuffled input, of any size."""

    def __init__(self, layer: UnshuffledConvolution) -> None:
        super().__init__()
        self.weight = frozen(layer.weight)
        self.bias = None if layer.bias is None else frozen(layer.bias)
        self.geometry, self.groups = layer.geometry, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        """Return what the strided convolution returns."""
        return unshuffled_conv(x, self.weight, self.bias, self.geometry, self.groups)


@fx.wrap
def unshuffled_conv(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Sequence[Axis], groups: int
) -> Tensor:
    """Return a strided convolution, computed in the steps of `UnshuffledConvolution`."""
    for step in UnshuffledConvolution(weight, bias, tuple(geometry), groups).lower(x.shape[2:]):
        if isinstance(step, Pad):
            x = pad(x, step.pads)
        elif isinstance(step, Unshuffle):
            x = periodic_unshuffle(x, step.factors)
        elif isinstance(step, Convolution):
            x = convolve(x, step.weight, step.bias, step.pads, step.dilation, step.groups)
    return x


class ZeroInsert(nn.Module):
    """Zeros between pixels and after the last one."""

    def __init__(self, layer: ZeroInsertion) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, c, *m), m the size with the zeros."""
        return insert_zeros(x, self.layer)


@fx.wrap
def insert_zeros(x: Tensor, layer: ZeroInsertion) -> Tensor:
    """Return x with a layer's zeros after its pixels."""
    result = x.new_zeros(layer.output_shape(tuple(x.shape)))
    originals: Any = (..., *(slice(None, None, factor) for factor in layer.factors))
    result[originals] = x
    return result


class ToMemoryFormat(nn.Module):
    """Change how pixels and channels lie in memory, and no value.

    Args:
        memory_format: kept as its name, since pickle's protocol 2, which `torch.save` uses, cannot hold it.
    """

    def __init__(self, memory_format: torch.memory_format) -> None:
        super().__init__()
        self.memory_format = str(memory_format).removeprefix("torch.")

    # Spelt out, since TorchScript knows the formats by their names in the source alone.
    def forward(self, x: Tensor) -> Tensor:
        """Return the same tensor in the memory format."""
        if self.memory_format == "channels_last":
            return x.contiguous(memory_format=torch.channels_last)
        if self.memory_format == "channels_last_3d":
            return x.contiguous(memory_format=torch.channels_last_3d)
        return x.contiguous()

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return self.memory_format


def frozen(weight: Tensor) -> nn.Parameter:
    """Return a parameter of its own memory that is not trained unless the user asks for it."""
    return nn.Parameter(weight.clone(memory_format=torch.contiguous_format), requires_grad=False)
