"""A convolution and a periodic shuffle equal a transposed convolution."""

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, WRONG, Pointwise, assert_forms_equal, caught, convolutions, inputs, noise

from subpixel.rewriter.layers import Chain, Convolution, Shuffle
from subpixel.rewriter.rules.shuffled import RULE


def even_or_less_after(reach: int) -> st.SearchStrategy[tuple[int, int]]:
    low = st.integers(-1, reach)
    return low.flatmap(lambda low: st.tuples(st.just(low), st.integers(low - 1, low)))


@st.composite
def cases(draw: st.DrawFn) -> Any:
    ndim, order = draw(NDIMS), draw(st.sampled_from(("CRD", "DCR")))
    factors = tuple(draw(st.integers(1, 3)) for _ in range(ndim))
    most = 1 if order == "DCR" else 3
    convolution = draw(
        convolutions(ndim, [even_or_less_after] * ndim, groups=most, outputs=prod(factors), dilation=1)
    )
    if convolution.bias is not None:
        channels = convolution.weight.shape[0] // prod(factors)
        bias = noise((channels,))
        repeated = np.repeat(bias, prod(factors)) if order == "CRD" else np.tile(bias, prod(factors))
        convolution = replace(convolution, bias=repeated)
    functions = (Pointwise(torch.tanh),) * draw(st.integers(0, 2))
    chain = (convolution, *functions, Shuffle(factors, order))
    return chain, draw(inputs(chain, convolution.weight.shape[1] * convolution.groups))


@given(case=cases())
@settings(max_examples=200)
def test_the_form_equals_the_chain(case: Any) -> None:
    """Any factors, both orders, groups, a bias that is alike in all phases, and functions in between."""
    assert_forms_equal(RULE, *case)


def convolution(**options: Any) -> Convolution:
    """8 channels of 2 groups or of 1, for a shuffle by 2."""
    groups = options.get("groups", 1)
    default = Convolution(
        noise((8, 2, 3, 3)), np.repeat(noise((2,)), 4), (1, 1), ((1, 1), (1, 1)), (1, 1), groups
    )
    return replace(default, **options)


SHUFFLE = Shuffle((2, 2))
STRIDED = "the convolution has stride (2, 2) and dilation (1, 1)"
WIDE = "the padding {} is wider than the kernel's reach, or wider at the end"


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        ((convolution(stride=(2, 2)), SHUFFLE), STRIDED),
        ((convolution(dilation=(1, 2)), SHUFFLE), "the convolution has stride (1, 1) and dilation (1, 2)"),
        (
            (convolution(), Pointwise(torch.tanh, per_channel=True), SHUFFLE),
            "between convolution and shuffle, phases of a channel have parameters of their own",
        ),
        ((convolution(groups=2), Shuffle((2, 2), "DCR")), "the shuffle mixes the groups of the convolution"),
        ((convolution(groups=4), SHUFFLE), "the shuffle mixes the groups of the convolution"),
        ((convolution(pads=((3, 3), (1, 1))), SHUFFLE), WIDE.format("((3, 3), (1, 1))")),
        ((convolution(pads=((1, 2), (1, 1))), SHUFFLE), WIDE.format("((1, 2), (1, 1))")),
        ((convolution(bias=noise((8,))), SHUFFLE), "the bias differs from phase to phase"),
        ((convolution(), Shuffle((2, 2), "DCR")), "the bias differs from phase to phase"),
    ],
)
def test_refused(chain: Chain, reason: str) -> None:
    assert RULE.matches(chain)
    assert RULE.check(chain) == reason


@pytest.mark.parametrize("wrong", sorted({*WRONG} - {"DCR for CRD", "two phases swapped"}))
def test_a_wrong_form_is_caught(wrong: str) -> None:
    assert caught(RULE, (convolution(groups=2, pads=((1, 0), (1, 1))), SHUFFLE), noise((1, 4, 4, 3)), wrong)


def test_the_other_order_is_caught() -> None:
    chain = (convolution(bias=None), SHUFFLE)
    other = replace(RULE, rewrite=lambda _: RULE.rewrite((chain[0], Shuffle((2, 2), "DCR"))))
    with pytest.raises(AssertionError):
        assert_forms_equal(other, chain, noise((1, 2, 4, 3)))
