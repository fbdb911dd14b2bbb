"""A plain LR network to train: 3x3 convolutions of equal width, an image skip, and a shuffle at the end."""

from itertools import pairwise
from typing import Literal, cast

from subpixel.extras import needing
from subpixel.kernels import compose_convs
from subpixel.models.base import Model, as_array
from subpixel.network import LRConvolution, LRNetwork, Skip

with needing("torch"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import conv2d, pixel_shuffle, prelu

Activation = Literal["prelu", "leaky_relu"]

SLOPE = 0.1  # for negative input, to begin with
EDGES = [  # differences across, down, and of the second order; divided by the sum of their magnitudes
    [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
]


class Plain(Model):
    """3x3 convolutions of `channels` maps in low-resolution space, a bicubic or nearest skip, Y only.

    Where ESPCN is wide and shallow, this one is narrow and deep. Planes are in 0..1; the layers work on
    x - 1/2, and `lr_network` folds that shift into the biases.

    Args:
        upscale_factor: r.
        channels: maps of each inner layer.
        layers: convolutions, the first and the last included; at least 2.
        activation: "prelu", with a slope for each map, or "leaky_relu", with one for all.
        skip: how the image itself is enlarged and added.
        expansion: maps of the branches that train beside each convolution, 0 for none; see `Kernel`.

    Raises:
        ValueError: channels, layers or expansion are too few.

    Example:
        >>> Plain(2, channels=8, layers=5)(torch.zeros(1, 1, 26, 34)).shape
        torch.Size([1, 1, 32, 48])

    References: Shi et al. 2016 (arXiv:1609.05158), section 3; Kim et al. 2016 (arXiv:1511.04587), section 3,
        for the skip.
    """

    _skip: Tensor

    def __init__(
        self,
        upscale_factor: int,
        *,
        channels: int = 16,
        layers: int = 6,
        activation: Activation = "prelu",
        skip: Skip = "bicubic",
        expansion: int = 0,
    ) -> None:
        super().__init__(upscale_factor)
        if channels < 1 or layers < 2 or expansion < 0:
            raise ValueError(
                "channels must be 1 or more, layers 2 or more, expansion 0 or more; "
                f"got channels={channels}, layers={layers}, expansion={expansion}."
            )
        self.channels, self.activation, self.skip, self.expansion = channels, activation, skip, expansion
        widths = [1, *[channels] * (layers - 1), upscale_factor**2]
        self.kernels = nn.ModuleList(Kernel(*pair, expansion) for pair in pairwise(widths))
        slopes = channels if activation == "prelu" else 1
        self.slopes = nn.ParameterList(torch.full((slopes,), SLOPE) for _ in range(layers - 1))
        with torch.no_grad():
            self._convolutions[-1].direct.mul_(0.1)  # what a network adds to its skip is small
        interpolation = self._as_data().skip_convolution
        assert interpolation is not None
        self.register_buffer("_skip", torch.tensor(interpolation.weight), persistent=False)

    @property
    def radius(self) -> int:
        """LR pixels of context on each side, one for each convolution."""
        return len(self.kernels)

    @property
    def identity(self) -> dict[str, str | int]:
        """The name and the arguments."""
        return {"model": "plain", "upscale_factor": self.upscale_factor, **self._options()}

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge (n, 1, h + 2m, w + 2m) to (n, 1, r*h, r*w)."""
        *inner, last = self._convolutions
        maps = plane = plane - 0.5
        for kernel, slope in zip(inner, self.slopes, strict=True):
            maps = prelu(kernel(maps), slope.to(maps.dtype))
        return pixel_shuffle(last(maps).float() + self._enlarged(plane), self.upscale_factor) + 0.5

    def lr_network(self) -> LRNetwork:
        """Return the same function as data: branches collapsed, the shift by one half in the biases."""
        return self._as_data().shifted(-0.5)

    def start_from(self, network: LRNetwork) -> None:
        """Copy all convolutions, or all except the last where the upscale factor is another.

        Raises:
            ValueError: the network does not have the shapes, the activations or the skip of this one.
        """
        if _kind(network) != _kind(self._as_data()):
            wanted = ", ".join(f"{name}={value}" for name, value in self._options().items())
            raise ValueError(
                f"the first weights must be those of a plain network of {wanted}; got {network.name}."
            )
        centred = network.shifted(0.5).convolutions
        copied = len(centred) - (network.upscale_factor != self.upscale_factor)
        for kernel, data in zip(self._convolutions[:copied], centred[:copied], strict=True):
            kernel.set(torch.tensor(data.weight), torch.tensor(data.bias))
        with torch.no_grad():
            for slope, data in zip(self.slopes, centred[:-1], strict=True):
                slope.copy_(torch.tensor(data.slope))

    @property
    def _convolutions(self) -> list["Kernel"]:
        return cast("list[Kernel]", list(self.kernels))

    def _options(self) -> dict[str, str | int]:
        return {
            "channels": self.channels,
            "layers": len(self.kernels),
            "activation": self.activation,
            "skip": self.skip,
            "expansion": self.expansion,
        }

    def _enlarged(self, plane: Tensor) -> Tensor:
        """Return the skip's (n, r*r, h, w) in float32: nothing would restore what bf16 took from it."""
        margin = self.radius - self._skip.shape[-1] // 2
        inside = slice(margin, -margin or None)
        with torch.autocast(plane.device.type, enabled=False):
            return conv2d(plane[..., inside, inside], self._skip)

    def _as_data(self) -> LRNetwork:
        *inner, last = ((as_array(kernel.weight()), as_array(kernel.bias)) for kernel in self._convolutions)
        activated = (
            LRConvolution(weight, bias, self.activation, as_array(slope))
            for (weight, bias), slope in zip(inner, self.slopes, strict=True)
        )
        return LRNetwork(self.upscale_factor, (*activated, LRConvolution(*last)), self.skip)


class Kernel(nn.Module):
    """A 3x3 convolution that trains as the sum of linear branches, and runs as the one that they make.

    The branches are a 3x3 convolution; one of 1x1 to more maps and one of 3x3 back; and a 1x1 convolution of
    each of three differences of the image. A sum of convolutions is a convolution, and so is their chain,
    since nothing is padded between. Only weights are ever combined, so a step costs about what that of the
    one convolution costs.

    Args:
        inputs: maps that it takes.
        outputs: maps that it gives.
        expansion: maps of the second branch; 0 leaves the first branch alone.

    References: Zhang et al. 2021, "Edge-oriented convolution block", section 3; Bhardwaj et al. 2022
        (arXiv:2103.09404), section 3, for combining the weights in each step.
    """

    _filters: Tensor

    def __init__(self, inputs: int, outputs: int, expansion: int = 0) -> None:
        super().__init__()
        self.direct = nn.Parameter(torch.empty(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.orthogonal_(self.direct)
        self.branches: nn.ParameterDict | None = None
        if expansion:
            self.branches = nn.ParameterDict(
                {
                    "expand": nn.init.orthogonal_(torch.empty(expansion, inputs, 1, 1)),
                    "squeeze": nn.init.normal_(torch.empty(outputs, expansion, 3, 3), std=0.01),
                    "edges": nn.init.normal_(torch.empty(len(EDGES), outputs, inputs), std=0.01),
                }
            )
            filters = torch.tensor(EDGES, dtype=torch.float32)
            self.register_buffer(
                "_filters", filters / filters.abs().sum((1, 2), keepdim=True), persistent=False
            )

    def weight(self) -> Tensor:
        """Return the kernel of the one convolution, (outputs, inputs, 3, 3)."""
        if self.branches is None:
            return self.direct
        expanded = compose_convs(self.branches["expand"], self.branches["squeeze"])
        edges: Tensor = torch.tensordot(self.branches["edges"], self._filters, dims=([0], [0]))
        weight: Tensor = self.direct + expanded + edges
        return weight

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve (n, inputs, h + 2, w + 2) to (n, outputs, h, w)."""
        return conv2d(maps, self.weight(), self.bias)

    @torch.no_grad()
    def set(self, weight: Tensor, bias: Tensor) -> None:
        """Become a convolution; the branches stay, and the first one makes up for them."""
        self.direct.add_(weight - self.weight())
        self.bias.copy_(bias)


def _kind(network: LRNetwork) -> list[object]:
    """Return what two networks share where one can start from the other: all except the outputs."""
    *inner, last = network.convolutions
    return [*((c.weight.shape, c.activation) for c in inner), last.weight.shape[1:], network.skip]


MODEL = Plain
