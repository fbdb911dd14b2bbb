"""CRD, DCR and the order of ESPCN's equation 4, against ONNX's reference and the equation read literally."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from subpixel.functional import periodic_shuffle
from subpixel.kernels import crd_to_dcr, dcr_to_crd


def depth_to_space(x: NDArray[np.float32], factor: int, mode: str) -> NDArray[np.float32]:
    node = helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=factor, mode=mode)
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    model = helper.make_model(helper.make_graph([node], "shuffle", value[:1], value[1:]))
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


def equation_4(x: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """PS(T)[x, y, c] = T[x // r, y // r, C * r * (y % r) + C * (x % r) + c], with x along a row."""
    depth, height, width = x.shape
    channels = depth // factor**2
    y = np.empty((channels, height * factor, width * factor), x.dtype)
    for c, row, column in np.ndindex(y.shape):
        channel = channels * factor * (row % factor) + channels * (column % factor) + c
        y[c, row, column] = x[channel, row // factor, column // factor]
    return y


@pytest.mark.parametrize("factor", [2, 3])
def test_orders(factor: int) -> None:
    """Each order is the other's channels permuted; the paper's is DCR."""
    phases = factor**2
    x = np.random.default_rng(0).standard_normal((2 * phases, 3, 4), dtype=np.float32)
    shuffled = periodic_shuffle(torch.from_numpy(x), (factor, factor)).numpy()
    assert np.array_equal(depth_to_space(x[None], factor, "CRD")[0], shuffled)
    assert np.array_equal(depth_to_space(crd_to_dcr(x, phases)[None], factor, "DCR")[0], shuffled)
    assert np.array_equal(equation_4(crd_to_dcr(x, phases), factor), shuffled)
    assert np.array_equal(dcr_to_crd(crd_to_dcr(x, phases), phases), x)
    assert not np.array_equal(depth_to_space(x[None], factor, "DCR")[0], shuffled)


def test_one_channel_is_the_same_in_both() -> None:
    bias = np.arange(9)
    assert np.array_equal(crd_to_dcr(bias, 9), bias)


def test_refuses_channels_that_are_no_multiple() -> None:
    with pytest.raises(ValueError, match="must be a multiple of 4; got shape"):
        crd_to_dcr(np.zeros(6), 4)
