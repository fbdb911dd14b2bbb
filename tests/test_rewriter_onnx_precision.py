"""Models in half precision and other types: weights stay what they are, and the bound is that of the type."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx_models import Maker, assert_all_forms_equal, model, noise, operators, target

from subpixel.measure.difference import relative
from subpixel.rewriter import rewrite


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
    """New weights have the type of the old ones."""
    made = decoder(dtype)
    changed, report = rewrite(
        made, noise(1, 3, 6, 5, dtype=dtype.numpy()), change="all", seconds=0.01, runtime=runtime
    )
    assert not {"ConvTranspose", "Resize"} & set(operators(changed))
    kinds = {value.const_value.dtype for value in changed.graph.initializers.values()}
    assert kinds == {dtype, ir.DataType.INT64}
    _, error = report.error
    assert error is not None
    assert 0 < error < bound


def test_half_precision_is_proven_in_double() -> None:
    """The identity itself is exact, whatever the weights are stored in."""
    proven = target(decoder(ir.DataType.FLOAT16), noise(1, 3, 6, 5, dtype=np.float16))
    for site in proven.sites():
        assert max(proven.difference(site, form) for form in site.forms) < 1e-13


def test_relative_differences() -> None:
    """Of the largest value; where one is infinite or no number, the other must be too."""
    one, infinite = np.array([1.0, -2.0]), np.array([1.0, np.inf])
    assert relative(one, one) == 0
    assert relative(np.array([1.0, -2.5]), one) == 0.25
    assert relative(infinite, infinite) == 0
    assert relative(np.array([np.nan, 1]), np.array([np.nan, 1])) == 0
    assert relative(one, infinite) == relative(infinite, one) == relative(one, one[:1]) == np.inf
    assert relative(one, np.zeros(2)) > 1e300
