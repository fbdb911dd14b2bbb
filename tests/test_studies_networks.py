"""The two kinds of networks that studies train."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from subpixel.studies.lab.networks import Bicubic, InHR, InLR, lift

Kind = type[InLR] | type[InHR]

NETWORKS = [
    (kind, factor, kernel_sizes, skip)
    for kind in (InLR, InHR)
    for factor, kernel_sizes in (
        (2, (5, 3, 3)),
        (2, (6, 6, 6)),
        (3, (9, 9, 9)),
        (3, (4, 3, 1)),
    )
    for skip in (True, False)
]


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_bicubic_is_pytorchs(factor: int) -> None:
    """Away from the border, to float32's rounding of its kernel."""
    plane = torch.rand(2, 1, 12, 15)
    expected = functional.interpolate(plane, scale_factor=factor, mode="bicubic")
    inner = slice(2 * factor, -2 * factor)
    torch.testing.assert_close(Bicubic(factor)(plane), expected[..., inner, inner], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "factor", "kernel_sizes", "skip"), NETWORKS)
def test_networks_are_what_they_say(
    kind: Kind, factor: int, kernel_sizes: tuple[int, ...], skip: bool
) -> None:
    """Size of the output, multiply-accumulates by PyTorch's own count, weights, and who reads what."""
    network = kind(factor, (4, 5), kernel_sizes, skip=skip).double()
    radius, side = network.radius, 40
    plane = torch.rand(1, 1, side + 2 * radius, side + 2 * radius, dtype=torch.float64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        sr = network(plane)
    assert sr.shape == (1, 1, factor * side, factor * side)
    # Unpadded layers compute some pixels around those that are asked for.
    least, most = network.macs_per_lr_pixel * side**2, network.macs_per_lr_pixel * plane.numel()
    assert least <= counter.get_total_flops() / 2 <= most
    assert network.weights == sum(
        len(p.flatten()) for layer in network.convolutions for p in layer.parameters()
    )
    (gradient,) = torch.autograd.grad(sr[0, 0, 0, 0] + sr[0, 0, -1, -1], plane)
    rows = gradient.abs().sum(dim=(0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) >= len(gradient[0, 0]) - 3  # nothing spare, but a part of a phase


def as_written(network: InLR | InHR, plane: Tensor) -> Tensor:
    """An image enlarged by PyTorch's interpolation and by each layer with zero padding."""
    enlarge = {"scale_factor": network.upscale_factor, "mode": "bicubic"}
    image = functional.interpolate(plane, **enlarge)  # type: ignore[arg-type]
    features = (image if isinstance(network, InHR) else plane) - 0.5
    for index, layer in enumerate(network.convolutions):
        features = functional.conv2d(features, layer.weight, layer.bias, padding="same")  # type: ignore[arg-type]
        features = torch.relu(features) if index < len(network.convolutions) - 1 else features
    if isinstance(network, InLR):
        features = functional.pixel_shuffle(features, network.upscale_factor)
    return features + (image if network.skip else 0.5)


@pytest.mark.parametrize("kind", [InLR, InHR])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("kernel_sizes", [(5, 3, 3), (7, 1, 5)])
def test_an_unpadded_network_is_the_padded_one_away_from_the_border(
    kind: Kind, skip: bool, kernel_sizes: tuple[int, ...]
) -> None:
    """Nothing is shifted: the layers and the skip meet at the same pixel."""
    network = kind(2, (4, 5), kernel_sizes, skip=skip).double()
    plane = torch.rand(1, 1, 40, 44, dtype=torch.float64)
    border = 2 * network.radius
    expected = as_written(network, plane)[..., border:-border, border:-border]
    torch.testing.assert_close(network(plane), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [InLR, InHR])
def test_networks_begin_near_the_bicubic_image(kind: Kind) -> None:
    """What is added to the skip is small, and without the skip the output is near grey."""
    plane = torch.rand(1, 1, 30, 30)
    image = Bicubic(2)(plane)
    for skip in (True, False):
        network = kind(2, (8, 8), (3, 3, 3), skip=skip)
        cut = 2 * (network.radius - 2)
        start = (
            image[..., cut : image.shape[2] - cut, cut : image.shape[3] - cut] if skip else torch.tensor(0.5)
        )
        assert float((network(plane) - start).detach().abs().max()) < 0.2


@pytest.mark.parametrize(
    ("factor", "kernel_sizes", "lifted"),
    [
        (2, (6, 6, 6), (8, 4, 4)),
        (2, (5, 5, 5), (7, 3, 3)),
        (2, (4, 4, 4), (7, 3, 3)),
        (2, (2, 2, 2), (6, 2, 2)),
        (3, (9, 9, 9), (8, 4, 4)),
        (3, (7, 7, 7), (7, 3, 3)),
        (3, (6, 6, 6), (7, 3, 3)),
        (3, (5, 3, 1), (7, 2, 1)),
    ],
)
@pytest.mark.parametrize("skip", [True, False])
def test_an_hr_network_lifts_to_an_lr_network_of_the_same_output(
    factor: int, kernel_sizes: tuple[int, ...], lifted: tuple[int, ...], skip: bool
) -> None:
    """To 1e-12 of outputs up to several units; a single weight that differs is seen."""
    network = InHR(factor, (4, 5), kernel_sizes, skip=skip, activation=torch.relu).double()
    with torch.no_grad():
        network.convolutions[-1].weight.mul_(100)
        for layer in network.convolutions:
            layer.bias.copy_(torch.rand(layer.bias.shape))  # type: ignore[union-attr]
    freed = lift(network)
    assert [layer.kernel_size for layer in freed.convolutions] == [(size, size) for size in lifted]
    plane = torch.rand(2, 1, 30, 33, dtype=torch.float64)
    spare = freed.radius - network.radius
    expected = network(plane[..., spare : 30 - spare, spare : 33 - spare])
    torch.testing.assert_close(freed(plane), expected, rtol=0, atol=1e-12)
    with torch.no_grad():
        freed.convolutions[1].weight[0, 0, -1, -1] += 1e-6
    assert float((freed(plane) - expected).detach().abs().max()) > 1e-10


def test_lifted_weights_are_zeros_and_copies_until_they_are_trained() -> None:
    """Each weight of a hidden layer stands r**2 times in the lifted one; the others are zeros."""
    network = InHR(3, (4, 4), (9, 9, 9))
    weight = network.convolutions[1].weight.detach()
    lifted = lift(network).convolutions[1].weight.detach()
    values, counts = lifted[lifted != 0].unique(return_counts=True)
    assert torch.equal(values, weight.flatten().sort().values)
    assert set(counts.tolist()) == {9}
