"""The networks that are compared, by their shapes."""

from dataclasses import dataclass

from subpixel.extras import needing
from subpixel.studies.lab.networks import InHR, InLR

with needing("study"):
    import torch

Network = InLR | InHR

MAPS = {2: 32, 3: 36}  # n by r
KERNEL = 3  # k


@dataclass(frozen=True)
class Shape:
    """A network that can be built."""

    kind: type[Network]
    r: int
    maps: int
    kernel_sizes: tuple[int, int, int]
    tanh: bool = False  # instead of ReLU

    def build(self, seed: int) -> Network:
        """Return the network with the first weights of a seed."""
        torch.manual_seed(seed)
        activation = torch.tanh if self.tanh else torch.relu
        return self.kind(self.r, (self.maps, self.maps), self.kernel_sizes, activation=activation)

    @property
    def kernels(self) -> str:
        """Its kernels in words."""
        return ", ".join(f"{size}x{size}" for size in self.kernel_sizes)

    def __str__(self) -> str:
        activation = "tanh" if self.tanh else "ReLU"
        return f"x{self.r} {self.kind.__name__}, {self.maps} maps, {self.kernels}, {activation}"


def equal_operations(r: int) -> tuple[Shape, Shape]:
    """Return the LR network and the HR network of the same multiply-accumulates."""
    long = KERNEL * r
    lr = Shape(InLR, r, MAPS[r], (long, KERNEL, KERNEL))
    return lr, Shape(InHR, r, MAPS[r] // r**2, (long, long, long))
