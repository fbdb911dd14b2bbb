"""The plain LR network: branches that collapse exactly, an equal export, a start from others."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import evaluate
from torch.nn.functional import conv2d

from subpixel.kernels import compose_convs
from subpixel.models.espcn import ESPCN
from subpixel.models.plain import EDGES, Kernel, Plain

SIZES = st.integers(1, 4)


def plain(upscale_factor: int = 2, **options) -> Plain:
    """A small one with all its numbers random, in float64."""
    torch.manual_seed(0)
    model = Plain(upscale_factor, **{"channels": 4, "layers": 3, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@given(SIZES, SIZES, SIZES, st.integers(1, 4), st.integers(1, 4))
def test_two_convolutions_are_one(inputs: int, between: int, outputs: int, j: int, k: int) -> None:
    """In any number of axes, whole numbers: what one convolution after the other gives, to the last bit."""
    random = np.random.default_rng(0)
    first = torch.tensor(random.integers(-9, 10, (between, inputs, j, k)).astype(float))
    second = torch.tensor(random.integers(-9, 10, (outputs, between, k, j)).astype(float))
    image = torch.tensor(random.integers(-9, 10, (1, inputs, 9, 10)).astype(float))
    composed = compose_convs(first, second)
    assert torch.equal(conv2d(conv2d(image, first), second), conv2d(image, composed))
    np.testing.assert_array_equal(compose_convs(first.numpy(), second.numpy()), composed.numpy())


def test_only_convolutions_that_fit_are_composed() -> None:
    with pytest.raises(ValueError, match=r"take the channels of the first.*\(2, 1, 3\) and \(1, 3, 3\)"):
        compose_convs(np.zeros((2, 1, 3)), np.zeros((1, 3, 3)))


def test_branches_collapse_exactly() -> None:
    """The branches as layers of their own, bias and borders included, in float64."""
    kernel = Kernel(3, 5, expansion=7).double()
    branches = dict(kernel.branches.items())
    with torch.no_grad():
        for parameter in kernel.parameters():
            parameter.copy_(torch.randn_like(parameter))
    image = torch.randn(2, 3, 6, 7, dtype=torch.float64)
    expected = conv2d(image, kernel.direct, kernel.bias)
    expected += conv2d(conv2d(image, branches["expand"]), branches["squeeze"])
    for mixing, edge in zip(branches["edges"], torch.tensor(EDGES, dtype=torch.float64), strict=True):
        mixed = conv2d(image, mixing[:, :, None, None])
        expected += conv2d(mixed, (edge / edge.abs().sum()).expand(5, 1, 3, 3), groups=5)
    torch.testing.assert_close(kernel(image), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("activation", ["prelu", "leaky_relu"])
@pytest.mark.parametrize("skip", ["nearest", "bicubic"])
@pytest.mark.parametrize("expansion", [0, 6])
def test_the_export_computes_what_the_model_computes(factor, activation, skip, expansion) -> None:
    model = plain(factor, activation=activation, skip=skip, expansion=expansion)
    plane = np.random.default_rng(0).random((1, 1, 13, 12))
    with torch.no_grad():
        ours = model(torch.tensor(plane)).numpy()
    np.testing.assert_allclose(ours, evaluate(model.lr_network(), plane), rtol=0, atol=2e-6)


def test_branches_learn() -> None:
    """Every parameter has a gradient."""
    model = plain(expansion=6)
    model(torch.rand(1, 1, 12, 12, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("expansion", [0, 6])
def test_it_starts_from_a_network_of_its_kind(expansion: int) -> None:
    """It becomes that network; of another scale it takes all except the last convolution."""
    other = plain(2).lr_network()
    model = Plain(2, channels=4, layers=3, expansion=expansion)
    model.start_from(other)
    for ours, theirs in zip(model.lr_network().convolutions, other.convolutions, strict=True):
        np.testing.assert_allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)
        np.testing.assert_allclose(ours.bias, theirs.bias, rtol=0, atol=1e-6)
    larger = Plain(3, channels=4, layers=3, expansion=expansion)
    larger.start_from(other)
    for ours, theirs in zip(larger.lr_network().convolutions[:2], other.convolutions, strict=False):
        np.testing.assert_allclose(ours.weight, theirs.weight, rtol=0, atol=1e-6)
        np.testing.assert_array_equal(ours.slope, theirs.slope)


@pytest.mark.parametrize(
    "other",
    [ESPCN(2).lr_network(), plain(2, layers=4).lr_network(), plain(2, skip="nearest").lr_network()],
    ids=["espcn", "layers", "skip"],
)
def test_it_starts_from_no_other(other) -> None:
    with pytest.raises(ValueError, match="a plain network of channels=4, layers=3"):
        Plain(2, channels=4, layers=3).start_from(other)


@pytest.mark.parametrize("options", [{"channels": 0}, {"layers": 1}, {"expansion": -1}])
def test_what_is_too_few_is_refused(options) -> None:
    with pytest.raises(ValueError, match="channels must be 1 or more"):
        Plain(2, **options)
