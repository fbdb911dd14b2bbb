"""ESPCN, the network of Shi et al. 2016, to train and to export."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from subpixel.network import Convolution, LRNetwork

_ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


class ESPCN(nn.Module):
    """5x5x64, 3x3x32, 3x3xr**2, periodic shuffle: three convolutions in low-resolution space, Y only.

    Unpadded: a plane of (h + 8, w + 8) pixels becomes one of (r*h, r*w). Values are 0..1; the network works
    on them less one half, which `lr_network` folds into the biases.

    Args:
        upscale_factor: r.
        activation: "tanh", as in the paper's results, or "relu", its other network.

    References: Shi et al. 2016 (arXiv:1609.05158), sections 3.1 and 4.2.
    """

    def __init__(self, upscale_factor: int, activation: Literal["tanh", "relu"] = "tanh") -> None:
        super().__init__()
        self.upscale_factor = upscale_factor
        self.activation = activation
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(1, 64, 5), nn.Conv2d(64, 32, 3), nn.Conv2d(32, upscale_factor**2, 3)]
        )
        self._activate = _ACTIVATIONS[activation]()
        self._initialise()

    radius = 4

    def forward(self, plane: Tensor) -> Tensor:
        """(n, 1, h + 8, w + 8) to (n, 1, r*h, r*w)."""
        *inner, last = self.convolutions
        features = plane - 0.5
        for convolution in inner:
            features = self._activate(convolution(features))
        return pixel_shuffle(last(features).float() + 0.5, self.upscale_factor)

    def lr_network(self) -> LRNetwork:
        """The same function as data, for the engines and for a file."""
        activations = (self.activation, self.activation, None)
        weights = [convolution.weight.detach().cpu().double() for convolution in self.convolutions]
        biases = [convolution.bias.detach().cpu().double() for convolution in self.convolutions]
        biases[0] = biases[0] - 0.5 * weights[0].sum((1, 2, 3))
        biases[-1] = biases[-1] + 0.5
        return LRNetwork(
            self.upscale_factor,
            tuple(
                Convolution(weight.float().numpy(), bias.float().numpy(), activation)
                for weight, bias, activation in zip(weights, biases, activations, strict=True)
            ),
        )

    def start_from(self, network: LRNetwork) -> None:
        """Take over the convolutions of another ESPCN, the last one only where the upscale factor is the same.

        Raises:
            ValueError: the network has not the shapes or the activation of this one.
        """
        ours = self.lr_network()
        pairs = list(zip(ours.convolutions, network.convolutions, strict=False))
        shapes_agree = len(network.convolutions) == 3 and all(
            a.weight.shape == b.weight.shape and a.activation == b.activation for a, b in pairs[:2]
        )
        if not shapes_agree or network.channels != 1:
            raise ValueError(
                f"the initial network must be an ESPCN with {self.activation}; got {network.name}: "
                f"{[(c.weight.shape, c.activation) for c in network.convolutions]}."
            )
        taken = 3 if network.upscale_factor == self.upscale_factor else 2
        with torch.no_grad():
            for layer, convolution in zip(self.convolutions[:taken], network.convolutions, strict=False):
                layer.weight.copy_(torch.tensor(convolution.weight))
                layer.bias.copy_(torch.tensor(convolution.bias))
            self.convolutions[0].bias += 0.5 * self.convolutions[0].weight.sum((1, 2, 3))
            if taken == 3:
                self.convolutions[-1].bias -= 0.5

    def _initialise(self) -> None:
        for convolution in self.convolutions:
            nn.init.orthogonal_(convolution.weight)
            nn.init.zeros_(convolution.bias)
        with torch.no_grad():
            self.convolutions[-1].weight *= 0.1  # starts near grey: the paper slows the last layer tenfold
