"""A strided convolution equals a convolution of the unshuffled input."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, assert_forms_equal, caught, convolutions, inputs, noise

from subpixel.rewriter.layers import Convolution
from subpixel.rewriter.rules.strided import RULE


def even(reach: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.integers(0, reach + 1).map(lambda pad: (pad, pad))


@st.composite
def cases(draw: st.DrawFn) -> Any:
    ndim = draw(NDIMS)
    convolution = draw(convolutions(ndim, [even] * ndim, groups=2))
    strides = st.tuples(*[st.integers(1, 4)] * ndim).filter(lambda strides: max(strides) > 1)
    chain = (replace(convolution, stride=draw(strides)),)
    return chain, draw(inputs(chain, convolution.weight.shape[1] * convolution.groups))


@given(case=cases())
@settings(max_examples=200)
def test_the_form_equals_the_convolution(case: Any) -> None:
    """Any stride, dilation, groups, even padding and size, a multiple of the stride or not."""
    assert_forms_equal(RULE, *case)


def convolution(
    pads: Any = ((1, 1), (2, 2)), stride: tuple[int, int] = (2, 3), channels: int = 2
) -> Convolution:
    return Convolution(noise((6, channels, 3, 4)), noise((6,)), stride, pads, (1, 1), 2)


@pytest.mark.parametrize("pads", [((1, 1), (2, 1)), ((-1, -1), (0, 0))])
def test_refused(pads: Any) -> None:
    assert RULE.check((convolution(pads),)) == f"its padding is uneven, {pads}"


@pytest.mark.parametrize("passed", [convolution(stride=(1, 1)), convolution(channels=3)])
def test_passed_over(passed: Convolution) -> None:
    """One that does not stride, or whose channels are many, would not be faster."""
    assert not RULE.matches((passed,))


@pytest.mark.parametrize(
    "wrong", ["a tap off by one", "taps reversed", "channels exchanged", "weights a billionth too large"]
)
def test_a_wrong_form_is_caught(wrong: str) -> None:
    assert caught(RULE, (convolution(),), noise((1, 4, 7, 9)), wrong)


def test_a_stride_far_beyond_the_kernel_is_refused() -> None:
    """Else a file could ask for as many phases as it likes."""
    layer = Convolution(np.ones((1, 1, 1)), None, (2**30,), ((0, 0),), (1,))
    assert RULE.check((layer,)) == "nearly all phases of stride (1073741824,) are without a tap"
    assert RULE.check((Convolution(np.ones((1, 3, 16)), None, (16,), ((0, 0),), (1,)),)) is None
