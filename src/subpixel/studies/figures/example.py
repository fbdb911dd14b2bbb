"""An up-sampling layer of one channel, and what each of its forms computes on the way to the same output."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.functional import pad, periodic_shuffle
from subpixel.geometry import Axis
from subpixel.kernels import Phase, sub_pixel_to_transposed, transposed_to_phases
from subpixel.studies.lab.canvas import BORDER, INSERTED, PIXEL

with needing("study"):
    import torch
    from torch import Tensor
    from torch.nn import functional as F  # noqa: N812 (its usual name)

_CONV = {1: F.conv1d, 2: F.conv2d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d}


@dataclass(frozen=True)
class Example:
    """A layer, its input, and every tensor that the figures draw; all by PyTorch, in float64.

    Attributes:
        axis: of the transposed convolution, alike on each axis; not dilated.
        x: the LR pixels, (n, ...).
        kernel: of the sub-pixel convolution, (k, ...); the transposed convolution has it reversed.
    """

    axis: Axis
    x: Tensor
    kernel: Tensor

    @classmethod
    def of(cls, axis: Axis, ndim: int, size: int, *, seed: int | None = None) -> "Example":
        """Return an example of `size` LR pixels a side.

        Args:
            axis: its geometry.
            ndim: one or two axes.
            size: LR pixels on each.
            seed: of random numbers; without it, taps 1, 2, 3, ... and pixels of one digit, to be read.
        """
        pixels, taps = (size,) * ndim, (axis.kernel_size,) * ndim
        if seed is None:
            digits = torch.arange(size**ndim) * 2 % 5 + 1  # neighbours differ, along a row and down a column
            return cls(
                axis,
                digits.double().view(pixels),
                torch.arange(1.0, 1 + axis.kernel_size**ndim).double().view(taps),
            )
        generator = torch.Generator().manual_seed(seed)
        x, kernel = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in (pixels, taps))
        return cls(axis, x, kernel)

    def reversed(self) -> "Example":
        """Return the example with the taps of its kernel in reverse order."""
        return Example(self.axis, self.x, self.kernel.flip(*range(self.ndim)))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.x.ndim

    @property
    def geometry(self) -> tuple[Axis, ...]:
        """The geometry, axis by axis."""
        return (self.axis,) * self.ndim

    @property
    def weight(self) -> Tensor:
        """The kernel of the transposed convolution, (1, 1, k, ...)."""
        return sub_pixel_to_transposed(self.kernel[None, None])

    @cached_property
    def output(self) -> Tensor:
        """The HR pixels, by PyTorch's transposed convolution."""
        axis, operator = self.axis, _CONV_TRANSPOSE[self.ndim]
        y: Tensor = operator(
            self.x[None, None], self.weight, None, axis.stride, axis.padding, axis.output_padding
        )
        return y[0, 0]

    @cached_property
    def sub_pixel_output(self) -> Tensor:
        """The HR pixels again, by a convolution of the sub-pixels."""
        y: Tensor = _CONV[self.ndim](self.sub_pixels[None, None], self.kernel[None, None])
        return y[0, 0]

    @cached_property
    def sub_pixels(self) -> Tensor:
        """The LR pixels with r - 1 zeros between them, and the border of zeros that the kernel reads."""
        return self._spread(self.x)

    @cached_property
    def originals(self) -> Tensor:
        """Which of the sub-pixels are LR pixels."""
        return self._spread(torch.ones_like(self.x)) > 0

    @cached_property
    def kinds(self) -> NDArray[np.int_]:
        """What each sub-pixel is: an LR pixel, an inserted zero, a zero of the border."""
        inside = pad(torch.ones_like(self.sub_pixels), [(-self._border, -self._border)] * self.ndim)
        inside = pad(inside, [(self._border, self._border)] * self.ndim)
        return np.where(self.originals, PIXEL, np.where(inside > 0, INSERTED, BORDER))

    @cached_property
    def hr_phases(self) -> NDArray[np.int_]:
        """The phase of each HR pixel."""
        indices = np.indices(self.output.shape) % self.axis.stride
        return np.asarray(np.ravel_multi_index(tuple(indices), (self.axis.stride,) * self.ndim))

    @cached_property
    def pads(self) -> tuple[int, int]:
        """The most zeros that a phase kernel reads before and after the LR pixels."""
        low, high = zip(*(axis.pad for phase in self.phases for axis in phase.axes), strict=True)
        return max(0, *low), max(0, *high)

    @cached_property
    def phases(self) -> list[Phase[Tensor]]:
        """The kernel of each phase."""
        return transposed_to_phases(self.weight, self.geometry)

    @cached_property
    def tap_phases(self) -> Tensor:
        """The phase that each tap of the kernel works for, (k, ...)."""
        numbers = torch.arange(self.kernel.numel()).view(self.kernel.shape)
        found = torch.full_like(numbers, -1).flatten()
        named = transposed_to_phases(sub_pixel_to_transposed(numbers[None, None]), self.geometry)
        for phase, taps in enumerate(named):
            found[taps.weight.flatten()] = phase
        return found.view(self.kernel.shape)

    @cached_property
    def maps(self) -> list[Tensor]:
        """What each phase kernel makes of the LR pixels, by PyTorch's convolution; zeros without a tap."""
        return [
            _CONV[self.ndim](pad(self.x[None, None], [axis.pad for axis in phase.axes]), phase.weight)[0, 0]
            if phase.weight.numel()
            else self.x.new_zeros([-(-size // self.axis.stride) for size in self.output.shape])
            for phase in self.phases
        ]

    def active(self, position: tuple[int, ...]) -> Tensor:
        """Return which taps meet an LR pixel when the kernel makes an HR pixel, (k, ...)."""
        return self.originals[self._window(position)]

    @property
    def shuffled(self) -> Tensor:
        """The HR pixels again, by the maps of all phases and the periodic shuffle."""
        y = periodic_shuffle(torch.stack(self.maps), (self.axis.stride,) * self.ndim)[0]
        return y[tuple(slice(size) for size in self.output.shape)]

    def of_phase(self, position: tuple[int, ...]) -> Tensor:
        """Return which taps belong to an HR pixel's phase and do not lie on the border, (k, ...)."""
        inside = torch.from_numpy(self.kinds != BORDER)[self._window(position)]
        return (self.tap_phases == int(self.hr_phases[position])) & inside

    def _window(self, position: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(index, index + self.axis.kernel_size) for index in position)

    @property
    def _border(self) -> int:
        return self.axis.kernel_size - 1 - self.axis.padding

    def _spread(self, x: Tensor) -> Tensor:
        tap = x.new_ones([1] * (2 + self.ndim))
        spread = _CONV_TRANSPOSE[self.ndim](x[None, None], tap, stride=self.axis.stride)
        return pad(spread, [(self._border, self._border + self.axis.output_padding)] * self.ndim)[0, 0]


def matrix_of(operator: Callable[[Tensor], Tensor], size: int) -> Tensor:
    """Return the matrix of a linear operator on signals, (outputs, size): it is asked for each unit vector.

    Args:
        operator: takes (batch, 1, size).
        size: of its input.
    """
    return operator(torch.eye(size, dtype=torch.float64)[:, None])[:, 0].T
