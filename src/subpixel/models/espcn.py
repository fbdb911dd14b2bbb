"""ESPCN, the network of Shi et al. 2016, to train and to export."""

from typing import Literal

from subpixel.extras import needing
from subpixel.models.base import Model, as_array
from subpixel.network import LRConvolution, LRNetwork

with needing("torch"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import pixel_shuffle

Activation = Literal["tanh", "relu"]


class ESPCN(Model):
    """5x5x64, 3x3x32, 3x3xr**2, periodic shuffle: three convolutions in low-resolution space, Y only.

    Planes are in 0..1; the layers work on x - 1/2, and `lr_network` folds that shift into the biases.

    Args:
        upscale_factor: r.
        activation: "tanh", which the paper's best figures are measured with, or "relu", which it compares.

    Example:
        >>> ESPCN(3)(torch.zeros(1, 1, 20, 28)).shape
        torch.Size([1, 1, 36, 60])

    References: Shi et al. 2016 (arXiv:1609.05158), sections 3.1 and 4.2.
    """

    radius = 4  # (5 - 1) / 2 + (3 - 1) / 2 + (3 - 1) / 2

    def __init__(self, upscale_factor: int, *, activation: Activation = "tanh") -> None:
        super().__init__(upscale_factor)
        self.activation = activation
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, 64, 5), nn.Conv2d(64, 32, 3), nn.Conv2d(32, upscale_factor**2, 3)]
        )
        self._initialise()

    @property
    def identity(self) -> dict[str, str | int]:
        """The name and the arguments."""
        return {"model": "espcn", "upscale_factor": self.upscale_factor, "activation": self.activation}

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge (n, 1, h + 8, w + 8) to (n, 1, r*h, r*w)."""
        activate = {"tanh": torch.tanh, "relu": torch.relu}[self.activation]
        *inner, last = self.convolutions
        features = plane - 0.5
        for convolution in inner:
            features = activate(convolution(features))
        return pixel_shuffle(last(features).float() + 0.5, self.upscale_factor)

    def lr_network(self) -> LRNetwork:
        """Return the same function as data; the shift by one half is in the biases."""
        return self._as_data().shifted(-0.5)

    def start_from(self, network: LRNetwork) -> None:
        """Copy all convolutions, or all except the last where the upscale factor is another.

        Raises:
            ValueError: the network does not have the shapes or the activations of this one.
        """
        kinds = [
            [(c.weight.shape, c.activation) for c in convolutions[:2]]
            for convolutions in (network.convolutions, self._as_data().convolutions)
        ]
        if kinds[0] != kinds[1] or len(network.convolutions) != 3 or network.skip is not None:
            raise ValueError(
                f"the first weights must be an ESPCN's with {self.activation}; got {network.name}."
            )
        copied = 3 if network.upscale_factor == self.upscale_factor else 2
        centred = network.shifted(0.5).convolutions
        with torch.no_grad():
            for layer, data in zip(self.convolutions[:copied], centred[:copied], strict=True):
                for ours, theirs in zip(layer.parameters(), (data.weight, data.bias), strict=True):
                    ours.copy_(torch.from_numpy(theirs.copy()))

    def _as_data(self) -> LRNetwork:
        activations = (self.activation, self.activation, None)
        convolutions = []
        for layer, activation in zip(self.convolutions, activations, strict=True):
            weight, bias = map(as_array, layer.parameters())
            convolutions.append(LRConvolution(weight, bias, activation))
        return LRNetwork(self.upscale_factor, tuple(convolutions))

    def _initialise(self) -> None:
        for layer in self.convolutions:
            weight, bias = layer.parameters()
            nn.init.orthogonal_(weight)
            nn.init.zeros_(bias)
        with torch.no_grad():
            # Outputs near grey to begin with; the paper gives the last layer a lower learning rate instead.
            next(self.convolutions[-1].parameters()).mul_(0.1)


MODEL = ESPCN
