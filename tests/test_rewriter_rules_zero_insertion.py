"""Zero insertion, padding and convolution equal a transposed convolution and its forms."""

from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, WRONG, assert_forms_equal, caught, convolutions, inputs, noise

from subpixel.rewriter.layers import Chain, Convolution, Pad, ZeroInsertion
from subpixel.rewriter.rules.zero_insertion import RULE


def zeros(factor: int, after: int, reach: int) -> st.SearchStrategy[tuple[int, int]]:
    low = st.integers(-1, reach)
    return low.flatmap(
        lambda low: st.tuples(st.just(low), st.integers(min(-1, low), low + factor - 1 - after))
    )


@st.composite
def cases(draw: st.DrawFn) -> Any:
    ndim = draw(NDIMS)
    factors = tuple(draw(st.integers(1, 4 if ndim < 3 else 3)) for _ in range(ndim))
    after = tuple(draw(st.integers(0, factor - 1)) for factor in factors)
    pads = [partial(zeros, *pair) for pair in zip(factors, after, strict=True)]
    convolution = draw(convolutions(ndim, pads, groups=3))
    row: Chain = (convolution,)
    if draw(st.booleans()):
        row = Pad(convolution.pads), Convolution(**vars(convolution) | {"pads": ((0, 0),) * ndim})
    chain = (ZeroInsertion(factors, after), *row)
    return chain, draw(inputs(chain, convolution.weight.shape[1] * convolution.groups))


@given(case=cases())
@settings(max_examples=200)
def test_every_form_equals_the_chain(case: Any) -> None:
    """Any factors, zeros after the last pixel, dilation, groups, uneven padding and crops."""
    assert_forms_equal(RULE, *case)


def convolution(pads: Any = ((1, 2), (2, 1)), stride: int = 1) -> Convolution:
    return Convolution(noise((6, 2, 3, 4)), noise((6,)), (stride,) * 2, pads, (1, 1), 2)


INSERTION = ZeroInsertion((2, 3), (1, 0))


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (
            (INSERTION, Pad(((1, 1),) * 2, "replicate"), convolution()),
            "the inserted zeros are not padded by zeros",
        ),
        (
            (INSERTION, Pad(((0, 0), (-1, 0))), convolution(((0, 0), (1, 0)))),
            "it is cropped and padded again",
        ),
        ((INSERTION, convolution(stride=2)), "the convolution after the zeros has stride (2, 2)"),
        ((INSERTION, convolution(((3, 2), (0, 0)))), "the padding (3, 3) is wider than the kernel's reach 2"),
        ((INSERTION, convolution(((1, 2), (0, 0)))), "the padding (1, 3) is wider than the kernel's reach 2"),
    ],
)
def test_refused(chain: Chain, reason: str) -> None:
    assert RULE.matches(chain)
    assert RULE.check(chain) == reason


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_form_is_caught(wrong: str) -> None:
    assert caught(RULE, (INSERTION, convolution(((1, 1), (2, 1)))), noise((1, 4, 4, 3)), wrong)
