"""Networks that keep some of their feature maps in LR space and the others in HR space.

An HR convolution of shuffled maps is an LR convolution of structured kernels, conv(shuffle(z), w) =
shuffle(conv(z, lift(w))), so a layer of both kinds is one LR convolution: maps in HR space are held as their
r**2 phases, and only the kernels between HR maps are structured. Kernels between spaces are free: from LR to
HR they are those of a transposed convolution, from HR to LR those of a convolution that strides.
"""

from collections.abc import Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from subpixel.extras import needing
from subpixel.kernels import lift_conv
from subpixel.studies.lab.networks import Bicubic

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import conv2d, pad, pixel_shuffle

SCALE = 2  # r, of all mixed networks
PHASES = SCALE**2
SIDE = 3  # taps of a kernel along an axis, in LR space and in HR space
FIRST = 5  # the same for the first layer, which reads the LR image


class Maps(NamedTuple):
    """The feature maps at one depth.

    Attributes:
        lr: maps in LR space.
        hr: maps in HR space, each of r**2 times as many pixels.
    """

    lr: int
    hr: int

    @property
    def channels(self) -> int:
        """Numbers for each LR pixel: what the maps take in memory."""
        return self.lr + PHASES * self.hr


IMAGE = Maps(1, 0)
ENLARGED = Maps(0, 1)


def operations(before: Maps, after: Maps, side: int = SIDE) -> int:
    """Return the multiply-accumulates of a layer for each LR pixel.

    side**2 for each pair of maps and each pixel that is computed: r**2 pixels of an HR map, and an HR map
    that is read by an LR map costs as much as its r**2 phases. Between LR maps that is side**2, in all other
    cases r**2 * side**2.

    Example:
        >>> operations(Maps(16, 0), Maps(16, 0)), operations(Maps(0, 8), Maps(0, 8))
        (2304, 2304)
    """
    within_hr = before.hr * after.hr
    return side**2 * (before.channels * after.channels - PHASES * (PHASES - 1) * within_hr)


class MixedConv2d(nn.Module):
    """An unpadded convolution from maps in both spaces to maps in both spaces.

    Takes and returns (n, channels, h, w) and (n, channels, h - side + 1, w - side + 1), maps in LR space
    first, then the phases of each map in HR space.

    Args:
        before: maps that are read.
        after: maps that are computed.
        side: taps along an axis. HR kernels have as many HR taps, and see less far.

    Example:
        >>> MixedConv2d(Maps(8, 2), Maps(4, 3))(torch.zeros(1, 16, 12, 12)).shape
        torch.Size([1, 16, 10, 10])
    """

    def __init__(self, before: Maps, after: Maps, side: int = SIDE) -> None:
        super().__init__()
        self.to_lr = nn.Parameter(torch.empty(after.lr, before.channels, side, side))
        self.to_hr = nn.Parameter(torch.empty(PHASES * after.hr, before.lr, side, side))
        self.within_hr = nn.Parameter(torch.empty(after.hr, before.hr, side, side))
        self.bias = nn.Parameter(torch.zeros(after.lr + after.hr))
        self._after = after
        # Outputs as large as inputs, whatever the shares: each has a variance of one over what it reads.
        for weight, fan_in in (
            (self.to_lr, before.channels),
            (self.to_hr, before.lr + before.hr),
            (self.within_hr, before.lr + before.hr),
        ):
            nn.init.normal_(weight, std=(max(fan_in, 1) * side**2) ** -0.5)

    def lr_kernel(self) -> Tensor:
        """Return the whole as the kernel of one LR convolution, (channels, channels, side, side)."""
        within = lift(self.within_hr)
        return torch.cat((self.to_lr, torch.cat((self.to_hr, within), dim=1)))

    def lr_bias(self) -> Tensor:
        """Return the biases of that convolution: the phases of an HR map share theirs."""
        return torch.cat((self.bias[: self._after.lr], self.bias[self._after.lr :].repeat_interleave(PHASES)))

    def forward(self, features: Tensor) -> Tensor:
        """Convolve a batch."""
        kernel = self.lr_kernel().contiguous(memory_format=torch.channels_last)
        return conv2d(features, kernel, self.lr_bias())


def lift(weight: Tensor) -> Tensor:
    """Return HR kernels (m, n, k, k), k odd, as LR kernels (r**2 * m, r**2 * n, k, k).

    Unpadded: they drop k // 2 LR pixels, where the HR kernels would drop k // 2 HR pixels.
    """
    after, before, side, _ = weight.shape
    if not after * before:
        return weight.new_zeros(PHASES * after, PHASES * before, side, side)
    reach = SCALE * (side // 2)  # what k LR taps reach on each side, in HR pixels
    return lift_conv(pad(weight, [reach - side // 2] * 4), SCALE, padding=reach)


class Mixed(nn.Module):
    """Convolutions with ReLU between them, each depth with its own maps in LR and in HR space.

    Unpadded: (n, 1, h + 2m, w + 2m) in 0..1 to (n, 1, r*h, r*w), m the radius. The layers add to the bicubic
    image, as in the networks that work in one space.

    Args:
        maps: maps at each depth between the image and the enlarged image.

    Example:
        >>> network = Mixed([Maps(16, 0), Maps(8, 2)])
        >>> network.radius
        4
        >>> network(torch.zeros(1, 1, 18, 28)).shape
        torch.Size([1, 1, 20, 40])
    """

    def __init__(self, maps: Sequence[Maps]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MixedConv2d(*layer) for layer in _layers(maps))
        with torch.no_grad():
            for weight in self.parameters():
                weight.mul_(2**0.5)  # since ReLU lets half of the variance pass
            for weight in self.layers[-1].parameters():
                weight.mul_(0.1)  # what is added to the bicubic image is small to begin with
        self.bicubic = Bicubic(SCALE)
        self.radius = sum(side // 2 for *_, side in _layers(maps))  # LR pixels of context on each side: m

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        features = (plane - 0.5).contiguous(memory_format=torch.channels_last)
        *inner, last = self.layers
        for layer in inner:
            features = torch.relu(layer(features))
        spare = self.radius - self.bicubic.radius
        image = self.bicubic(pad(plane, [-spare] * 4))
        return image + pixel_shuffle(last(features), SCALE)  # type: ignore[no-any-return]


def cost(maps: Sequence[Maps]) -> int:
    """Return the multiply-accumulates of a mixed network for each LR pixel, without the bicubic image.

    Example:
        >>> cost([Maps(16, 0), Maps(8, 2)])
        3064
    """
    return sum(operations(*layer) for layer in _layers(maps))


def _layers(maps: Sequence[Maps]) -> list[tuple[Maps, Maps, int]]:
    """Return what each layer reads and computes, and its side."""
    pairs = pairwise((IMAGE, *maps, ENLARGED))
    return [(before, after, SIDE if index else FIRST) for index, (before, after) in enumerate(pairs)]


def fitting(shares: Sequence[float], budget: int) -> list[Maps]:
    """Return the maps of the network whose operations come nearest to a budget.

    Args:
        shares: of the memory at each depth, that in HR space; the memory is the same at all depths.
        budget: multiply-accumulates for an LR pixel, as `cost` counts them.

    Example:
        >>> fitting([0, 0, 1], cost([Maps(16, 0)] * 3))
        [Maps(lr=17, hr=0), Maps(lr=17, hr=0), Maps(lr=0, hr=4)]
    """
    candidates = (
        [
            Maps(round((1 - share) * (memory + more)), round(share * (memory + more) / PHASES))
            for share, more in zip(shares, extra, strict=True)
        ]
        for memory in np.arange(4, 40, 0.5)
        for extra in product((0, 1), repeat=len(shares))  # so that the steps of cost are small
    )
    return min(candidates, key=lambda maps: abs(cost(maps) - budget))
