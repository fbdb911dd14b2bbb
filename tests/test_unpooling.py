"""Unpooling that remembers its indices is not a convolution and a shuffle; unpooling to a fixed corner is.

The note (arXiv:1609.07009), footnote 3.
"""

from itertools import product

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import assume, given
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, max_pool2d, max_unpool2d, pad

from subpixel.functional import periodic_shuffle, periodic_unshuffle

seeds = st.integers(0, 2**32 - 1)
factors = st.integers(2, 3)


def same_maxima(r: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return two images with the same pixels in each window of r x r pixels, in another order."""
    random = torch.Generator().manual_seed(seed)
    phases = torch.randperm(9 * r * r, generator=random).double().reshape(1, r * r, 3, 3)
    return periodic_shuffle(phases, (r, r)), periodic_shuffle(phases.roll(1, dims=1), (r, r))


@given(r=factors, seed=seeds)
def test_equal_pooled_values_are_unpooled_differently(r: int, seed: int) -> None:
    """So the result is no function of the pooled values, and no LR convolution of them and a shuffle."""
    (pooled, indices), (pooled_too, other_indices) = (
        max_pool2d(image, r, return_indices=True) for image in same_maxima(r, seed)
    )
    assert torch.equal(pooled, pooled_too)
    one, other = max_unpool2d(pooled, indices, r), max_unpool2d(pooled_too, other_indices, r)
    assert not torch.equal(one, other)
    assert torch.equal(one.unfold(2, r, r).unfold(3, r, r).amax((-1, -2)), pooled)


@given(r=factors, seed=seeds)
def test_held_indices_do_not_follow_a_shift(r: int, seed: int) -> None:
    """With the indices held, unpooling is linear, but its taps differ from pixel to pixel.

    On a torus an LR convolution and a shuffle follow every shift: x by one pixel, the result by r. Integers
    in float64, so that sums are exact.
    """
    image, _ = same_maxima(r, seed)
    _, indices = max_pool2d(image, r, return_indices=True)
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(1, 99, (1, 1, 3, 3), generator=random).double()
    kernel = torch.randint(-9, 9, (r * r, 1, 3, 3), generator=random).double()

    def member(x: Tensor) -> Tensor:
        return periodic_shuffle(conv2d(pad(x, (1, 1, 1, 1), mode="circular"), kernel), (r, r))

    def unpool(x: Tensor) -> Tensor:
        return max_unpool2d(x, indices, r)

    corners = periodic_unshuffle(unpool(torch.ones_like(x)), (r, r))[0]  # (phase, row, column), one-hot
    assert torch.equal(corners.sum(0), torch.ones(3, 3, dtype=torch.float64))
    assume(not torch.equal(corners, corners.roll(1, dims=-1)))  # the maxima lie in different corners
    assert torch.equal(member(x.roll(1, dims=-1)), member(x).roll(r, dims=-1))
    assert torch.equal(unpool(2 * x + 3), 2 * unpool(x) + 3 * unpool(torch.ones_like(x)))
    assert not torch.equal(unpool(x.roll(1, dims=-1)), unpool(x).roll(r, dims=-1))


def in_the_family(x: Tensor, r: int, corner: int) -> Tensor:
    """Return x by the LR convolution of one tap, one for the corner's phase and zero for the others."""
    one_hot = torch.zeros(r * r, 1, 1, 1, dtype=x.dtype)
    one_hot[corner] = 1
    return periodic_shuffle(conv2d(x, one_hot), (r, r))


@pytest.mark.parametrize(("r", "corner"), [(r, corner) for r in (2, 3) for corner in range(r * r)])
def test_a_fixed_corner_is_in_the_family(r: int, corner: int) -> None:
    """It inserts zeros: a transposed convolution, or an LR convolution, with a one-hot kernel."""
    x = torch.rand(2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(corner))
    row, column = divmod(corner, r)
    indices = torch.tensor(
        [(r * i + row) * 5 * r + r * j + column for i, j in product(range(4), range(5))]
    ).reshape(1, 1, 4, 5)
    unpooled = max_unpool2d(x, indices.expand(2, -1, -1, -1), r)

    inserted = torch.zeros_like(unpooled)
    inserted[..., row::r, column::r] = x
    kernel = torch.zeros(1, 1, r, r, dtype=x.dtype)
    kernel[0, 0, row, column] = 1
    assert torch.equal(unpooled, inserted)
    assert torch.equal(unpooled, conv_transpose2d(x, kernel, stride=r))
    assert torch.equal(unpooled, in_the_family(x, r, corner))
    assert not torch.equal(unpooled, in_the_family(x, r, (corner + 1) % r**2))
