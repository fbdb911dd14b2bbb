"""Quantised models: phase splits move integers, and what would have to be quantised anew is kept."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx_models import Maker, assert_equal_models, model, noise, operators, run, target

from subpixel.rewriter import rewrite
from subpixel.rewriter.forms import Choice
from subpixel.rewriter.onnx.quantised import QuantisedLowering, may_saturate, quantised_constant

F32 = np.float32
SCALES = np.array([0.01, 0.02, 0.03, 0.005], F32)


def rounded(op: Maker, x: ir.Value, scale: float, zero_point: int) -> ir.Value:
    """Through integers and back."""
    parameters = op.array(np.array(scale, F32)), op.array(np.array(zero_point, np.uint8))
    return op("DequantizeLinear", op("QuantizeLinear", x, *parameters), *parameters)


def integer_weight(kind: type, *shape: int) -> Any:
    return np.random.default_rng(0).integers(
        np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True
    )


def quantised(
    *,
    kind: type = np.int8,
    per_channel: bool = True,
    bias: str = "int32",
    group: int = 1,
    opset: int = 18,
    narrow: int = 1,
) -> ir.Model:
    """Pixels and weights through integers, as quantisers write it: k4 s2 p1.

    Args:
        kind: of the weights.
        per_channel: whether channels have scales of their own.
        bias: "int32", "float" or "none".
        group: of channels.
        opset: of the model.
        narrow: what the integers are divided by.
    """

    def build(op: Maker, x: ir.Value) -> ir.Value:
        count = 4 // group if per_channel else 1
        scale = SCALES[:count] if per_channel else np.array(SCALES[0])
        zeros = np.full(scale.shape, zero(kind), kind)
        axis = {"axis": 1} if per_channel else {}
        integers = integer_weight(kind, 2, 4 // group, 4, 4) // narrow
        weight = op("DequantizeLinear", integers, scale, zeros, **axis)
        values = np.array([40, -30, 20, 10], np.int32)
        if bias == "int32":
            of_bias = np.tile(SCALES[:count] * F32(0.02), group) if per_channel else np.array(2e-4, F32)
            given: Any = [op("DequantizeLinear", values, of_bias, **({"axis": 0} if per_channel else {}))]
        else:
            given = [values.astype(F32) / 100] if bias == "float" else []
        maps = op(
            "ConvTranspose",
            rounded(op, x, 0.02, 120),
            weight,
            *given,
            strides=[2, 2],
            pads=[1] * 4,
            group=group,
        )
        return rounded(op, maps, 0.1, 128)

    return model(build, ["n", 2, "h", "w"], opset)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("bias", ["int32", "float", "none"])
@pytest.mark.parametrize("group", [1, 2])
def test_integers_are_moved(kind: type, per_channel: bool, bias: str, group: int) -> None:
    """In every form the model gives the same integers, but for ties that float32 breaks otherwise."""
    made = quantised(kind=kind, per_channel=per_channel, bias=bias, group=group)
    x = noise(1, 2, 5, 6)
    proven = target(made, x)
    (site,) = proven.sites()
    assert set(site.names) == {"aligned", "compact", "split"}
    for form in site.names:
        changed = proven.rewritten({site: Choice(form)})
        assert_one_step(made, changed, x)
        assert "ConvTranspose" not in operators(changed)
        for node in changed.graph:
            if node.op_type == "Conv":
                (found, *_) = found_integers(node)
                centred = integer_weight(kind, 2, 4 // group, 4, 4).astype(int) - zero(kind)
                assert found.values.dtype == np.uint8
                assert set(np.unique(found.centred)) <= {*np.unique(centred), 0}
                assert found.axis == 0 or found.scale.size == 1


def zero(kind: type) -> int:
    return 0 if kind is np.int8 else 117


def found_integers(node: ir.Node) -> list[Any]:
    def constant(value: ir.Value | None) -> Any:
        return None if value is None or value.const_value is None else value.const_value.numpy()

    return [quantised_constant(value, constant) for value in node.inputs[1:]]


def assert_one_step(made: ir.Model, changed: ir.Model, x: Any) -> None:
    """Equal but for at most one in a thousand outputs, which are one step away."""
    (actual,), (expected,) = run(changed, {"x": x}), run(made, {"x": x})
    apart = np.abs(actual - expected)
    assert apart.max() <= 0.1001
    assert (apart > 1e-4).mean() <= 1e-2


def multiply_add_in_16_bits(values: Any) -> bool:
    """What vpmaddubsw does with all pairs of a channel's weights and the largest pixels: whether it is right.

    By Intel's manual: two products of uint8 and int8 are added with signed saturation to 16 bits.
    """
    channels = values.reshape(len(values), -1).astype(int)
    pairs = [a * w + b * v for row in channels for w, v in combinations(row, 2) for a, b in PIXELS]
    return all(np.clip(pair, -(2**15), 2**15 - 1) == pair for pair in pairs)


PIXELS = ((255, 255), (255, 0), (0, 255))


@pytest.mark.parametrize("narrow", [1, 2])
def test_no_weight_saturates_on_any_processor(narrow: int) -> None:
    """Integers of seven bits stay int8, for which runtimes have the fastest kernels; others become uint8."""
    proven = target(quantised(narrow=narrow), noise(1, 2, 5, 6))
    (site,) = proven.sites()
    for form in site.names:
        changed = proven.rewritten({site: Choice(form)})
        found = [found_integers(node)[0] for node in changed.graph if node.op_type == "Conv"]
        assert {each.values.dtype.name for each in found} == {"uint8" if narrow == 1 else "int8"}
        assert all(each.values.dtype == np.uint8 or multiply_add_in_16_bits(each.values) for each in found)


@given(
    arrays(
        np.int8,
        st.tuples(st.integers(1, 2), st.integers(1, 4)),
        elements=st.sampled_from([-128, -127, -65, -64, -1, 0, 1, 63, 64, 65, 127]),
    )
)
def test_saturation_is_what_the_instruction_does(values: Any) -> None:
    assert may_saturate(values) == (not multiply_add_in_16_bits(values))
    assert not may_saturate(values.view(np.uint8))


def test_a_rounding_is_not_moved_to_sums_of_integers() -> None:
    """A convolution whose output is not rounded is computed in float32; rounded, it might saturate."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weight = op("DequantizeLinear", integer_weight(np.int8, 4, 2, 3, 3), np.array(0.01, F32))
        sums = op("Relu", op("Conv", rounded(op, x, 0.02, 120), weight))
        maps = op("Resize", sums, noise(0), np.array([1, 1, 2, 2], F32), mode="nearest")
        return op("Conv", rounded(op, maps, 0.1, 0), noise(4, 4, 3, 3), pads=[1] * 4)

    (site,) = target(model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)).sites()
    reason = "its rounding would move to a layer of quantised weights, which then computes in integers"
    assert (site.was, site.reason) == ("nearest resize + convolution", reason)


def test_what_saturates_by_itself_is_no_mismatch() -> None:
    """On a processor without VNNI the first convolution saturates, before and after alike."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weights = [
            op("DequantizeLinear", integer_weight(np.int8, *shape), np.array(0.01, F32))
            for shape in ((4, 2, 3, 3), (4, 3, 4, 4))
        ]
        maps = rounded(op, op("Conv", rounded(op, x, 0.02, 120), weights[0]), 0.1, 128)
        return rounded(op, op("ConvTranspose", maps, weights[1], strides=[2, 2]), 0.5, 128)

    made, x = model(build, ["n", 2, "h", "w"]), noise(1, 2, 9, 8)
    _, report = rewrite(made, x, change="all", seconds=0.01)
    assert report.changed


def test_rounding_moves_in_front_of_the_shuffle() -> None:
    """Then runtimes find integers on both sides of the convolution."""
    made, x = quantised(), noise(1, 2, 5, 6)
    proven = target(made, x)
    (site,) = proven.sites()
    names = operators(proven.rewritten({site: Choice("compact")}))
    at = names.index("Conv")
    assert names[at - 2 : at + 6] == [
        "DequantizeLinear",
        "DequantizeLinear",
        "Conv",
        "QuantizeLinear",
        "DequantizeLinear",
        "DepthToSpace",
        "Slice",
        "QuantizeLinear",
    ]


@pytest.mark.parametrize("opset", [13, 19, 21, 24])
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_rewritten_whole(opset: int, runtime: str) -> None:
    """Decided, proven and timed with integers going in and out of the site."""
    made, x = quantised(opset=opset), noise(1, 2, 9, 8)
    changed, report = rewrite(made, x, change="all", seconds=0.01, runtime=runtime)
    assert report.changed
    assert_one_step(made, changed, x)


def test_signed_in_unsigned_out() -> None:
    """A site may be timed between integers of two types."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        scale, zero = op.array(np.array(0.02, F32)), op.array(np.array(3, np.int8))
        pixels = op("DequantizeLinear", op("QuantizeLinear", x, scale, zero), scale, zero)
        weight = op("DequantizeLinear", integer_weight(np.int8, 2, 3, 2, 2), np.array(0.01, F32))
        return rounded(op, op("ConvTranspose", pixels, weight, strides=[2, 2]), 0.1, 128)

    made, x = model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)
    changed, report = rewrite(made, x, change="all", seconds=0.01)
    assert report.changed
    assert_one_step(made, changed, x)


def test_folds_of_quantised_weights_are_kept() -> None:
    """A resize folded into the kernel sums taps."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        sizes = np.array([1, 1, 2, 2], F32)
        maps = op("Resize", rounded(op, x, 0.02, 120), noise(0), sizes, mode="nearest")
        scale, zero = np.array(0.01, F32), np.array(0, np.int8)
        weight = op("DequantizeLinear", integer_weight(np.int8, 4, 2, 3, 3), scale, zero)
        return rounded(op, op("Conv", rounded(op, maps, 0.02, 120), weight, pads=[1] * 4), 0.1, 128)

    (site,) = target(model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)).sites()
    assert (site.was, site.reason) == (
        "nearest resize + convolution",
        "its weights are quantised, and would have to be quantised anew",
    )


def test_scales_of_input_channels_are_kept() -> None:
    """A convolution has scales for its outputs alone."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weight = op(
            "DequantizeLinear", integer_weight(np.int8, 2, 3, 2, 2), SCALES[:2], np.zeros(2, np.int8), axis=0
        )
        return op("ConvTranspose", x, weight, strides=[2, 2])

    (site,) = target(model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)).sites()
    assert site.reason == "its weights are quantised, and would have to be quantised anew"


def test_rounded_pixels_commute_with_a_resize() -> None:
    """Only the pixels are quantised here, and all alike."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("Resize", x, noise(0), np.array([1, 1, 2, 2], F32), mode="nearest")
        return op("Conv", rounded(op, maps, 0.02, 120), noise(4, 2, 3, 3), pads=[1] * 4)

    made, x = model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)
    proven = target(made, x)
    (site,) = proven.sites()
    for form in site.names:
        assert_equal_models(made, proven.rewritten({site: Choice(form)}), x)


def test_a_wrong_kernel_is_found_where_the_outputs_are_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no fraction behind the site to compare: the steps are."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        coarse, zero = np.array(0.02, F32), np.array(0, np.int8)
        pixels = op("DequantizeLinear", op("QuantizeLinear", x, coarse, zero), coarse, zero)
        weight = op("DequantizeLinear", integer_weight(np.int8, 2, 4, 4, 4), coarse, zero)
        maps = op("ConvTranspose", pixels, weight, strides=[2, 2], pads=[1] * 4)
        steps = op("QuantizeLinear", maps, np.array(0.2, F32), zero)
        steps.dtype = ir.DataType.INT8
        return steps

    made, x = model(build, ["n", 2, "h", "w"]), noise(1, 2, 5, 6)
    proven = target(made, x)
    (site,) = proven.sites()
    form = {site: Choice("compact")}
    assert proven.differences(proven.rewritten(form), form)[1] <= proven.bound
    right = QuantisedLowering.weights

    def wrong(self: QuantisedLowering, layer: Any) -> Any:
        return right(self, replace(layer, weight=layer.weight[..., ::-1]))

    monkeypatch.setattr(QuantisedLowering, "weights", wrong)
    assert proven.differences(proven.rewritten(form), form)[1] > proven.bound
