"""Laws of the native engine, for any network and any image, on each instruction set of this machine."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import evaluate, planes_for, random_network, recipes, result_for, sizes
from numpy.typing import NDArray

from subpixel.engines import native
from subpixel.engines.library import instruction_sets
from subpixel.engines.native import Native
from subpixel.network import LRConvolution, LRNetwork

TOP = {np.dtype(np.float32): 1, np.dtype(np.uint8): 255, np.dtype(np.uint16): 65535}
DTYPES = st.sampled_from(list(TOP))
RECIPES = recipes()


def native_with(network: LRNetwork, isa: str, threads: int = 1) -> Native:
    """An engine of an instruction set, that calls its threads for the smallest image too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(native.VARIABLE, isa)
        made = Native(network, threads=threads)
    made._macs = max(made._macs, threads * native._MACS_PER_THREAD)
    return made


# Values


def tolerance(network: LRNetwork, expected: NDArray[np.float64]) -> float:
    """5e-6 for values up to 1 and sums of 1000 products; rounding grows with the root of their number."""
    products = max(convolution.weight[0].size for convolution in network.convolutions)
    return float(5e-6 * max(1, np.abs(expected).max()) * max(1, products / 1000) ** 0.5)


@settings(max_examples=300)
@given(data=st.data())
def test_results_are_those_of_float64(data: st.DataObject) -> None:
    """And the same bits from all instruction sets that multiply and add in one operation."""
    network = random_network(**data.draw(RECIPES))
    planes = planes_for(network, *data.draw(sizes(network)))[None]
    expected = evaluate(network, planes)
    atol, bits = tolerance(network, expected), set()
    for isa in instruction_sets():
        result = native_with(network, isa)(planes)
        np.testing.assert_allclose(result, expected, rtol=0, atol=atol, err_msg=isa)
        if isa != "sse2":
            bits.add(result.tobytes())
    assert len(bits) <= 1


LAYOUTS = st.tuples(st.permutations(range(3)), st.tuples(*[st.sampled_from([1, 1, -1, 2, -3])] * 3))


def laid_out(
    shape: tuple[int, ...], dtype: Any, layout: tuple[Any, Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pixels with some order of axes in memory and some steps along them; and that memory."""
    axes, steps = layout
    memory = np.full([abs(steps[axis]) * shape[axis] for axis in axes], 7, dtype)
    return memory.transpose(np.argsort(axes))[tuple(slice(None, None, step) for step in steps)], memory


@given(data=st.data(), dtypes=st.tuples(DTYPES, DTYPES), layouts=st.tuples(LAYOUTS, LAYOUTS))
def test_integers_of_any_strides_are_rounded_half_up_and_clipped(
    data: st.DataObject, dtypes: tuple[Any, Any], layouts: tuple[Any, Any]
) -> None:
    """And nothing is written beside the pixels of the result."""
    network = random_network(**data.draw(RECIPES))
    size = data.draw(sizes(network))
    top_read, top = (TOP[dtype] for dtype in dtypes)
    values, result = planes_for(network, *size), result_for(network, *size)
    planes, _ = laid_out(values.shape, dtypes[0], layouts[0])
    planes[...] = values * top_read
    expected = evaluate(network, planes[None].astype(np.float64) / top_read)[0]
    atol = tolerance(network, expected)
    lowest, highest = expected - atol, expected + atol
    if top > 1:
        lowest, highest = (np.clip(np.floor(value * top + 0.5), 0, top) for value in (lowest, highest))
    for isa in instruction_sets():
        enlarged, memory = laid_out(result.shape, dtypes[1], layouts[1])
        native_with(network, isa).into(planes, enlarged)
        assert ((lowest <= enlarged) & (enlarged <= highest)).all(), isa
        enlarged[...] = 7
        assert (memory == 7).all(), isa


# Bits


@given(data=st.data(), isa=st.sampled_from(instruction_sets()))
def test_tiles_with_their_extra_pixels_have_the_bits_of_the_whole(data: st.DataObject, isa: str) -> None:
    """Where they start at multiples of 4 pixels, and whatever lies beyond what they are given."""
    network, dtype = random_network(**data.draw(RECIPES)), data.draw(DTYPES)
    size = data.draw(sizes(network))
    made = native_with(network, isa)
    planes, whole = planes_for(network, *size, extra=made.extra), result_for(network, *size, dtype=dtype)
    made.into(planes, whole)
    starts = [4 * data.draw(st.integers(0, (side - 1) // 4)) for side in size]
    lengths = [data.draw(st.integers(1, side - start)) for side, start in zip(size, starts, strict=True)]
    reach, r = 2 * network.radius + made.extra, network.upscale_factor
    spans = list(zip(starts, lengths, strict=True))
    tile = result_for(network, *lengths, dtype=dtype)
    made.into(planes[:, *(slice(start, start + length + reach) for start, length in spans)], tile)
    part = whole[:, *(slice(r * start, r * (start + length)) for start, length in spans)]
    np.testing.assert_array_equal(tile, part)


@given(
    data=st.data(),
    isa=st.sampled_from(instruction_sets()),
    threads=st.integers(2, 8),
    has_extra=st.booleans(),
)
def test_threads_give_the_bits_of_one(data: st.DataObject, isa: str, threads: int, has_extra: bool) -> None:
    """More threads compute more and smaller blocks; in a wide image, one thread has several too."""
    network = random_network(**data.draw(RECIPES))
    size = data.draw(sizes(network))
    alone, together = native_with(network, isa), native_with(network, isa, threads)
    planes = planes_for(network, *size, extra=has_extra * alone.extra)
    expected, result = result_for(network, *size), result_for(network, *size)
    alone.into(planes, expected)
    together.into(planes, result)
    np.testing.assert_array_equal(result, expected)


@given(data=st.data(), isa=st.sampled_from(instruction_sets()))
def test_no_run_leaves_a_trace_in_the_next(data: st.DataObject, isa: str) -> None:
    """A plan keeps its memory; neither NaN nor infinity in it, from images of other sizes, is ever read."""
    network = random_network(**data.draw(RECIPES))
    made, size, other = native_with(network, isa), data.draw(sizes(network)), data.draw(sizes(network))
    planes = planes_for(network, *size)[None]
    expected = made(planes)
    for value in (np.nan, np.inf):
        with suppress(ValueError):
            made(np.full_like(planes_for(network, *other), value)[None])
        np.testing.assert_array_equal(made(planes), expected)


# Numbers that are none, or nearly


@settings(max_examples=50)
@given(data=st.data(), isa=st.sampled_from(instruction_sets()))
def test_one_pixel_that_is_no_number_is_an_error(data: st.DataObject, isa: str) -> None:
    """Wherever it lies, whatever follows: no maximum, no minimum, no clipping loses it on its way."""
    network = random_network(**data.draw(RECIPES))
    size, dtype = data.draw(sizes(network)), data.draw(DTYPES)
    planes, made = planes_for(network, *size), native_with(network, isa)
    made.into(planes, result_for(network, *size, dtype=dtype))
    y, x = (network.radius + data.draw(st.integers(0, side - 1)) for side in size)
    planes[data.draw(st.integers(0, network.channels - 1)), y, x] = np.nan
    with pytest.raises(ValueError, match="a network must give numbers; got NaN"):
        made.into(planes, result_for(network, *size, dtype=dtype))


POINTWISE = [None, "tanh", "relu", "leaky_relu", "prelu"]


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("activation", POINTWISE)
def test_activations_are_those_of_float64_from_zero_to_infinity(activation: Any, isa: str) -> None:
    """Of pixels less one half, as the engine computes them; float32 holds 24 bits of a value around 1."""
    slope = {"leaky_relu": np.float32([-0.25]), "prelu": np.float32([1.5])}.get(activation)
    one, half = np.ones((1, 1, 1, 1), np.float32), np.float32([0.5])
    network = LRNetwork(1, (LRConvolution(one, -half, activation, slope), LRConvolution(one, half)))
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    values = np.float32(
        [0, tiny / 8, tiny, 1e-6, 1e-3, 0.1, 0.6, 1, 3, 7.9, 8, 9, 100, 1e6, huge / 2, np.inf]
    )
    planes = np.concatenate([values, -values]).reshape(1, 1, 2, -1) + half
    np.testing.assert_allclose(
        native_with(network, isa)(planes), evaluate(network, planes), rtol=3e-7, atol=3e-7
    )


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_largest_weights_err_by_what_float32_does(kernel_size: int, isa: str) -> None:
    """Both kernels, relative to the largest result; three layers of magnitudes around 1e6."""
    given = random_network(2, 1, (8, 8), (kernel_size,) * 3, ("relu", "prelu", None))
    layers = [replace(c, weight=c.weight * np.float32(1e5), bias=c.bias * 1e5) for c in given.convolutions]
    network = replace(given, convolutions=tuple(layers))
    assert max(np.abs(layer.weight).max() for layer in layers) > 1e4
    planes = planes_for(network, 30, 50)[None]
    expected = evaluate(network, planes)
    largest = np.abs(expected).max()
    assert largest > 1e14
    np.testing.assert_allclose(native_with(network, isa)(planes), expected, rtol=0, atol=5e-6 * largest)
