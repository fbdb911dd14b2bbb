"""Models in half precision and other types: weights stay what they are, and the bound is that of the type."""

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from numpy.typing import NDArray
from onnx_models import Maker, assert_all_forms_equal, model, noise, operators, target
from torch.nn import functional

from subpixel.measure.difference import relative
from subpixel.rewriter import rewrite
from subpixel.rewriter.onnx.runtimes import find_runtime, session


def decoder(dtype: ir.DataType) -> ir.Model:
    kind = dtype.numpy()

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("ConvTranspose", x, noise(3, 4, 4, 4, dtype=kind), noise(4, dtype=kind), strides=[2, 2])
        maps = op("Resize", op("Relu", maps), noise(0), np.array([1, 1, 3, 2], np.float32), mode="nearest")
        maps = op("Pad", maps, np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="edge")
        maps = op("Conv", maps, noise(4, 4, 3, 3, dtype=kind, seed=1))
        return op("Resize", maps, noise(0), np.array([1, 1, 2, 2], np.float32), mode="linear")

    return model(build, ["n", 3, "h", "w"], 22, dtype)


def test_half_precision_in_onnx_runtime() -> None:
    """Every form, within 1e-2 of the largest value; sums of taps are rounded once."""
    x = noise(1, 3, 6, 5, dtype=np.float16)
    assert assert_all_forms_equal(decoder(ir.DataType.FLOAT16), x, tolerance=1e-2) >= {
        "transposed",
        "depthwise",
    }


def by_pytorch(x: NDArray[Any]) -> NDArray[np.float64]:
    """What the decoder stands for, in float64, of weights and pixels that are rounded to the type of x."""
    weights = [noise(3, 4, 4, 4), noise(4), noise(4, 4, 3, 3, seed=1)]
    pixels, up, bias, weight = (torch.from_numpy(a.astype(x.dtype).astype(np.float64)) for a in (x, *weights))
    maps = torch.relu(functional.conv_transpose2d(pixels, up, bias, stride=2))
    maps = functional.interpolate(maps, scale_factor=(3, 2), mode="nearest")
    maps = functional.conv2d(functional.pad(maps, (1, 1, 1, 1), "replicate"), weight)
    return functional.interpolate(maps, scale_factor=2, mode="bilinear").numpy()


@pytest.mark.parametrize(
    ("runtime", "dtype", "bound"),
    [
        ("onnxruntime", ir.DataType.FLOAT16, 2e-2),
        ("openvino", ir.DataType.FLOAT16, 2e-2),
        ("openvino", ir.DataType.BFLOAT16, 1e-1),
        ("openvino", ir.DataType.DOUBLE, 1e-4),
        ("openvino", ir.DataType.FLOAT, 1e-4),
    ],
)
def test_types(runtime: str, dtype: ir.DataType, bound: float) -> None:
    """New weights have the type of the old ones; PyTorch in float64 says what the result must be."""
    made, x = decoder(dtype), noise(1, 3, 6, 5, dtype=dtype.numpy())
    changed, _ = rewrite(made, x, change="all", seconds=0.01, runtime=runtime)
    assert not {"ConvTranspose", "Resize"} & set(operators(changed))
    kinds = {value.const_value.dtype for value in changed.graph.initializers.values()}
    assert kinds == {dtype, ir.DataType.INT64}
    (result,) = session(find_runtime(runtime), changed)({"x": x})
    assert result.dtype == dtype.numpy()
    expected = by_pytorch(x)
    assert np.abs(result.astype(np.float64) - expected).max() < bound * np.abs(expected).max()


def test_half_precision_is_proven_in_double() -> None:
    """The identity itself is exact, whatever the weights are stored in."""
    proven = target(decoder(ir.DataType.FLOAT16), noise(1, 3, 6, 5, dtype=np.float16))
    for site in proven.sites():
        assert max(proven.difference(site, choice) or 0.0 for choice in proven.choices(site)) < 1e-13


def test_relative_differences() -> None:
    """Of the largest value; where one is infinite or no number, the other must be too."""
    one, infinite = np.array([1.0, -2.0]), np.array([1.0, np.inf])
    assert relative(one, one) == 0
    assert relative(np.array([1.0, -2.5]), one) == 0.25
    assert relative(infinite, infinite) == 0
    assert relative(np.array([np.nan, 1]), np.array([np.nan, 1])) == 0
    assert relative(one, infinite) == relative(infinite, one) == relative(one, one[:1]) == np.inf
    assert relative(one, np.zeros(2)) > 1e300
