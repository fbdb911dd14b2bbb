"""Transposed convolutions in ONNX models: every form equals the node in ONNX Runtime, or why it is kept."""

import re
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from cases import Case, cases
from hypothesis import HealthCheck, assume, given, settings
from onnx_models import (
    Maker,
    assert_all_forms_equal,
    assert_equal_models,
    model,
    noise,
    operators,
    run,
    target,
)

from subpixel.kernels import crd_to_dcr
from subpixel.rewriter import rewrite
from subpixel.rewriter.forms import Choice
from subpixel.rewriter.onnx.lower import Lowering


def node(case: Case) -> ir.Model:
    weight = case.weight.numpy().astype(np.float32)
    bias = None if case.bias is None else case.bias.numpy().astype(np.float32)
    options: dict[str, Any] = {
        "strides": case.strides,
        "pads": [axis.padding for axis in case.geometry] * 2,
        "output_padding": [axis.output_padding for axis in case.geometry],
        "dilations": [axis.dilation for axis in case.geometry],
        "group": case.groups,
    }
    dims = ["n", weight.shape[0], *"dhw"[: len(case.sizes)]]
    return model(lambda op, x: op("ConvTranspose", x, weight, bias, **options), dims)


@settings(max_examples=100, suppress_health_check=[HealthCheck.filter_too_much])
@given(cases())
def test_forms_equal_the_node(case: Case) -> None:
    """1-D, 2-D and 3-D, groups, dilation, uneven axes: float32 within 1e-5, at sizes left symbolic."""
    assume(all(axis.output_padding < axis.stride for axis in case.geometry))  # as ONNX Runtime wants it
    x = case.x.numpy().astype(np.float32)
    x = x if case.batch else x[None]
    larger = noise(3, x.shape[1], *(size + 2 for size in case.sizes))
    forms = assert_all_forms_equal(node(case), x, larger)
    assert forms >= ({"compact", "split"} if max(case.strides) > 1 else {"compact"})


def upsampler(**options: Any) -> ir.Model:
    """Kernel (4, 3), stride (2, 3), at symbolic sizes."""
    return model(
        lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 3), **{"strides": [2, 3], **options}),
        [1, 2, "h", "w"],
    )


@pytest.mark.parametrize("opset", [11, 13, 18, 22, 24])
@pytest.mark.parametrize(
    "options",
    [
        {"pads": [0, 0, 1, 1]},
        {"pads": [1, 1, 0, 0]},
        {"pads": [2, 0, 1, 1], "output_padding": [1, 1]},
        {"pads": [0, 1, 3, 0]},
        {"auto_pad": "VALID"},
        {"auto_pad": "SAME_UPPER", "strides": [4, 3]},
        {"auto_pad": "SAME_LOWER", "strides": [4, 3]},
    ],
    ids=str,
)
def test_padding_is_resolved(options: dict[str, Any], opset: int) -> None:
    """Uneven and automatic padding mean what they mean to ONNX Runtime."""
    made = upsampler(**options)
    made.graph.opset_imports[""] = opset
    assert assert_all_forms_equal(made, noise(1, 2, 5, 6)) >= {"compact", "split"}


def test_output_shape_is_resolved_where_runtimes_agree() -> None:
    """A fixed input and an even crop leave one meaning."""
    made = model(
        lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2], output_shape=[10, 12]),
        [1, 2, 5, 6],
    )
    assert assert_all_forms_equal(made, noise(1, 2, 5, 6)) == {"aligned", "compact", "split"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"output_shape": [10, 12]}, "its output_shape is fixed"),
        ({"auto_pad": "SAME_UPPER"}, "runtimes disagree on auto_pad=SAME_UPPER"),
        ({"auto_pad": "SAME_LOWER"}, "runtimes disagree on auto_pad=SAME_LOWER"),
        ({"auto_pad": "SAME_UPPER", "output_padding": [1, 0]}, "runtimes disagree on auto_pad=SAME_UPPER"),
    ],
)
def test_ambiguous_padding_is_refused(options: dict[str, Any], reason: str) -> None:
    """What is no one thing stays as it is, and the report says why."""
    (site,) = target(upsampler(**options), noise(1, 2, 5, 4)).sites()
    assert site.reason is not None
    assert reason in site.reason


def test_an_odd_crop_by_output_shape_is_refused() -> None:
    """Runtimes put the odd pixel on different sides."""
    made = model(
        lambda op, x: op("ConvTranspose", x, noise(1, 1, 3), strides=[2], output_shape=[8]), [1, 1, 4]
    )
    (site,) = target(made, noise(1, 1, 4)).sites()
    assert site.reason == "runtimes disagree on which side its output_shape crops"


def test_weights_may_be_constant_nodes() -> None:
    """A Constant node is as good as an initializer."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weight = op("Constant", value=ir.tensor(noise(2, 3, 2, 2)))
        return op("ConvTranspose", x, weight, strides=[2, 2])

    made = model(build, [1, 2, "h", "w"])
    assert assert_all_forms_equal(made, noise(1, 2, 3, 3)) == {"compact", "split"}


def test_weights_may_be_computed_from_constants() -> None:
    """As weight_norm is exported; what computed them goes with the layer."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        direction, length = op.array(noise(2, 3, 2, 2)), op.array(noise(2, 1, 1, 1))
        return op("ConvTranspose", x, op("Mul", op("Abs", direction), length), strides=[2, 2])

    made, x = model(build, [1, 2, "h", "w"]), noise(1, 2, 3, 3)
    assert assert_all_forms_equal(made, x) == {"compact", "split"}
    changed, _ = rewrite(made, x, change="all", seconds=0.01)
    assert not {"Abs", "Mul"} & set(operators(changed))


def test_weights_that_depend_on_the_input_are_refused() -> None:
    """What is known only at run time cannot be mapped before."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weight = op("Mul", op("ReduceMax", x), noise(2, 3, 2, 2))
        return op("ConvTranspose", x, weight, strides=[2, 2])

    (site,) = target(model(build, [1, 2, "h", "w"]), noise(1, 2, 3, 3)).sites()
    assert site.reason == "its weight is computed at run time"


@pytest.mark.parametrize("operator", ["RandomNormal", "RandomNormalLike"])
def test_random_weights_are_refused(operator: str) -> None:
    """They have no input, and are others in every run."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        given = [noise(2, 3, 2, 2)] if operator.endswith("Like") else []
        shape = {} if given else {"shape": [2, 3, 2, 2]}
        return op("ConvTranspose", x, op(operator, *given, **shape), strides=[2, 2])

    (site,) = target(model(build, [1, 2, "h", "w"]), noise(1, 2, 3, 3)).sites()
    assert site.reason == "its weight is computed at run time"


@pytest.mark.parametrize(("ir_version", "constant"), [(3, True), (10, False)])
def test_initializers_among_the_inputs(ir_version: int, constant: bool) -> None:
    """Callers may replace them from IR version 4 on; before, all were listed there."""
    made = model(
        lambda op, x: op("ConvTranspose", x, noise(2, 3, 2, 2), strides=[2, 2]), [1, 2, "h", "w"], opset=11
    )
    made.ir_version = ir_version
    made.graph.inputs.extend(made.graph.initializers.values())
    (site,) = target(made, noise(1, 2, 3, 3)).sites()
    assert (site.reason is None) is constant
    if constant:
        assert_all_forms_equal(made, noise(1, 2, 3, 3))


def test_shared_weights_stay_for_the_others() -> None:
    """One of two layers with the same weights may change alone."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        weight = op.array(noise(2, 2, 4, 4))
        return op("ConvTranspose", op("ConvTranspose", x, weight, strides=[2, 2]), weight, strides=[2, 2])

    made, x = model(build, [1, 2, "h", "w"]), noise(1, 2, 3, 4)
    proven = target(made, x)
    first, second = proven.sites()
    for choices in (
        {first: Choice("split")},
        {second: Choice("split")},
        {first: Choice("compact"), second: Choice("split")},
    ):
        assert_equal_models(made, proven.rewritten(choices), x)


def test_the_original_is_left_as_it_is() -> None:
    """The model that came has its nodes, names and weights afterwards."""
    made = upsampler()
    before = ir.to_proto(made).SerializeToString()
    changed, report = rewrite(made, noise(1, 2, 5, 6), change="all", seconds=0.01)
    assert ir.to_proto(made).SerializeToString() == before
    assert report.changed
    assert isinstance(changed, ir.Model)
    assert "ConvTranspose" not in operators(changed)
    assert len(changed.graph.initializers) == len(
        [v for v in changed.graph.initializers.values() if v.uses()]
    )


def test_a_graph_output_keeps_its_name() -> None:
    """Between two sites too, where a caller reads it."""

    def build(op: Maker, x: ir.Value) -> list[ir.Value]:
        first = op("ConvTranspose", x, noise(2, 2, 2, 2), strides=[2, 2])
        return [op("ConvTranspose", first, noise(2, 2, 3, 3), strides=[2, 2]), first]

    made, x = model(build, [1, 2, "h", "w"]), noise(1, 2, 3, 4)
    changed, _ = rewrite(made, x, change="all", seconds=0.01)
    assert operators(changed).count("ConvTranspose") == 0
    assert_equal_models(made, changed, x, noise(1, 2, 6, 3))


def swap_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffle in the other order of channels than is right."""
    right, other = Lowering._shuffle, {"CRD": "DCR", "DCR": "CRD"}
    monkeypatch.setattr(
        Lowering, "_shuffle", lambda self, x, channels, r, order: right(self, x, channels, r, other[order])
    )


def test_a_wrong_shuffle_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that swap the phases keep the site; they never reach a model."""
    swap_phases(monkeypatch)
    made = model(lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2]), [1, 2, "h", "w"])
    made.graph[0].name = "decoder/up"
    changed, report = rewrite(made, noise(1, 2, 5, 6), change="all", seconds=0.01, cache=None)
    assert ir.to_proto(changed) == ir.to_proto(made)
    assert re.match(r"with decoder/up as \w+ the model differs by", report.sites[0].reason)


def test_what_follows_cannot_hide_a_wrong_shuffle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites are compared where they end, though the model's own output may show nothing of them."""
    swap_phases(monkeypatch)

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2])
        return op("Mul", maps, np.array(0, np.float32))

    _, report = rewrite(model(build, [1, 2, "h", "w"]), noise(1, 2, 5, 6), change="all", seconds=0.01)
    assert not report.changed
    assert "the model differs by" in report.sites[0].reason


def test_one_pixel_between_zeros_and_a_crop() -> None:
    """A phase that drops the only pixel on one side and reads zeros on the other."""
    made = model(
        lambda op, x: op("ConvTranspose", x, noise(1, 1, 3), strides=[3], dilations=[4], pads=[4, 4]),
        ["n", 1, "w"],
    )
    assert "split" in assert_all_forms_equal(made, noise(1, 1, 1), noise(2, 1, 5))


def test_a_wrong_kernel_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phases in the wrong order differ in float64, before any model is made."""
    rules: Any = "subpixel.rewriter.rules.transposed.transposed_to_lr"
    made = upsampler()
    site = target(made, noise(1, 2, 5, 6)).sites()[0]
    assert site.rule is not None
    right = target(made, noise(1, 2, 5, 6)).difference(site, Choice("compact"))
    import subpixel.rewriter.rules.transposed as rule  # noqa: PLC0415

    exact = rule.transposed_to_lr
    monkeypatch.setattr(
        rules, lambda weight, *args, **options: crd_to_dcr(exact(weight, *args, **options), 6)
    )
    assert right < 1e-12
    assert target(made, noise(1, 2, 5, 6)).difference(site, Choice("compact")) > 0.1


def test_weights_that_are_not_finite_are_refused() -> None:
    """Infinity times a zero that a form adds is no number."""
    weight = noise(2, 3, 3, 3)
    weight[0, 0, 0, 0] = np.inf
    made = model(lambda op, x: op("ConvTranspose", x, weight, strides=[2, 2]), [1, 2, "h", "w"])
    (site,) = target(made, noise(1, 2, 3, 3)).sites()
    assert site.reason is not None
    assert "its weights are not all finite" in site.reason


def test_what_runtimes_refuse_is_one_error() -> None:
    """A weight of another type than the pixels."""
    made = model(lambda op, x: op("ConvTranspose", x, noise(2, 3, 2, 2, dtype=np.float64)), [1, 2, "h", "w"])
    with pytest.raises(ValueError, match=r"the model must run on ONNX Runtime .*; it says: "):
        rewrite(made, noise(1, 2, 3, 3))


def test_run_is_not_vacuous() -> None:
    """The comparison of these tests sees one wrong weight."""
    made, other = upsampler(), upsampler()
    wrong = next(iter(other.graph.initializers.values()))
    array = wrong.const_value.numpy().copy()
    array[0, 0, 0, 0] += 1e-2
    wrong.const_value = ir.tensor(array)
    x = noise(1, 2, 5, 6)
    assert not np.array_equal(run(made, {"x": x})[0], run(other, {"x": x})[0])
    with pytest.raises(AssertionError):
        assert_equal_models(made, other, x)


def test_names_of_the_model_are_not_given_again() -> None:
    def build(op: Maker, x: ir.Value) -> ir.Value:
        before = op("Relu", x)
        maps = op("ConvTranspose", before, noise(2, 3, 4, 3), strides=[2, 3])
        before.name, maps.name = "maps/compact/constant_0", "maps"
        return maps

    made = model(build, [1, 2, "h", "w"])
    proven = target(made, noise(1, 2, 5, 6))
    (site,) = proven.sites()
    changed = proven.rewritten({site: Choice("compact")})
    names = [*changed.graph.initializers, *(value.name for node in changed.graph for value in node.outputs)]
    assert len(names) == len({*names})
    assert_equal_models(made, changed, noise(1, 2, 5, 6))
