"""The periodic shuffle and its inverse, in one, two and three dimensions."""

from itertools import product
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from subpixel.functional import periodic_shuffle, periodic_unshuffle

factors_of = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def tensor(*shape: int) -> Tensor:
    return torch.arange(prod(shape)).reshape(shape)


@given(factors=factors_of, channels=st.integers(1, 3), batch=st.sampled_from([(), (2,), (2, 3)]))
@settings(max_examples=200)
def test_index_by_index(factors: tuple[int, ...], channels: int, batch: tuple[int, ...]) -> None:
    """Channel c * prod(r) + f at n becomes channel c at n * r + f; any leading axes; and back."""
    sizes = tuple(range(2, 2 + len(factors)))
    x = tensor(*batch, channels * prod(factors), *sizes)
    y = periodic_shuffle(x, factors)
    assert y.shape == (*batch, channels, *(n * r for n, r in zip(sizes, factors, strict=True)))
    for channel in range(channels):
        for index, phase in enumerate(product(*(range(r) for r in factors))):
            pixels = tuple(slice(f, None, r) for f, r in zip(phase, factors, strict=True))
            source = (..., channel * prod(factors) + index, *[slice(None)] * len(factors))
            assert torch.equal(y[(..., channel, *pixels)], x[source])
    assert torch.equal(periodic_unshuffle(y, factors), x)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_is_pytorchs_in_two_dimensions(memory_format: torch.memory_format) -> None:
    """Memory format and all."""
    x = tensor(2, 18, 4, 5).contiguous(memory_format=memory_format)
    y = periodic_shuffle(x, (3, 3))
    assert torch.equal(y, torch.nn.functional.pixel_shuffle(x, 3))
    assert torch.equal(periodic_unshuffle(y, (3, 3)), torch.nn.functional.pixel_unshuffle(y, 3))
    assert y.is_contiguous(memory_format=memory_format)
    assert periodic_unshuffle(y, (3, 3)).is_contiguous(memory_format=memory_format)


def test_keeps_channels_last_in_three_dimensions() -> None:
    x = tensor(2, 16, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d)
    y = periodic_shuffle(x, (2, 2, 2))
    assert torch.equal(y, periodic_shuffle(x.contiguous(), (2, 2, 2)))
    assert y.is_contiguous(memory_format=torch.channels_last_3d)


def test_the_input_is_left_alone() -> None:
    """As PyTorch's they give a copy, also where a view would do, so that what follows may work in place."""
    for x, factors in ((torch.ones(1, 2, 3, 3), (1, 1)), (torch.ones(1, 4, 1, 1), (2, 2))):
        periodic_shuffle(x, factors).zero_()
        periodic_unshuffle(periodic_unshuffle(x, (1, 1)).zero_(), (1, 1)).zero_()
        assert torch.equal(x, torch.ones_like(x))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_vmap(memory_format: torch.memory_format) -> None:
    x = tensor(2, 12, 4, 5).contiguous(memory_format=memory_format).expand(3, 2, 12, 4, 5)
    for f in (lambda x: periodic_shuffle(x, (2, 2)), lambda x: periodic_unshuffle(x, (2, 1))):
        assert torch.equal(torch.vmap(f)(x), torch.stack([f(each) for each in x]))


def test_gradients() -> None:
    x = torch.rand(8, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: periodic_shuffle(x, (2, 2)), x)
    assert torch.autograd.gradcheck(lambda x: periodic_unshuffle(x, (2, 3)), x)


@pytest.mark.parametrize(
    ("x", "factors", "message"),
    [
        (tensor(2, 6, 3, 3), (2, 2), r"x must be \(..., c \* 4, and 2 spatial axes\) .* got \(2, 6, 3, 3\)"),
        (tensor(4), (2,), "1 spatial axes"),
        (tensor(4, 3, 3), (2, 0), r"factors \(2, 0\)"),
        (tensor(4, 3, 3), (), "0 spatial axes"),
    ],
)
def test_shuffle_refuses(x: Tensor, factors: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        periodic_shuffle(x, factors)


@pytest.mark.parametrize(
    ("x", "factors"), [(tensor(1, 4, 5), (2, 2)), (tensor(4), (2,)), (tensor(1, 4), (0,)), (tensor(4), ())]
)
def test_unshuffle_refuses(x: Tensor, factors: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"x must be \(..., c, multiples of .*; got"):
        periodic_unshuffle(x, factors)
