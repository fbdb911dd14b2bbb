"""What layers say of themselves: the multiply-accumulates that PyTorch counts, and shapes."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rewriting import NDIMS, Pointwise, convolutions, inputs, noise, transposed
from torch.utils.flop_counter import FlopCounterMode

from subpixel.geometry import axes
from subpixel.kernels import resize_conv_to_products
from subpixel.rewriter import reference
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Layer,
    Opaque,
    Pad,
    Resize,
    ResizeConvolution,
    Shuffle,
    Split,
    Transposed,
    Unshuffle,
    ZeroInsertion,
    converted,
    macs,
    output_shape,
    signature,
)
from subpixel.rewriter.pytorch.lower import lower
from subpixel.rewriter.rules import strided
from subpixel.rewriter.rules import transposed as rule

FORMATS = (torch.contiguous_format,) * 3


def counted(chain: Chain, x: Any) -> int:
    """What PyTorch counts as it runs: two operations each, and a pixel for an empty phase."""
    module = lower(chain, torch.empty(0, dtype=torch.float64), FORMATS)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.from_numpy(x))
    assert counter.get_total_flops() % 2 == 0
    empty = [phase.weight for layer in chain if isinstance(layer, Split) for phase in layer.phases]
    one_pixel = sum(weight.shape[0] * weight.shape[1] for weight in empty if not weight.numel())
    return counter.get_total_flops() // 2 - one_pixel * x.shape[0]


@st.composite
def cases(draw: st.DrawFn) -> Any:
    ndim = draw(NDIMS)
    if draw(st.booleans()):
        layer: Layer = draw(transposed(ndim))
        channels = layer.weight.shape[0]
    else:
        even = [lambda reach: st.integers(0, reach).map(lambda pad: (pad, pad))] * ndim
        layer = draw(convolutions(ndim, even, groups=3))
        channels = layer.weight.shape[1] * layer.groups
    return (layer,), draw(inputs((layer,), channels))


@given(case=cases())
@settings(max_examples=100)
def test_multiply_accumulates_are_those_that_run(case: Any) -> None:
    """Of convolutions, of transposed ones and of all their forms."""
    chain, x = case
    (layer,) = converted(chain, torch.from_numpy)
    chains = [(layer,)]
    if isinstance(layer, Transposed):
        chains += rule.rewrite((layer,)).values()
    elif min(x.shape[2:]) > 1:
        strides = Convolution(**vars(layer) | {"stride": (2,) * (x.ndim - 2)})
        chains += [(strides,), *strided.rewrite((strides,)).values()]
    for chain in chains:
        assert macs(chain, x.shape) == counted(chain, x)


def test_what_only_moves_pixels_multiplies_nothing() -> None:
    chain = (
        Shuffle((2, 2)), Unshuffle((2, 2)), Resize("nearest", (2, 2), 4), Pad(((1, 1), (1, 1))),
        ZeroInsertion((2, 2), (0, 0)), Pointwise(torch.tanh),
    )  # fmt: skip
    assert macs(chain, (1, 4, 3, 3)) == 0
    assert output_shape(chain, (1, 4, 3, 5)) == reference.compute(chain, noise((1, 4, 3, 5))).shape


def test_unshuffle_is_the_inverse_of_shuffle() -> None:
    x = noise((2, 12, 3, 5))
    assert np.array_equal(reference.compute((Shuffle((3, 2)), Unshuffle((3, 2))), x), x)


def every_layer() -> Chain:
    """Each layer that has weights, with and without a bias."""
    plain = Convolution.plain(noise((4, 3, 1, 1)), None, ((0, 0), (0, 0)))
    up = Transposed(noise((4, 2, 2, 2)), noise((2,)), axes((2, 2), 2))
    (split,) = rule.rewrite((up,))["split"]
    down = Convolution(noise((4, 2, 2, 2)), noise((4,)), (2, 2), ((0, 0), (0, 0)), (1, 1))
    (unshuffled,) = strided.rewrite((down,))["unshuffled"]
    products = ResizeConvolution(resize_conv_to_products(noise((3, 4, 3, 3))), noise((3,)), (2, 2))
    return plain, up, split, unshuffled, products


def arrays(value: Any) -> list[Any]:
    """Every array in a layer, however deep."""
    if isinstance(value, np.ndarray):
        return [value]
    parts = vars(value).values() if isinstance(value, Layer) else value if isinstance(value, tuple) else ()
    return [array for part in parts for array in arrays(part)]


@pytest.mark.parametrize("layer", every_layer(), ids=lambda layer: type(layer).__name__)
def test_converted_changes_every_array_and_nothing_else(layer: Layer) -> None:
    """A form that stayed in float32 would be proven in float32."""
    (single,) = converted((layer,), np.float32)
    assert {array.dtype for array in arrays(single)} == {np.dtype(np.float32)}
    (back,) = converted((single,), np.float64)
    assert signature(back) == signature(layer)
    for array, original in zip(arrays(back), arrays(layer), strict=True):
        assert np.array_equal(array, original.astype(np.float32))


def test_converted_passes_by_what_has_no_weights() -> None:
    chain = Shuffle((2, 2)), Pad(((1, 1), (1, 1))), Pointwise(torch.tanh)
    assert converted(chain, np.float32) == chain


def test_a_layer_without_a_definition_is_an_error() -> None:
    with pytest.raises(TypeError, match="a layer must have a definition; got Opaque"):
        reference.compute((Opaque("unknown"),), noise((1, 1, 2)))


def test_a_kernel_larger_than_the_input_is_an_error() -> None:
    with pytest.raises(ValueError, match="the kernel must fit the input"):
        reference.compute((Convolution.plain(noise((1, 1, 3)), None, ((0, 0),)),), noise((1, 1, 2)))
