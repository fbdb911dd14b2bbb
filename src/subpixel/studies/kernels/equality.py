"""Trained layers and what they are rewritten as, run on photographs side by side in float64."""

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from subpixel.degradation import to_uint8
from subpixel.evaluation.metrics import psnr
from subpixel.extras import needing
from subpixel.kernels import lift_conv, lr_to_transposed
from subpixel.network import LRNetwork
from subpixel.studies.lab.networks import InHR
from subpixel.training.data import Pair

with needing("study"):
    import torch
    from torch import Tensor
    from torch.nn.functional import conv2d, conv_transpose2d, pixel_shuffle

Plane = NDArray[np.uint8]


def as_transposed(network: LRNetwork, photos: Sequence[Plane]) -> tuple[float, list[float]]:
    """Run the last layer of an ESPCN as an LR convolution and as a transposed one.

    Args:
        network: its last convolution has no skip beside it.
        photos: luma, to be reduced and enlarged again.

    Returns:
        The largest difference between both outputs, and the mean PSNR in dB by either.
    """
    r, (*first, last) = network.upscale_factor, network.convolutions
    weight, bias = _tensors(last.weight, last.bias)
    # An LR convolution without padding begins where its taps all see a pixel; a transposed one begins with
    # the first pixel alone, (K - 1) * r HR pixels before that.
    crop = r * (weight.shape[-1] - 1)
    differences, qualities = [], []
    for photo in photos:
        pair = Pair.from_hr(photo, r, network.radius)
        features = _plane(pair)
        for layer in first:
            kernel, offset = _tensors(layer.weight, layer.bias)
            features = torch.tanh(conv2d(features, kernel, offset))
        by_lr = pixel_shuffle(conv2d(features, weight), r)
        by_transposed = conv_transpose2d(features, lr_to_transposed(weight, r), stride=r, padding=crop)
        differences.append(_difference(by_lr, by_transposed))
        biases = pixel_shuffle(bias.view(1, -1, 1, 1).expand(-1, -1, *(n // r for n in pair.hr.shape)), r)
        outputs = [to_uint8(255 * (y + biases)[0, 0].numpy()) for y in (by_lr, by_transposed)]
        qualities.append([psnr(output, pair.hr, r) for output in outputs])
    return max(differences), [float(np.mean(column)) for column in zip(*qualities, strict=True)]


def as_lifted(network: InHR, photos: Sequence[Plane]) -> list[float]:
    """Run an HR network layer by layer, and its lifted kernels in LR space.

    Args:
        network: its kernels are odd, and it reads no HR pixel beyond those that its layers need.
        photos: luma, to be reduced and enlarged again.

    Returns:
        The largest difference after each layer, the last with the skip: the network's output.
    """
    r = network.upscale_factor
    network.double()
    with torch.no_grad():
        differences = [
            [_difference(hr, pixel_shuffle(lr, r)) for hr, lr in _side_by_side(network, _plane(pair))]
            for pair in (Pair.from_hr(photo, r, network.radius) for photo in photos)
        ]
    return [max(layer) for layer in zip(*differences, strict=True)]


def _side_by_side(network: InHR, plane: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what each layer makes in HR space, and the lifted layer in LR space."""
    r = network.upscale_factor
    margin = network.radius - network.bicubic.radius  # LR pixels that the layers read around each
    image = conv2d(plane, cast(Tensor, network.bicubic.kernel))  # phases of the bicubic image
    lr, hr = image - 0.5, pixel_shuffle(image, r) - 0.5
    for layer in network.convolutions:
        assert layer.bias is not None
        last = layer is network.convolutions[-1]
        lr = conv2d(lr, lift_conv(layer.weight, r, padding=0), layer.bias.repeat_interleave(r**2))
        if last:
            yield network(plane), lr + image[..., margin:-margin, margin:-margin]
        else:
            hr, lr = network.activation(layer(hr)), network.activation(lr)
            yield hr, lr


def _tensors(*arrays: NDArray[np.float32]) -> list[Tensor]:
    return [torch.from_numpy(array.astype(np.float64)) for array in arrays]


def _plane(pair: Pair) -> Tensor:
    return torch.from_numpy(pair.padded_lr / 255)[None, None]


def _difference(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one - other).abs().max())
