"""The two kinds of networks of the note's section 3: convolutions in LR space, or in HR space."""

from collections.abc import Callable, Sequence
from itertools import pairwise, product
from typing import cast

from subpixel.extras import needing
from subpixel.kernels import interpolation_to_lr, lift_conv

with needing("study"):
    import torch
    from torch import Tensor, nn
    from torch.nn.functional import conv2d, conv_transpose2d, pad, pixel_shuffle


Activation = Callable[[Tensor], Tensor]


class Bicubic(nn.Module):
    """Fixed bicubic interpolation, unpadded: (n, 1, h + 4, w + 4) to (n, 1, r*h, r*w).

    It is PyTorch's, as an LR convolution of 5x5 taps.

    Args:
        upscale_factor: r.
    """

    radius = 2

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor
        self.register_buffer(
            "kernel", torch.from_numpy(interpolation_to_lr("cubic", upscale_factor, 2)).float()
        )

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        return pixel_shuffle(conv2d(plane, self.kernel), self.upscale_factor)  # type: ignore[arg-type]

    @property
    def macs_per_lr_pixel(self) -> int:
        """Multiply-accumulates for an LR pixel."""
        return self.kernel.numel()  # type: ignore[operator]


class _Stack(nn.Module):
    """Unpadded convolutions and activations, to which the bicubic image may be added."""

    def __init__(
        self,
        upscale_factor: int,
        maps: Sequence[int],
        kernel_sizes: Sequence[int],
        *,
        skip: bool = True,
        activation: Activation = torch.relu,
    ) -> None:
        super().__init__()
        self.upscale_factor, self.skip, self.activation = upscale_factor, skip, activation
        self.bicubic = Bicubic(upscale_factor)
        pairs = zip(pairwise((1, *maps, self._outputs(upscale_factor))), kernel_sizes, strict=True)
        self._convolutions = nn.ModuleList(nn.Conv2d(*channels, size) for channels, size in pairs)
        for convolution in self.convolutions:
            nn.init.orthogonal_(convolution.weight)
            nn.init.zeros_(cast(Tensor, convolution.bias))
        with torch.no_grad():  # what is added to the skip is small to begin with
            self.convolutions[-1].weight.mul_(0.1)

    @staticmethod
    def _outputs(upscale_factor: int) -> int:
        """Return the maps of the last layer."""
        raise NotImplementedError

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        """The layers from first to last."""
        return cast(list[nn.Conv2d], list(self._convolutions))

    @property
    def weights(self) -> int:
        """The number of weights to train, biases included."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def _reach(self) -> tuple[int, int]:
        """Pixels that the convolutions read before and after each pixel."""
        lost = sum(convolution.kernel_size[0] - 1 for convolution in self.convolutions)
        return lost // 2, lost - lost // 2

    def _convolve(self, plane: Tensor, margin: int) -> Tensor:
        """Return what the convolutions make of a plane that has `margin` pixels of context."""
        before, after = (margin - reach for reach in self._reach)
        features = _crop(plane, before, after)
        *inner, last = self.convolutions
        for convolution in inner:
            features = self.activation(convolution(features))
        return cast(Tensor, last(features))

    def _multiplications(self) -> int:
        """Weights of the convolutions: multiply-accumulates for each pixel of the space that they work in."""
        return sum(convolution.weight.numel() for convolution in self.convolutions)


class InLR(_Stack):
    """An LR network: convolutions in LR space, the last one to r**2 maps, periodic shuffle.

    Unpadded: (n, 1, h + 2m, w + 2m) in 0..1 to (n, 1, r*h, r*w), m the radius.

    Args:
        upscale_factor: r.
        maps: feature maps of each layer except the last.
        kernel_sizes: one a layer, the last included. Where their sum less one each is odd, the network reads
            one pixel more after each pixel than before it.
        skip: whether the layers add to the bicubic image, instead of to grey.
        activation: of all layers except the last. With tanh, few steps leave a network nearly linear.

    Example:
        >>> network = InLR(2, (32, 32), (5, 3, 3))
        >>> network.radius, network.macs_per_lr_pixel, network.weights
        (4, 11268, 11236)
        >>> network(torch.zeros(1, 1, 18, 28)).shape
        torch.Size([1, 1, 20, 40])
    """

    @staticmethod
    def _outputs(upscale_factor: int) -> int:
        return upscale_factor**2

    @property
    def radius(self) -> int:
        """LR pixels of context on each side: m."""
        return max(self._reach[1], self.bicubic.radius * self.skip)

    @property
    def macs_per_lr_pixel(self) -> int:
        """Multiply-accumulates for an LR pixel, the skip included."""
        return self._multiplications() + self.skip * self.bicubic.macs_per_lr_pixel

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        centred = plane - 0.5
        sr = pixel_shuffle(self._convolve(centred, self.radius), self.upscale_factor)
        if self.skip:
            spare = self.radius - self.bicubic.radius
            sr = sr + self.bicubic(_crop(centred, spare, spare))
        return sr + 0.5


class InHR(_Stack):
    """An HR network: bicubic interpolation first, then convolutions in HR space, the last one to one map.

    Unpadded: (n, 1, h + 2m, w + 2m) in 0..1 to (n, 1, r*h, r*w), m the radius.

    Args:
        upscale_factor: r.
        maps: feature maps of each layer except the last.
        kernel_sizes: one a layer, the last included, as for `InLR`.
        skip: whether the layers add to the bicubic image, instead of to grey.
        activation: of all layers except the last. With tanh, few steps leave a network nearly linear.

    Example:
        >>> network = InHR(2, (8, 8), (6, 6, 6))
        >>> network.radius, network.macs_per_lr_pixel, network.weights
        (6, 11620, 2897)
        >>> network(torch.zeros(1, 1, 22, 32)).shape
        torch.Size([1, 1, 20, 40])
    """

    @staticmethod
    def _outputs(upscale_factor: int) -> int:  # noqa: ARG004 (whatever the factor, one HR map)
        return 1

    @property
    def radius(self) -> int:
        """LR pixels of context on each side: m."""
        return self.bicubic.radius - (-self._reach[1] // self.upscale_factor)

    @property
    def macs_per_lr_pixel(self) -> int:
        """Multiply-accumulates for an LR pixel, the interpolation included."""
        return self.upscale_factor**2 * self._multiplications() + self.bicubic.macs_per_lr_pixel

    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""
        margin = (self.radius - self.bicubic.radius) * self.upscale_factor
        image = self.bicubic(plane - 0.5)
        sr = self._convolve(image, margin)
        if self.skip:
            sr = sr + _crop(image, margin, margin)
        return sr + 0.5


def lift(network: InHR) -> InLR:
    """Return the LR network that computes the same: its maps are the r**2 phases of the maps in HR space.

    The interpolation becomes a part of the first layer. Many of the weights are zeros, which a kernel in HR
    space cannot change; here they are like any others.
    """
    r, layers = network.upscale_factor, network.convolutions
    paddings = _paddings([layer.kernel_size[0] for layer in layers], r)
    weights = [
        lift_conv(layer.weight.detach(), r, padding=padding)
        for layer, padding in zip(layers, paddings, strict=True)
    ]
    weights[0] = conv_transpose2d(weights[0], network.bicubic.kernel)  # type: ignore[arg-type]
    maps, kernel_sizes = [len(weight) for weight in weights[:-1]], [weight.shape[-1] for weight in weights]
    result = InLR(r, maps, kernel_sizes, skip=network.skip, activation=network.activation).to(weights[0])
    with torch.no_grad():
        for ours, theirs, weight in zip(result.convolutions, layers, weights, strict=True):
            ours.weight.copy_(weight)
            cast(Tensor, ours.bias).copy_(cast(Tensor, theirs.bias).repeat_interleave(r**2))
    return result


def _paddings(kernel_sizes: Sequence[int], r: int) -> tuple[int, ...]:
    """Return the HR pixels that each HR layer is taken to read before each pixel.

    Only their sum is given. Lifted, a layer that reads p HR pixels before and q after each reads ceil(p / r)
    LR pixels before and ceil(q / r) after. Of all choices whose LR layers together read as many before as
    after, or one less, as `InLR` does, this is one with the fewest taps, its layers the least off centre.
    """
    best: list[tuple[int, int, tuple[int, ...]]] = []
    for before in product(*map(range, kernel_sizes)):
        after = [size - 1 - p for size, p in zip(kernel_sizes, before, strict=True)]
        low, high = (sum(-(-reach // r) for reach in reaches) for reaches in (before, after))
        if 0 <= sum(after) - sum(before) <= 1 and 0 <= high - low <= 1:
            off_centre = sum(abs(q - p) for p, q in zip(before, after, strict=True))
            best.append((low + high, off_centre, before))
    return min(best)[-1]


def _crop(planes: Tensor, before: int, after: int) -> Tensor:
    """Return planes without some pixels at the start and at the end of both axes."""
    return pad(planes, (-before, -after, -before, -after))
