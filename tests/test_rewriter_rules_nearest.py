"""Nearest resize, pointwise functions, padding and convolution equal a transposed convolution."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, WRONG, Pointwise, assert_forms_equal, caught, convolutions, inputs, noise

from subpixel.rewriter.layers import Chain, Convolution, Pad, Resize, macs
from subpixel.rewriter.rules.nearest import RULE

FUNCTIONS = (
    Pointwise(torch.tanh),
    Pointwise(lambda x: x * (1 + torch.arange(x.shape[1]).view(-1, *[1] * (x.ndim - 2)))),
)


def zeros(factor: int, reach: int) -> st.SearchStrategy[tuple[int, int]]:
    """Padding of any evenness, crops among it, that leaves a transposed convolution."""
    low = st.integers(-1, reach)
    return low.flatmap(lambda low: st.tuples(st.just(low), st.integers(min(-1, low), low + factor - 1)))


@st.composite
def cases(draw: st.DrawFn) -> Any:
    ndim, mode = draw(NDIMS), draw(st.sampled_from((None, "zeros", "replicate", "reflect")))
    factors = tuple(draw(st.integers(1, 4 if ndim < 3 else 3)) for _ in range(ndim))
    convolution = draw(convolutions(ndim, [partial(zeros, factor) for factor in factors], groups=3))
    pads, margins = convolution.pads, draw(st.sampled_from((convolution.pads, ((1, 2),) * ndim)))
    row: Chain = (convolution,)
    if mode == "zeros":  # a part of the padding in a layer of its own
        rest = tuple((a - c, b - d) for (a, b), (c, d) in zip(pads, margins, strict=True))
        row = Pad(margins), replace(convolution, pads=rest)
    elif mode is not None:
        most = [3 if mode == "replicate" else factor - 1 for factor in factors]
        pads = tuple((min(max(a, 0), n), min(max(b, 0), n)) for (a, b), n in zip(pads, most, strict=True))
        row = Pad(pads, mode), replace(convolution, pads=((0, 0),) * ndim)
    channels = convolution.weight.shape[1] * convolution.groups
    functions = draw(st.sampled_from(((), FUNCTIONS[:1], FUNCTIONS)))
    chain = (Resize("nearest", factors, channels), *functions, *row)
    return chain, draw(inputs(chain, channels))


@given(case=cases())
@settings(max_examples=200)
def test_every_form_equals_the_chain(case: Any) -> None:
    """Any factors, dilation, groups, uneven padding and crops, by zeros, replication and reflection."""
    assert_forms_equal(RULE, *case)


def test_cost_of_the_usual_case() -> None:
    """With r = 2 and k = 3, 36 multiply-accumulates an LR pixel become 16."""
    chain = Resize("nearest", (2, 2), 1), Convolution.plain(noise((1, 1, 3, 3)), None, ((1, 1),) * 2)
    shape = (1, 1, 100, 100)
    assert macs(chain, shape) == 36 * 100**2
    forms = RULE.rewrite(chain)
    assert macs(forms["transposed"], shape) == macs(forms["split"], shape) == 16 * 100**2
    assert macs(forms["compact"], shape) == 16 * 101**2  # a row more to crop
    assert macs(forms["aligned"], shape) == 36 * 100**2


def convolution(pads: Any = ((1, 1), (1, 0)), stride: int = 1) -> Convolution:
    return Convolution(noise((6, 2, 3, 3)), noise((6,)), (stride,) * 2, pads, (1, 1), 2)


NEAREST, NONE = Resize("nearest", (2, 3), 4), ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("chain", "reason"),
    [
        (
            (Resize("linear", (2, 3), 4), convolution()),
            "linear interpolation and a padded convolution differ on the outermost ring",
        ),
        ((NEAREST, convolution(stride=2)), "the convolution after the resize has stride (2, 2)"),
        (
            (NEAREST, Pad(((1, 1),) * 2, "reflect"), convolution()),
            "it is padded twice, by reflect and by zeros",
        ),
        (
            (NEAREST, Pad(((2, 1), (0, 0)), "reflect"), convolution(pads=NONE)),
            "a reflection by the factor or more shows other pixels than the edge",
        ),
        (
            (NEAREST, Pad(((1, -1), (0, 0)), "replicate"), convolution(pads=NONE)),
            "a negative replicate padding",
        ),
        (
            (NEAREST, Pad(((0, -1), (0, 0))), convolution(pads=((0, 1), (0, 0)))),
            "it is cropped, ((0, -1), (0, 0)), and padded again",
        ),
        (
            (NEAREST, convolution(pads=((3, 3), (0, 0)))),
            "the padding (3, 3) is wider than the kernel's reach 2",
        ),
        (
            (NEAREST, convolution(pads=((0, 2), (0, 0)))),
            "the padding (0, 2) is wider than the kernel's reach 2",
        ),
    ],
)
def test_refused(chain: Chain, reason: str) -> None:
    assert RULE.matches(chain)
    assert RULE.check(chain) == reason


def test_padding_before_a_function_is_no_pattern() -> None:
    """What a function makes of the padding is another thing."""
    assert not RULE.matches((NEAREST, Pad(((1, 1),) * 2), Pointwise(torch.cos), convolution(pads=NONE)))


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("mode", [None, "replicate"])
def test_a_wrong_form_is_caught(wrong: str, mode: Any) -> None:
    row = (convolution(),) if mode is None else (Pad(((1, 1), (1, 2)), mode), convolution(pads=NONE))
    assert caught(RULE, (NEAREST, *row), noise((1, 4, 4, 3)), wrong)


def test_a_reflection_by_the_factor_would_be_wrong() -> None:
    """The refusal is needed: without it the forms differ."""
    chain = (NEAREST, Pad(((2, 2), (2, 2)), "reflect"), convolution(pads=NONE))
    assert RULE.check(chain)
    with pytest.raises(AssertionError):
        assert_forms_equal(replace(RULE, check=lambda _: None), chain, noise((1, 4, 4, 3)))


def test_kernels_that_would_not_fit_the_memory_are_refused() -> None:
    """Else a file could ask for any."""
    resize = Resize("nearest", (2**20, 2), 1)
    assert RULE.check((resize, convolution())) == "its LR kernels would have 150,995,088 weights"


@pytest.mark.parametrize(("pad", "fits"), [(-1, True), (0, True), (1, True), (2, False)])
def test_shared_products_see_one_pixel_beyond_the_image(pad: int, fits: bool) -> None:
    """Two zeros are half an LR pixel more."""
    row = Resize("nearest", (2, 2), 1), Convolution.plain(noise((1, 1, 3, 3)), None, ((pad, pad),) * 2)
    assert ("products" in RULE.rewrite(row)) == fits
    assert_forms_equal(RULE, row, noise((1, 1, 4, 3)))
