"""A network that chooses at each depth how many of its maps are in LR and how many in HR space."""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.lab.mixed import (
    ENLARGED,
    FIRST,
    IMAGE,
    PHASES,
    SCALE,
    SIDE,
    Maps,
    Mixed,
    cost,
    lift,
    operations,
)
from subpixel.studies.lab.networks import Bicubic

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import conv2d, mse_loss, pad, pixel_shuffle

DEPTHS = 4
BUDGET = cost([Maps(16, 0)] * DEPTHS)
UNITS = 8  # at each depth: what the budget pays where all are in HR space
CHANCE = 0.55  # that a unit is there, to begin with: near the budget with half of the units in HR space
TEMPERATURE = 2 / 3  # of the gates, as Maddison et al. have it
SPEED = 50  # how much faster gates move than weights: thousands of steps must take them anywhere
PRICE = 20  # of the squared share by which the expected operations miss the budget


class Gates(nn.Module):
    """Switches that are drawn at each step, and whose chances are trained.

    Args:
        shape: of the switches.
        chance: to be on, to begin with.
    """

    def __init__(self, *shape: int, chance: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.full(shape, math.log(chance / (1 - chance)) / SPEED))

    def chances(self) -> Tensor:
        """Return the chance of each to be on."""
        return torch.sigmoid(SPEED * self.logits)

    def draw(self) -> Tensor:
        """Return zeros and ones, whose gradient is that of a smooth variable made from the same noise."""
        noise = torch.rand_like(self.logits).clamp(1e-6, 1 - 1e-6).logit()
        smooth = torch.sigmoid((SPEED * self.logits + noise) / TEMPERATURE)
        return (SPEED * self.logits + noise > 0).float() + (smooth - smooth.detach())


class GatedConv2d(nn.Module):
    """A convolution between units, each of r**2 LR maps or one HR map, whose kernels serve both.

    Args:
        before: channels that are read.
        after: channels that are computed, r**2 a unit.
        side: taps along an axis.
    """

    def __init__(self, before: int, after: int, side: int = SIDE) -> None:
        super().__init__()
        units = before // PHASES, after // PHASES  # of the image, which has one channel, none
        self.free = nn.Parameter(torch.empty(after, before, side, side))
        self.within_hr = nn.Parameter(torch.empty(units[1], units[0], side, side))
        self.bias = nn.Parameter(torch.zeros(units[1]))
        # Half of what is read is there, to begin with, and ReLU lets half of the variance pass.
        for weight in (self.free, self.within_hr):
            nn.init.normal_(weight, std=(2 / (max(weight.shape[1] / 2, 1) * side**2)) ** 0.5)

    def forward(self, features: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Convolve a batch; `before` and `after` are one for the units in HR space, zero for those in LR."""
        kernel: Tensor = self.free
        if len(before):
            within = torch.outer(after, before).repeat_interleave(PHASES, 0).repeat_interleave(PHASES, 1)
            kernel = torch.lerp(self.free, lift(self.within_hr), within[..., None, None])
        kernel = kernel.contiguous(memory_format=torch.channels_last)
        return conv2d(features, kernel, self.bias.repeat_interleave(PHASES))


class Search(nn.Module):
    """A `Mixed` network whose units come and go and change space, drawn anew at each step."""

    def __init__(self) -> None:
        super().__init__()
        channels = UNITS * PHASES
        self.layers = nn.ModuleList(
            [
                GatedConv2d(1, channels, FIRST),
                *(GatedConv2d(channels, channels) for _ in range(DEPTHS - 1)),
                GatedConv2d(channels, PHASES),
            ]
        )
        with torch.no_grad():  # what is added to the bicubic image is small to begin with
            for parameter in self.layers[-1].parameters():
                parameter.mul_(0.1)
        self.there = Gates(UNITS, chance=CHANCE)
        self.in_hr = Gates(DEPTHS, UNITS, chance=0.5)
        self.bicubic = Bicubic(SCALE)
        self.radius = Mixed([Maps(1, 0)] * DEPTHS).radius

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        features = (plane - 0.5).contiguous(memory_format=torch.channels_last)
        there = self.there.draw().repeat_interleave(PHASES)[:, None, None]
        spaces = pairwise((torch.zeros(0), *self.in_hr.draw(), torch.ones(1)))
        *inner, last = zip(self.layers, spaces, strict=True)
        for layer, (before, after) in inner:
            features = there * torch.relu(layer(features, before, after))
        layer, (before, after) = last
        spare = self.radius - self.bicubic.radius
        image = self.bicubic(pad(plane, [-spare] * 4))
        return image + pixel_shuffle(layer(features, before, after), SCALE)  # type: ignore[no-any-return]

    def loss(self, sr: Tensor, hr: Tensor) -> Tensor:
        """Return the error of an output, and what the operations cost that miss the budget."""
        return mse_loss(sr, hr).log() + PRICE * (self.operations() / BUDGET - 1) ** 2

    def operations(self) -> Tensor:
        """Return the expected multiply-accumulates for each LR pixel."""
        there, in_hr = self.there.chances(), self.in_hr.chances()
        both_there = torch.outer(there, there).fill_diagonal_(0) + torch.diag(there)  # a unit comes as one
        between, within = (operations(unit, unit) for unit in (Maps(PHASES, 0), ENLARGED))
        total = operations(IMAGE, ENLARGED, FIRST) * there.sum()
        for before, after in pairwise(in_hr):
            total = total + (both_there * (between - (between - within) * torch.outer(after, before))).sum()
        return total + (there * (between - (between - within) * in_hr[-1])).sum()

    def shares(self) -> NDArray[np.float64]:
        """Return the expected share in HR space of what the maps at each depth hold."""
        there, in_hr = self.there.chances(), self.in_hr.chances()
        return (in_hr @ there / there.sum()).detach().double().numpy()
