# mypy: disable-error-code="no-any-return"
# (an array namespace is known only when the array is)
"""The layers of a site, as data: rules map them, both frameworks read and write them.

Weights are arrays of the framework that they came from, in PyTorch's layouts. All sizes are in pixels, one
entry a spatial axis. A shape is (batch, channels, *sizes).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import prod
from typing import Any, Literal

from subpixel.geometry import Axis
from subpixel.kernels import Interpolation, Phase

Pads = tuple[tuple[int, int], ...]
PadMode = Literal["zeros", "replicate", "reflect"]
Order = Literal["CRD", "DCR"]
Shape = tuple[int, ...]


class Layer:
    """One operation of a chain."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        return shape

    def macs(self, shape: Shape) -> int:  # noqa: ARG002 (what only moves or sums pixels has none)
        """Return the multiply-accumulates for an input of this shape."""
        return 0


Chain = tuple[Layer, ...]


@dataclass(frozen=True, eq=False)
class Pad(Layer):
    """Pixels added (low, high) on each axis; a negative number crops."""

    pads: Pads
    mode: PadMode = "zeros"

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (size + low + high for size, (low, high) in zip(shape[2:], self.pads, strict=True))
        return (*shape[:2], *sizes)


@dataclass(frozen=True, eq=False)
class Convolution(Layer):
    """A convolution of a zero-padded input.

    Attributes:
        weight: (c_out, c_in // groups, *k).
        bias: (c_out,) or None.
        stride: pixels of the input from output to output.
        pads: zeros (low, high); a negative pad crops.
        dilation: pixels from tap to tap.
        groups: blocks of channels that do not mix.
    """

    weight: Any
    bias: Any
    stride: tuple[int, ...]
    pads: Pads
    dilation: tuple[int, ...]
    groups: int = 1

    @classmethod
    def plain(cls, weight: Any, bias: Any, pads: Pads, groups: int = 1) -> "Convolution":
        """Return a convolution of stride and dilation 1."""
        ones = (1,) * len(pads)
        return cls(weight, bias, ones, pads, ones, groups)

    @property
    def reach(self) -> tuple[int, ...]:
        """The pixels from the first tap to the last, by axis."""
        return tuple(d * (k - 1) for d, k in zip(self.dilation, self.weight.shape[2:], strict=True))

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        padded = Pad(self.pads).output_shape(shape)[2:]
        sizes = ((n - e - 1) // s + 1 for n, e, s in zip(padded, self.reach, self.stride, strict=True))
        return (shape[0], self.weight.shape[0], *sizes)

    def macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates for an input of this shape."""
        batch, channels, *sizes = self.output_shape(shape)
        return batch * channels * prod(sizes) * prod(self.weight.shape[1:])


@dataclass(frozen=True, eq=False)
class Transposed(Layer):
    """A transposed convolution.

    Attributes:
        weight: (c_in, c_out // groups, *k).
        bias: (c_out,) or None.
        geometry: an `Axis` a spatial axis.
        groups: blocks of channels that do not mix.
    """

    weight: Any
    bias: Any
    geometry: tuple[Axis, ...]
    groups: int = 1

    @property
    def stride(self) -> tuple[int, ...]:
        """The upscale factor, by axis."""
        return tuple(axis.stride for axis in self.geometry)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (axis.output_size(size) for axis, size in zip(self.geometry, shape[2:], strict=True))
        return (shape[0], self.weight.shape[1] * self.groups, *sizes)

    def macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates for an input of this shape."""
        return shape[0] * prod(shape[2:]) * prod(self.weight.shape)


@dataclass(frozen=True, eq=False)
class Split(Layer):
    """A transposed convolution as one small convolution a phase.

    Attributes:
        phases: of `transposed_to_phases`.
        bias: (c_out,) or None.
        geometry: of the transposed convolution.
        groups: blocks of channels that do not mix.
    """

    phases: tuple[Phase[Any], ...]
    bias: Any
    geometry: tuple[Axis, ...]
    groups: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (axis.output_size(size) for axis, size in zip(self.geometry, shape[2:], strict=True))
        return (shape[0], self.phases[0].weight.shape[0], *sizes)

    def macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates for an input of this shape."""
        sizes = self.output_shape(shape)[2:]
        rows = prod(-(-size // axis.stride) for size, axis in zip(sizes, self.geometry, strict=True))
        return shape[0] * rows * sum(prod(phase.weight.shape) for phase in self.phases)


@dataclass(frozen=True, eq=False)
class UnshuffledConvolution(Layer):
    """A strided convolution computed on the unshuffled input, by `strided_to_unshuffled`.

    Attributes:
        weight: (c_out, c_in * prod(r) // groups, *K).
        bias: (c_out,) or None.
        geometry: kernel, stride and padding of the strided convolution, one for each axis; the padding is the
            same on both sides.
        groups: blocks of channels that do not mix.
    """

    weight: Any
    bias: Any
    geometry: tuple[Axis, ...]
    groups: int = 1

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (
            (size + 2 * axis.padding - axis.extent) // axis.stride + 1
            for size, axis in zip(shape[2:], self.geometry, strict=True)
        )
        return (shape[0], self.weight.shape[0], *sizes)

    def macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates for an input of this shape."""
        batch, _, *sizes = self.output_shape(shape)
        return batch * prod(sizes) * prod(self.weight.shape)

    def lower(self, sizes: Sequence[int]) -> Chain:
        """Return the same as plain layers, for an input of these sizes."""
        outputs = self.output_shape((1, 1, *sizes))[2:]
        short = [-size % axis.stride for size, axis in zip(sizes, self.geometry, strict=True)]
        pads = tuple(
            axis.lr("aligned").unshuffled_pad((size + missing) // axis.stride, output)
            for axis, size, missing, output in zip(self.geometry, sizes, short, outputs, strict=True)
        )
        unshuffle = Unshuffle(tuple(axis.stride for axis in self.geometry))
        convolution = Convolution.plain(self.weight, self.bias, pads, self.groups)
        if not any(short):
            return unshuffle, convolution
        return Pad(tuple((0, missing) for missing in short)), unshuffle, convolution


@dataclass(frozen=True, eq=False)
class Shuffle(Layer):
    """A periodic shuffle: channel c * prod(r) + f (CRD), or f * c_out + c (DCR), becomes phase f of c."""

    factors: tuple[int, ...]
    order: Order = "CRD"

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (size * factor for size, factor in zip(shape[2:], self.factors, strict=True))
        return (shape[0], shape[1] // prod(self.factors), *sizes)


@dataclass(frozen=True, eq=False)
class Unshuffle(Layer):
    """The inverse of `Shuffle` in CRD order."""

    factors: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = (size // factor for size, factor in zip(shape[2:], self.factors, strict=True))
        return (shape[0], shape[1] * prod(self.factors), *sizes)


@dataclass(frozen=True, eq=False)
class Resize(Layer):
    """An interpolation by integer factors, with half-pixel centres and A = -0.75 where it is cubic."""

    mode: Interpolation
    factors: tuple[int, ...]
    channels: int

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        return Shuffle(self.factors).output_shape((shape[0], shape[1] * prod(self.factors), *shape[2:]))


@dataclass(frozen=True, eq=False)
class ResizeConvolution(Layer):
    """A nearest resize and a convolution of three taps an axis, of an input that is padded by one LR pixel.

    `subpixel.functional.resize_conv` computes it.

    Attributes:
        products: (3**d, c_out, c_in), of `resize_conv_to_products`.
        bias: (c_out,) or None.
        factors: of the resize, from 2.
    """

    products: Any
    bias: Any
    factors: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        sizes = ((size - 2) * factor for size, factor in zip(shape[2:], self.factors, strict=True))
        return (shape[0], self.products.shape[1], *sizes)

    def macs(self, shape: Shape) -> int:
        """Return the multiply-accumulates for an input of this shape."""
        return shape[0] * prod(size - 2 for size in shape[2:]) * prod(self.products.shape)


@dataclass(frozen=True, eq=False)
class ZeroInsertion(Layer):
    """Zeros between pixels: pixel n goes to n * r, and `after` more zeros follow the last pixel."""

    factors: tuple[int, ...]
    after: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of this shape."""
        axes = zip(shape[2:], self.factors, self.after, strict=True)
        return (*shape[:2], *((size - 1) * factor + 1 + after for size, factor, after in axes))


@dataclass(frozen=True, eq=False)
class Pointwise(Layer):
    """A function of each pixel by itself, which stays a node of the framework.

    Attributes:
        node: the framework's.
        per_channel: whether channels have parameters of their own, so that they cannot change places.
    """

    node: Any
    per_channel: bool = False


@dataclass(frozen=True, eq=False)
class Unchanged(Layer):
    """A resize by a factor of 1."""


@dataclass(frozen=True, eq=False)
class Opaque(Layer):
    """An up-sampler that no rule can read, and why."""

    reason: str


def output_shape(chain: Chain, shape: Shape) -> Shape:
    """Return the shape of a chain's output for an input of this shape."""
    return reduce(lambda shape, layer: layer.output_shape(shape), chain, shape)


def macs(chain: Chain, shape: Shape) -> int:
    """Return the multiply-accumulates of a chain for an input of this shape."""
    total = 0
    for layer in chain:
        total += layer.macs(shape)
        shape = layer.output_shape(shape)
    return total


def converted(chain: Chain, convert: Callable[[Any], Any]) -> Chain:
    """Return the chain with every array converted, for example to float64."""
    return tuple(_converted(layer, convert) for layer in chain)


def _converted(layer: Layer, convert: Callable[[Any], Any]) -> Layer:
    arrays = {name: getattr(layer, name, None) for name in ("weight", "bias", "products")}
    changed: dict[str, Any] = {name: convert(array) for name, array in arrays.items() if array is not None}
    if isinstance(layer, Split):
        changed["phases"] = tuple(Phase(convert(phase.weight), phase.axes) for phase in layer.phases)
    return replace(layer, **changed) if changed else layer  # type: ignore[type-var]  # all but Layer are data


def signature(layer: Layer) -> str:
    """Return everything about a layer as text, except the values of its weights and the framework's node."""
    left_out = ("node", "phases")
    values = {
        name: getattr(value, "shape", value) for name, value in vars(layer).items() if name not in left_out
    }
    return f"{type(layer).__name__} {values}"
