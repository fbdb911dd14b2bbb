"""What layers in LR and in HR space cost: by formulas, and counted from real modules."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from subpixel.extras import needing
from subpixel.nn import PeriodicShuffle

with needing("study"):
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_PAD: Mapping[int, Callable[..., nn.Module]] = {1: nn.ConstantPad1d, 2: nn.ConstantPad2d, 3: nn.ConstantPad3d}


class Cost(NamedTuple):
    """What a layer costs for one LR pixel.

    Attributes:
        operations: multiply-accumulates.
        parameters: weights; there are no biases.
        numbers: in its feature maps.
    """

    operations: int
    parameters: int
    numbers: int


@dataclass(frozen=True)
class Layers:
    """Layers of one width and one kernel, and the space that they work in.

    Attributes:
        space: "LR" or "HR".
        maps: from layer to layer.
        kernel_size: pixels of the space along each axis.
        factor: pixels of the space for one LR pixel, along an axis.
        outputs: maps of the last layer.
        ndim: the dimension of the data.
    """

    space: str
    maps: int
    kernel_size: int
    factor: int
    outputs: int
    ndim: int

    @property
    def kernel(self) -> str:
        """The kernel's size as text."""
        return "x".join([str(self.kernel_size)] * self.ndim)

    def channels(self, hidden: int) -> list[int]:
        """Return the maps before, between and after the layers of a network: first, hidden ones, last."""
        return [1, *[self.maps] * (hidden + 1), self.outputs]

    def cost(self, hidden: int) -> list[Cost]:
        """Return the cost of each layer of a network by the formulas."""
        taps, pixels = self.kernel_size**self.ndim, self.factor**self.ndim
        return [
            Cost(a * b * taps * pixels, a * b * taps, b * pixels) for a, b in pairwise(self.channels(hidden))
        ]

    def extent(self, depth: int) -> int:
        """Return the pixels of its space along an axis that an output of so many layers depends on."""
        return 1 + depth * (self.kernel_size - 1)

    def seen(self, depth: int) -> list[int]:
        """Return the LR pixels along an axis that an output of so many layers depends on, by its phase.

        Its `extent` begins at one of `factor` places within an LR pixel; counted are the LR pixels that it
        touches.
        """
        return [(start + self.extent(depth) - 1) // self.factor + 1 for start in range(self.factor)]

    def modules(self, hidden: int) -> Iterator[nn.Module]:
        """Yield the convolutions of a network, zero-padded to keep the size; all weights are positive."""
        size = self.kernel_size
        for c_in, c_out in pairwise(self.channels(hidden)):
            convolution = CONV[self.ndim](c_in, c_out, size, bias=False)
            nn.init.constant_(convolution.weight, 1 / convolution.weight[0].numel())
            yield nn.Sequential(_PAD[self.ndim](((size - 1) // 2, size // 2) * self.ndim, 0.0), convolution)


def pair(n: int, k: int, r: int, d: int) -> tuple[Layers, Layers]:
    """Return the layers in LR and in HR space that the note's section 3 compares.

    Args:
        n: maps in LR space, a multiple of r**d.
        k: kernel size in LR space.
        r: upscale factor.
        d: dimension of the data.

    Example:
        >>> for layers in pair(32, 3, 2, 2):
        ...     print(layers.cost(hidden=1)[1])
        Cost(operations=9216, parameters=9216, numbers=32)
        Cost(operations=9216, parameters=2304, numbers=32)
    """
    return Layers("LR", n, k, 1, r**d, d), Layers("HR", n // r**d, k * r, r, 1, d)


def counted(layers: Layers, hidden: int, size: int = 2) -> list[Cost]:
    """Return the cost of each layer of a network, counted while it runs on so many LR pixels an axis."""
    maps = torch.ones(1, 1, *[size * layers.factor] * layers.ndim)
    costs = []
    for module in layers.modules(hidden):
        with FlopCounterMode(display=False) as counter:
            maps = module(maps)
        totals = counter.get_total_flops() // 2, maps.numel()
        operations, numbers = (total // size**layers.ndim for total in totals)
        costs.append(Cost(operations, sum(weight.numel() for weight in module.parameters()), numbers))
    return costs


def seen_by_gradient(layers: Layers, hidden: int, r: int) -> list[int]:
    """Return how many LR pixels have a gradient, of one HR pixel for each phase along the diagonal, sorted.

    An HR network begins with a nearest resize, so that an HR pixel depends on one LR pixel.
    """
    depth = hidden + 2
    image = torch.ones(1, 1, *[max(layers.seen(depth)) + 1] * layers.ndim, requires_grad=True)
    enlarge = nn.Upsample(scale_factor=layers.factor)
    shuffle = PeriodicShuffle((r // layers.factor,) * layers.ndim)
    output = nn.Sequential(enlarge, *layers.modules(hidden), shuffle)(image)[0, 0]
    before = depth * ((layers.kernel_size - 1) // 2)  # pixels of the space that it reads before its own place
    first = -(-before // layers.factor) * r
    pixels = (output[(first + phase,) * layers.ndim] for phase in range(r))
    gradients = (torch.autograd.grad(pixel, image, retain_graph=True)[0] for pixel in pixels)
    return sorted(int((gradient != 0).sum()) for gradient in gradients)
