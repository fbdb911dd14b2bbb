"""Networks to train; each exports an LR network."""

from abc import abstractmethod

from subpixel.extras import needing
from subpixel.network import LRNetwork

with needing("torch"):
    from torch import Tensor, nn


class Model(nn.Module):
    """A network to train: unpadded, (n, c, h + 2m, w + 2m) in 0..1 to (n, c, r*h, r*w).

    Attributes:
        upscale_factor: r.
        radius: m, LR pixels of context on each side.
    """

    upscale_factor: int
    radius: int

    @property
    @abstractmethod
    def identity(self) -> dict[str, str | int]:
        """What tells this network from others: its name and its arguments."""

    @abstractmethod
    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""

    @abstractmethod
    def lr_network(self) -> LRNetwork:
        """The same function as data, for the engines and for a file."""

    @abstractmethod
    def start_from(self, network: LRNetwork) -> None:
        """Take over what fits of a trained network.

        Raises:
            ValueError: it is not of this kind.
        """
