"""Residual networks whose blocks have a branch in LR space, one in HR space, or both."""

from collections.abc import Collection

from subpixel.extras import needing
from subpixel.studies.lab.mixed import ENLARGED, FIRST, IMAGE, SCALE, SIDE, Maps, MixedConv2d, operations
from subpixel.studies.lab.networks import Bicubic

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import pad, pixel_shuffle

BLOCKS = 3
TRUNK = {"LR": Maps(16, 0), "HR": Maps(0, 4)}  # the same numbers, as the branches read them
HIDDEN = 16  # maps between the two convolutions of a block, in both branches together


class Block(nn.ModuleDict):
    """A residual block with a branch in LR space, one in HR space, or both.

    Unpadded: (n, 16, h + 4, w + 4) to (n, 16, h, w).

    Args:
        in_hr: hidden maps of the HR branch; the LR branch has the others.
    """

    def __init__(self, in_hr: int) -> None:
        hidden = {"LR": Maps(HIDDEN - in_hr, 0), "HR": Maps(0, in_hr)}
        super().__init__(
            {
                space: nn.Sequential(
                    MixedConv2d(TRUNK[space], maps), nn.ReLU(), MixedConv2d(maps, TRUNK[space])
                )
                for space, maps in hidden.items()
                if maps.channels
            }
        )
        self.cut: Collection[str] = ()  # the spaces whose branch is left out
        with torch.no_grad():  # a block adds little to begin with
            for branch in self.values():
                for parameter in list(branch.children())[-1].parameters():
                    parameter.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Add the branches to a batch."""
        added = [branch(features) for space, branch in self.items() if space not in self.cut]
        return sum(added, pad(features, [-2 * (SIDE // 2)] * 4))


class Residual(nn.Module):
    """A residual network, from an image in LR space to one in HR space.

    Unpadded: (n, 1, h + 2m, w + 2m) in 0..1 to (n, 1, r*h, r*w), m the radius.

    Args:
        in_hr: hidden maps of the HR branches.
    """

    radius = FIRST // 2 + (2 * BLOCKS + 1) * (SIDE // 2)

    def __init__(self, in_hr: int) -> None:
        super().__init__()
        self.first = MixedConv2d(IMAGE, TRUNK["LR"], FIRST)
        self.blocks = nn.ModuleList(Block(in_hr) for _ in range(BLOCKS))
        self.last = MixedConv2d(TRUNK["LR"], ENLARGED)
        with torch.no_grad():  # what is added to the bicubic image is small to begin with
            for parameter in self.last.parameters():
                parameter.mul_(0.1)
        self.bicubic = Bicubic(SCALE)

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        features = self.first((plane - 0.5).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            features = block(features)
        spare = self.radius - self.bicubic.radius
        image = self.bicubic(pad(plane, [-spare] * 4))
        return image + pixel_shuffle(self.last(features), SCALE)  # type: ignore[no-any-return]


def cost(in_hr: int) -> int:
    """Return the multiply-accumulates of a residual network for each LR pixel, without the bicubic image.

    Example:
        >>> cost(0), cost(8)
        (14800, 14800)
    """
    hidden = {"LR": Maps(HIDDEN - in_hr, 0), "HR": Maps(0, in_hr)}
    block = sum(2 * operations(TRUNK[space], maps) for space, maps in hidden.items())
    ends = operations(IMAGE, TRUNK["LR"], FIRST) + operations(TRUNK["LR"], ENLARGED)
    return BLOCKS * block + ends
