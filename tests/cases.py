"""Random transposed convolutions for Hypothesis, small and awkward, and a slow oracle for them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from subpixel.geometry import Axis

# By the number of axes, so that every case is quick: kernel size, stride, dilation, input size.
LIMITS = {1: (9, 7, 5, 7), 2: (5, 4, 4, 4), 3: (3, 3, 3, 3)}


@dataclass(frozen=True)
class Case:
    """A transposed convolution and its input: float64 tensors drawn from the seed.

    All values are in [1, 2): nothing cancels, so that relative errors are those of rounding alone.
    """

    geometry: tuple[Axis, ...]
    sizes: tuple[int, ...]
    batch: int | None
    groups: int
    channels: tuple[int, int]  # of each group
    with_bias: bool
    seed: int

    @property
    def options(self) -> dict[str, Any]:
        """The keywords of PyTorch's functions."""
        names = ("stride", "padding", "output_padding", "dilation")
        per_axis = {name: [getattr(axis, name) for axis in self.geometry] for name in names}
        return {**per_axis, "groups": self.groups}

    @property
    def strides(self) -> tuple[int, ...]:
        return tuple(axis.stride for axis in self.geometry)

    @property
    def output_sizes(self) -> tuple[int, ...]:
        return tuple(axis.output_size(n) for axis, n in zip(self.geometry, self.sizes, strict=True))

    @cached_property
    def x(self) -> Tensor:
        batch = () if self.batch is None else (self.batch,)
        return self._draw(0, *batch, self.channels[0] * self.groups, *self.sizes)

    @cached_property
    def weight(self) -> Tensor:
        kernel_size = (axis.kernel_size for axis in self.geometry)
        return self._draw(1, self.channels[0] * self.groups, self.channels[1], *kernel_size)

    @cached_property
    def conv_weight(self) -> Tensor:
        """Of a convolution with the same kernel size, channels and groups."""
        return self._draw(3, self.channels[1] * self.groups, self.channels[0], *self.weight.shape[2:])

    @cached_property
    def bias(self) -> Tensor | None:
        return self._draw(2, self.channels[1] * self.groups) if self.with_bias else None

    def _draw(self, stream: int, *shape: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng((self.seed, stream)).random(shape) + 1)


@st.composite
def cases(draw: st.DrawFn, ndims: tuple[int, ...] = (1, 2, 3), **fixed: int) -> Case:
    """Any case; `fixed` sets attributes of all axes, as padding=0."""
    ndim = draw(st.sampled_from(ndims))
    pairs = [draw(_axes(*LIMITS[ndim], fixed)) for _ in range(ndim)]
    return Case(
        geometry=tuple(axis for axis, _ in pairs),
        sizes=tuple(size for _, size in pairs),
        batch=draw(st.sampled_from((None, 1, 2))),
        groups=draw(st.integers(1, 3)),
        channels=draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        with_bias=draw(st.booleans()),
        seed=draw(st.integers(0, 2**16)),
    )


@st.composite
def _axes(
    draw: st.DrawFn, kernel_size: int, stride: int, dilation: int, size: int, fixed: dict[str, int]
) -> tuple[Axis, int]:
    def upto(name: str, least: int, most: int) -> int:
        return fixed[name] if name in fixed else draw(st.integers(least, most))

    n, k, r = draw(st.integers(1, size)), upto("kernel_size", 1, kernel_size), upto("stride", 1, stride)
    d = upto("dilation", 1, dilation)
    output_padding = upto("output_padding", 0, max(r, d) - 1)
    full = (n - 1) * r + d * (k - 1) + 1 + output_padding
    return Axis(k, r, upto("padding", 0, (full - 1) // 2), output_padding, d), n


def scatter(case: Case) -> NDArray[np.float64]:
    """The definition: each input pixel adds the kernel, times its value; what leaves the output is lost."""
    x, weight = case.x.numpy(), case.weight.numpy()
    strides, dilations = np.array(case.strides), np.array([axis.dilation for axis in case.geometry])
    paddings = np.array([axis.padding for axis in case.geometry])
    c_in, c_out = case.channels
    bounds = case.output_sizes
    output = np.zeros((*x.shape[: -1 - len(case.sizes)], c_out * case.groups, *bounds))
    for n in np.ndindex(*case.sizes):
        for t in np.ndindex(*weight.shape[2:]):
            position = tuple((np.array(n) * strides + np.array(t) * dilations - paddings).tolist())
            if all(0 <= at < size for at, size in zip(position, bounds, strict=True)):
                for group in range(case.groups):
                    inputs, outputs = (slice(group * count, (group + 1) * count) for count in (c_in, c_out))
                    output[(..., outputs, *position)] += (
                        x[(..., inputs, *n)] @ weight[(inputs, slice(None), *t)]
                    )
    if case.bias is not None:
        output += case.bias.numpy().reshape(-1, *[1] * len(case.sizes))
    return output


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-12) -> None:
    """Equal shapes, and each difference within `tolerance` of the expected value; zero is exactly zero."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.all(np.abs(actual - expected) <= tolerance * np.abs(expected))
