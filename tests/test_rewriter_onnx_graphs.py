"""Random small graphs: whatever is rewritten in them, alone or together, they compute what they did."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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

from subpixel.rewriter import rewrite
from subpixel.rewriter.forms import Choice
from subpixel.rewriter.onnx import target as target_module
from subpixel.without_telemetry.onnxruntime import onnxruntime

Draw = st.DrawFn


class Maps(NamedTuple):
    """A value of a graph that is being drawn."""

    value: ir.Value
    channels: int


class Drawing(NamedTuple):
    """What steps need."""

    draw: Draw
    op: Maker
    ndim: int
    weights: Callable[..., Any]


def transposed(d: Drawing, maps: Maps) -> Maps:
    kernel, stride = d.draw(st.integers(1, 4)), d.draw(st.integers(1, 3))
    pads = [d.draw(st.integers(0, (kernel - 1) // 2)) for _ in range(2 * d.ndim)]
    more = d.draw(st.integers(0, stride - 1))
    groups, out = d.draw(st.sampled_from((1, maps.channels))), d.draw(st.integers(1, 3))
    weight = d.weights(maps.channels, out, *[kernel] * d.ndim)
    options = {"strides": [stride] * d.ndim, "pads": pads, "output_padding": [more] * d.ndim, "group": groups}
    return Maps(d.op("ConvTranspose", maps.value, weight, d.weights(out * groups), **options), out * groups)


def nearest(d: Drawing, maps: Maps) -> Maps:
    options: dict[str, Any] = d.draw(
        st.sampled_from(
            (
                {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
                {"coordinate_transformation_mode": "half_pixel"},
                {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"},
            )
        )
    )
    factors = [d.draw(st.integers(1, 3)) for _ in range(d.ndim)]
    scales = np.array([1, 1, *factors], np.float32)
    return Maps(d.op("Resize", maps.value, noise(0), scales, mode="nearest", **options), maps.channels)


def linear(d: Drawing, maps: Maps) -> Maps:
    scales = np.array([1, 1, *[d.draw(st.integers(1, 3))] * d.ndim], np.float32)
    return Maps(d.op("Resize", maps.value, noise(0), scales, mode="linear"), maps.channels)


def convolution(d: Drawing, maps: Maps) -> Maps:
    kernel, dilation = d.draw(st.integers(1, 3)), d.draw(st.integers(1, 2))
    pads = [d.draw(st.integers(0, dilation * (kernel - 1))) for _ in range(2 * d.ndim)]
    out = d.draw(st.sampled_from((1, 3, 4, 8)))
    weight = d.weights(out, maps.channels, *[kernel] * d.ndim)
    return Maps(d.op("Conv", maps.value, weight, dilations=[dilation] * d.ndim, pads=pads), out)


def function(d: Drawing, maps: Maps) -> Maps:
    name = d.draw(st.sampled_from(("Relu", "Sigmoid", "LeakyRelu", "Elu", "Identity")))
    return Maps(d.op(name, maps.value), maps.channels)


def constant(d: Drawing, maps: Maps) -> Maps:
    one_each = d.weights(1, maps.channels, *[1] * d.ndim)
    number = d.draw(st.sampled_from((one_each, np.array(1.5, np.float32))))
    operands = d.draw(st.permutations((maps.value, number)))
    return Maps(d.op(d.draw(st.sampled_from(("Add", "Mul", "Sub", "Max"))), *operands), maps.channels)


def norm(d: Drawing, maps: Maps) -> Maps:
    scale, shift, mean = (d.weights(maps.channels) for _ in range(3))
    variance = np.ones(maps.channels, np.float32)
    return Maps(d.op("BatchNormalization", maps.value, scale, shift, mean, variance), maps.channels)


def pad(d: Drawing, maps: Maps) -> Maps:
    pads = [0, 0, *(d.draw(st.integers(0, 1)) for _ in range(d.ndim))] * 2
    mode = d.draw(st.sampled_from(("constant", "edge", "reflect")))
    return Maps(d.op("Pad", maps.value, np.array(pads), mode=mode), maps.channels)


def shuffle(d: Drawing, maps: Maps) -> Maps:
    if d.ndim != 2 or maps.channels % 4:
        return maps
    mode = d.draw(st.sampled_from(("CRD", "DCR")))
    return Maps(d.op("DepthToSpace", maps.value, blocksize=2, mode=mode), maps.channels // 4)


STEPS = (transposed, nearest, nearest, linear, *[convolution] * 4, function, constant, norm, pad, shuffle)


@st.composite
def graphs(draw: Draw) -> tuple[ir.Model, tuple[int, ...]]:
    """A model of symbolic sizes with branches and shared weights, and the sizes of an example."""
    ndim, opset = draw(st.sampled_from((1, 2, 2, 2, 3))), draw(st.sampled_from((11, 13, 18, 21, 24)))
    random, shared = np.random.default_rng(draw(st.integers(0, 2**16))), {}

    def build(op: Maker, x: ir.Value) -> list[ir.Value]:
        def weights(*shape: int) -> ir.Value:
            if shape not in shared:
                shared[shape] = op.array(random.standard_normal(shape).astype(np.float32))
            return shared[shape]

        pool = [Maps(x, 3)]
        for _ in range(draw(st.integers(2, 6))):
            maps = pool[-1] if draw(st.integers(0, 4)) else draw(st.sampled_from(pool))
            pool.append(draw(st.sampled_from(STEPS))(Drawing(draw, op, ndim, weights), maps))
        values = list(dict.fromkeys(maps.value for maps in pool[1:]))
        read = [value for value in values if not draw(st.integers(0, 3))]
        return [op("Neg", value) for value in [*read, values[-1]]]

    made = model(build, ["n", 3, *"dhw"[:ndim]], opset)
    return made, tuple(draw(st.integers(3, 6)) for _ in range(ndim))


def runs(made: ir.Model, *inputs: Any) -> bool:
    """Some that are drawn are too small for their kernels."""
    try:
        return all(run(made, {"x": x}) for x in inputs)
    except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument:
        return False


@settings(max_examples=60)
@given(drawn=graphs(), random=st.randoms(use_true_random=False))
def test_rewritten_graphs_equal_the_original(drawn: tuple[ir.Model, tuple[int, ...]], random: Any) -> None:
    """Each form alone, then forms everywhere at once; in float64 each site to 1e-12, whole models to 1e-4."""
    made, sizes = drawn
    x, other = noise(2, 3, *sizes), noise(1, 3, *(size + 3 for size in sizes), seed=1)
    if not runs(made, x, other):
        return
    proven = target(made, x)
    sites = [site for site in proven.sites() if site.names]
    for site in sites:
        assert max(proven.difference(site, choice) or 0.0 for choice in proven.choices(site)) < 1e-12
    assert_all_forms_equal(made, x, other, tolerance=1e-4)
    choices = {site: random.choice(proven.choices(site)) for site in sites}
    assert_equal_models(made, proven.rewritten(choices), x, other, tolerance=1e-4)


def test_the_graphs_have_all_rules() -> None:
    """What is drawn above is not all refused: a chain of up-samplers with every rule of the search."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("Conv", x, noise(8, 3, 5, 5), strides=[2, 2], pads=[2] * 4)
        maps = op("ConvTranspose", maps, noise(8, 4, 4, 4), strides=[2, 2], pads=[1] * 4)
        maps = op("Resize", maps, noise(0), np.array([1, 1, 2, 2], np.float32), mode="linear")
        maps = op("Resize", maps, noise(0), np.array([1, 1, 2, 2], np.float32), mode="nearest")
        maps = op("Conv", op("Relu", maps), noise(8, 4, 3, 3), pads=[1] * 4)
        return op("DepthToSpace", op("Conv", maps, noise(8, 8, 3, 3), pads=[1] * 4), blocksize=2, mode="CRD")

    made, x = model(build, ["n", 3, 16, 16]), noise(1, 3, 16, 16)
    assert [site.was for site in target(made, x).sites()] == [
        "strided convolution",
        "transposed convolution",
        "interpolation",
        "nearest resize + convolution",
        "convolution + shuffle",
    ]
    assert_all_forms_equal(made, x, noise(2, 3, 16, 16), tolerance=1e-4)
    changed, report = rewrite(made, x, change="all", seconds=0.01)
    assert not {"ConvTranspose", "Resize"} & set(operators(changed))
    assert report.error[1] is not None
    assert report.error[1] < 1e-4


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_decisions_are_repeated_from_the_cache(runtime: str, tmp_path: Any) -> None:
    """With the cache of a first run a second one times no site and decides alike."""
    made = model(
        lambda op, x: op("ConvTranspose", x, noise(3, 4, 4, 4), strides=[2, 2], pads=[1] * 4),
        ["n", 3, "h", "w"],
    )
    x, cache = noise(1, 3, 8, 8), tmp_path / "cache.json"
    options: dict[str, Any] = {"change": "all", "runtime": runtime, "seconds": 0.01, "cache": cache}
    first, _ = rewrite(made, x, **options)
    second, report = rewrite(made, x, **options)
    assert report.sites[0].reason == "as decided before"
    assert ir.to_proto(first).SerializeToString() == ir.to_proto(second).SerializeToString()
    assert_equal_models(made, second, x)


def test_forms_that_the_runtime_refuses_are_none_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """The site is kept, with that reason."""

    def refusing(*arguments: Any) -> ir.Model:
        if arguments[2] is not None:
            raise ValueError("no such operator")
        return timed(*arguments)

    timed = target_module.timed
    monkeypatch.setattr(target_module, "timed", refusing)
    made = model(lambda op, x: op("ConvTranspose", x, noise(3, 4, 4, 4), strides=[2, 2]), ["n", 3, "h", "w"])
    changed, report = rewrite(made, noise(1, 3, 8, 8), seconds=0.01)
    assert operators(changed) == ["ConvTranspose"]
    assert [site.reason for site in report.sites] == ["the runtime refuses its other forms"]


def test_outputs_without_fractions_are_compared_at_the_sites() -> None:
    """Where the model gives classes, the up-sampled maps behind them are what must not change."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("ConvTranspose", x, noise(3, 4, 2, 2), strides=[2, 2])
        classes = op("ArgMax", maps, axis=1)
        classes.dtype = ir.DataType.INT64
        return classes

    made, x = model(build, ["n", 3, "h", "w"]), noise(1, 3, 8, 8)
    proven = target(made, x)
    (site,) = proven.sites()
    split = {site: Choice("split")}
    error = proven.differences(proven.rewritten(split), split).in_own_precision
    assert 0 < error < 1e-5


@pytest.mark.parametrize(
    "build",
    [
        lambda op, x: op("ConvTranspose", x, noise(3, 4, 4, 4), strides=[2, 2]),
        lambda op, x: op(
            "Conv", op("Resize", x, noise(0), np.array([1, 1, 2, 2], np.float32)), noise(4, 3, 3, 3)
        ),
        lambda op, x: op("DepthToSpace", op("Conv", x, noise(4, 3, 3, 3)), blocksize=2),
    ],
    ids=["transposed", "nearest", "shuffle"],
)
def test_a_rank_needs_no_guard(build: Callable[[Maker, ir.Value], ir.Value]) -> None:
    """A kernel, a list of factors and DepthToSpace have one rank: the original takes no other either."""
    made = model(build, ["n", 3, "h", "w"])
    made.graph.inputs[0].shape = None
    proven = target(made, noise(1, 3, 5, 6))
    (site,) = proven.sites()
    assert site.names
    for each in (made, *(proven.rewritten({site: Choice(form)}) for form in site.names)):
        assert_equal_models(made, each, noise(1, 3, 5, 6))
        for x in (noise(3, 5, 6), noise(1, 3, 5, 6, 7)):
            with pytest.raises(Exception, match="ONNXRuntimeError"):
                run(each, {"x": x})


def test_sequences_are_passed_over() -> None:
    """They are no tensors, and have no shape to ask for."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("ConvTranspose", x, noise(3, 4, 2, 2), strides=[2, 2])
        sequence = op("Identity", op("SequenceConstruct", maps, maps))
        return op("Relu", op("SequenceAt", sequence, np.array(1)))

    made, x = model(build, ["n", 3, "h", "w"]), noise(1, 3, 8, 8)
    changed, report = rewrite(made, x, change="all", seconds=0.01)
    assert report.changed
    assert_equal_models(made, changed, x)
