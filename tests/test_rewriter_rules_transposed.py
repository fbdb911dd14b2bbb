"""A transposed convolution equals its LR forms."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, WRONG, assert_forms_equal, caught, inputs, noise, transposed

from subpixel.geometry import axes
from subpixel.rewriter.layers import Transposed
from subpixel.rewriter.rules.transposed import RULE


@st.composite
def cases(draw: st.DrawFn) -> Any:
    layer = draw(NDIMS.flatmap(transposed))
    return (layer,), draw(inputs((layer,), layer.weight.shape[0]))


@given(case=cases())
@settings(max_examples=200)
def test_every_form_equals_the_layer(case: Any) -> None:
    """Any kernel, stride, padding, output_padding, dilation, groups and bias, in 1, 2 and 3 dimensions."""
    assert_forms_equal(RULE, *case)


def chain(kernel_size: int = 5, stride: int = 2, padding: int = 1) -> tuple[Transposed]:
    geometry = axes((kernel_size, kernel_size), stride, padding)
    return (Transposed(noise((4, 3, kernel_size, kernel_size)), noise((6,)), geometry, 2),)


@pytest.mark.parametrize(
    ("options", "forms"),
    [
        ({"padding": 1}, ["aligned", "compact", "split"]),
        ({"padding": 2}, ["compact", "split"]),  # opens at phase 0, so that aligned is compact
        ({"padding": 1, "stride": 1}, ["compact"]),  # one phase alone
    ],
)
def test_a_form_that_is_another_again_is_left_out(options: dict[str, int], forms: list[str]) -> None:
    assert list(RULE.rewrite(chain(**options))) == forms


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_form_is_caught(wrong: str) -> None:
    assert caught(RULE, chain(), noise((1, 4, 4, 3)), wrong)


def test_a_stride_far_beyond_the_kernel_is_kept() -> None:
    """Else a file could ask for as many phases as it likes."""
    layer = Transposed(np.ones((1, 1, 2)), None, axes((2,), 2**31))
    assert RULE.check((layer,)) == "nearly all phases of stride (2147483648,) are without a tap"
    assert RULE.check((Transposed(np.ones((1, 1, 1, 1)), None, axes((1, 1), 8)),)) is None
