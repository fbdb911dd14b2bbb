"""An interpolation equals replicate padding, a depthwise LR convolution and a shuffle."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewriting import SEEDS, SIZES, WRONG, assert_forms_equal, caught, noise

from subpixel.rewriter.layers import Resize
from subpixel.rewriter.rules.interpolation import RULE

MODES = [("linear", 1), ("linear", 2), ("linear", 3), ("cubic", 2)]  # those that PyTorch has


@given(case=st.sampled_from(MODES), factor=st.integers(2, 5), sizes=st.data(), seed=SEEDS)
def test_the_form_equals_the_interpolation(case: Any, factor: int, sizes: st.DataObject, seed: int) -> None:
    """Any integer factor, size and number of channels, borders included."""
    mode, ndim = case
    shape = sizes.draw(st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, SIZES[ndim])] * ndim))
    assert_forms_equal(RULE, (Resize(mode, (factor,) * ndim, shape[1]),), noise(shape, seed))


def test_factors_that_differ_are_refused() -> None:
    assert RULE.check((Resize("linear", (2, 3), 4),)) == "its factors differ, (2, 3)"


@pytest.mark.parametrize("resize", [Resize("nearest", (2, 2), 4), Resize("linear", (1, 1), 4)])
def test_what_only_copies_is_passed_over(resize: Resize) -> None:
    """Nothing multiplies faster."""
    assert not RULE.matches((resize,))


def test_one_axis_alone_is_refused_with_the_reason() -> None:
    assert RULE.matches((Resize("linear", (1, 2), 4),))
    assert RULE.check((Resize("linear", (1, 2), 4),)) == "its factors differ, (1, 2)"


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("wrong", sorted({*WRONG} - {"no bias", "two phases swapped"}))
def test_a_wrong_form_is_caught(wrong: str, mode: Any) -> None:
    assert caught(RULE, (Resize(mode, (2, 2), 3),), noise((1, 3, 4, 3)), wrong)


def test_kernels_that_would_not_fit_the_memory_are_refused() -> None:
    """Else a file could ask for any."""
    reason = RULE.check((Resize("linear", (1024, 1024), 64),))
    assert reason == "its LR kernels would have 603,979,776 weights"
