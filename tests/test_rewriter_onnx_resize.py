"""Resizes in ONNX models: which repeat pixels, what they fuse with, and why others are kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
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
from subpixel.rewriter.onnx.operators import repeats

WHERE = ("asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners", "tf_half_pixel_for_nn")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
X = noise(1, 3, 4, 5)


def resize(op: Maker, x: ir.Value, *factors: int, **options: Any) -> ir.Value:
    defaults = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    scales = np.array([1, 1, *factors], np.float32)
    return op("Resize", x, noise(0), scales, **{**defaults, **options})


def convolve(op: Maker, x: ir.Value, ndim: int = 2, **options: Any) -> ir.Value:
    weight, bias = noise(4, 3, *[3] * ndim, seed=1), noise(4, seed=2)
    return op("Conv", x, weight, bias, **{"pads": [1] * (2 * ndim), **options})


def fused(*, opset: int = 18, factors: tuple[int, ...] = (2, 2), **options: Any) -> ir.Model:
    return model(
        lambda op, x: convolve(op, resize(op, x, *factors), len(factors), **options),
        ["n", 3, *"dhw"[: len(factors)]],
        opset,
    )


@pytest.mark.parametrize("opset", [11, 13, 18, 19, 24])
@pytest.mark.parametrize("factors", [(2,), (2, 2), (3, 2), (4, 4), (2, 1, 3)], ids=str)
def test_nearest_resize_fuses_with_the_convolution(factors: tuple[int, ...], opset: int) -> None:
    """In every form, at other sizes than the example's too."""
    sizes = (4, 5, 3)[: len(factors)]
    smaller = noise(2, 3, *(size - 2 for size in sizes))
    forms = assert_all_forms_equal(fused(opset=opset, factors=factors), noise(1, 3, *sizes), smaller)
    assert forms >= {"transposed", "compact", "split"}


@pytest.mark.parametrize(
    "options",
    [
        {"pads": [0, 0, 0, 0]},
        {"pads": [2, 1, 2, 0]},
        {"pads": [0, 1, 1, 1]},
        {"auto_pad": "SAME_UPPER", "pads": None},
        {"auto_pad": "SAME_UPPER", "pads": None, "kernel": (4, 2)},
        {"auto_pad": "SAME_LOWER", "pads": None, "kernel": (4, 2)},
        {"auto_pad": "VALID", "pads": None},
        {"dilations": [2, 1], "pads": [2, 1, 2, 1]},
        {"group": 1},
    ],
    ids=str,
)
def test_paddings_of_the_convolution(options: dict[str, Any]) -> None:
    """Uneven, automatic, dilated."""
    given = {key: value for key, value in options.items() if value is not None}
    weight = noise(4, 3, *given.pop("kernel", (3, 3)))
    made = model(lambda op, x: op("Conv", resize(op, x, 2, 2), weight, **given), ["n", 3, "h", "w"])
    assert assert_all_forms_equal(made, X, noise(2, 3, 2, 3)) >= {"transposed", "split"}


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("opset", [11, 18])
def test_padding_nodes_between(mode: str, opset: int) -> None:
    """Zeros, the edge, or a reflection, which by one pixel repeats the edge."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        padded = op("Pad", resize(op, x, 2, 2), np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode=mode)
        return convolve(op, padded, pads=[0] * 4)

    made = model(build, ["n", 3, "h", "w"], opset)
    assert assert_all_forms_equal(made, X, noise(2, 3, 2, 3)) == {
        "transposed",
        "aligned",
        "compact",
        "split",
        "products",
    }


def test_padding_of_some_axes() -> None:
    """From opset 18 on a node may name its axes."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        zero = np.array(0, np.float32)
        padded = op("Pad", resize(op, x, 2, 2), np.array([1, 1]), zero, np.array([3]), mode="constant")
        return convolve(op, padded, pads=[1, 0, 1, 0])

    assert "split" in assert_all_forms_equal(model(build, ["n", 3, "h", "w"]), X)


def test_functions_of_a_pixel_between() -> None:
    """Normalisation, activations and constants move to LR space, in their order."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = resize(op, x, 2, 2)
        maps = op(
            "BatchNormalization", maps, noise(3), noise(3, seed=3), noise(3, seed=4), np.abs(noise(3)) + 1
        )
        maps = op("PRelu", op("Mul", noise(1, 3, 1, 1), maps), noise(3, 1, 1))
        maps = op("Clip", op("Dropout", maps), np.array(-1, np.float32), np.array(2, np.float32))
        return convolve(op, op("Sub", np.array(1.5, np.float32), maps))

    made = model(build, ["n", 3, "h", "w"])
    proven = target(made, X)
    (site,) = proven.sites()
    changed = proven.rewritten({site: Choice("transposed")})
    assert operators(changed)[-1] == "ConvTranspose"
    assert "Resize" not in operators(changed)
    assert_all_forms_equal(made, X)


@pytest.mark.parametrize(
    "build",
    [
        lambda op, x: op("Add", x, noise(8, 10)),
        lambda op, x: op("Add", x, noise(10)),
        lambda op, x: op("Add", x, x),
        lambda op, x: op("PRelu", x, noise(1, 8, 1)),
        lambda op, x: op("Softmax", x),
        lambda op, x: op("InstanceNormalization", x, noise(3), noise(3)),
        lambda op, x: op("Pad", x, np.array([0, 0, 1, 1] * 2), np.array(1, np.float32)),
    ],
)
def test_functions_of_more_than_a_pixel_stay(build: Any) -> None:
    """A constant for each position, a sum over channels, or a frame of ones does not commute."""
    made = model(lambda op, x: convolve(op, build(op, resize(op, x, 2, 2))), ["n", 3, "h", "w"])
    (site,) = target(made, X).sites()
    assert site.reason == "no convolution to fuse it with"


def test_several_readers_of_the_resize() -> None:
    """Each convolution is a site of its own; the resize goes when the last reader has."""

    def build(op: Maker, x: ir.Value) -> list[ir.Value]:
        maps = resize(op, x, 2, 2)
        return [convolve(op, maps), convolve(op, op("Relu", maps), pads=[0] * 4)]

    made = model(build, ["n", 3, "h", "w"])
    proven = target(made, X)
    first, second = proven.sites()
    assert (first.shared_prefix, second.shared_prefix) == (1, 1)
    one, both = (
        proven.rewritten({first: Choice("split")}),
        proven.rewritten({first: Choice("split"), second: Choice("compact")}),
    )
    assert_equal_models(made, one, X)
    assert_equal_models(made, both, X)
    assert "Resize" in operators(one)
    assert "Resize" not in operators(both)


def test_a_resize_that_is_an_output_stays() -> None:
    """A caller reads it."""

    def build(op: Maker, x: ir.Value) -> list[ir.Value]:
        maps = resize(op, x, 2, 2)
        return [maps, convolve(op, maps)]

    made = model(build, ["n", 3, "h", "w"])
    assert [site.shared_prefix for site in target(made, X).sites()] == [1]
    changed, _ = rewrite(made, X, change="all", seconds=0.01)
    assert operators(changed)[0] == "Resize"
    assert_equal_models(made, changed, X)


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("where", WHERE)
def test_repetition_is_recognised(where: str, rounding: str, factor: int) -> None:
    """Those modes with which ONNX Runtime repeats each pixel; with aligned corners it depends on the size."""
    opset = 11 if where == "tf_half_pixel_for_nn" else 18
    options = {"coordinate_transformation_mode": where, "nearest_mode": rounding}
    made = model(lambda op, x: resize(op, x, factor, factor, **options), ["n", 3, "h", "w"], opset)
    (actual,) = run(made, {"x": X})
    repeated = np.array_equal(actual, X.repeat(factor, 2).repeat(factor, 3))
    assert repeats(where, rounding, factor) == (repeated and where != "align_corners")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"nearest_mode": "ceil"}, "with asymmetric and ceil it does not repeat each pixel alike"),
        ({"mode": "linear"}, "with asymmetric no two pixels have the same kernel"),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, "with align_corners no two"),
        (
            {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.5},
            "its cubic coefficient is not -0.75",
        ),
        (
            {"mode": "cubic", "coordinate_transformation_mode": "half_pixel", "exclude_outside": 1},
            "it is antialiased, or leaves out what is outside",
        ),
        ({"mode": "linear", "coordinate_transformation_mode": "half_pixel"}, None),
    ],
)
def test_irregular_resizes_are_kept(options: dict[str, Any], reason: str | None) -> None:
    """With the reason in the report; interpolation before a padded convolution is a site by itself."""
    made = model(lambda op, x: convolve(op, resize(op, x, 2, 2, **options)), ["n", 3, "h", "w"])
    (site,) = target(made, X).sites()
    if reason is None:
        assert (site.was, site.reason) == ("interpolation", None)
    else:
        assert site.reason is not None
        assert reason in site.reason


@pytest.mark.parametrize(
    ("scales", "reason"),
    [
        ([1, 1, 1.5, 2], "its factors 1.5, 2.0 are no integers"),
        ([1, 2, 2, 2], "it resizes batch or channels"),
    ],
)
def test_other_factors_are_kept(scales: list[float], reason: str) -> None:
    """Only whole ones, of pixels."""
    made = model(
        lambda op, x: op("Resize", x, noise(0), np.array(scales, np.float32), mode="nearest"),
        ["n", 3, "h", "w"],
    )
    (site,) = target(made, X).sites()
    assert site.reason == reason


def test_shrinking_is_no_site() -> None:
    """A report is about up-samplers."""
    made = model(
        lambda op, x: op("Resize", x, noise(0), np.array([1, 1, 0.5, 0.5], np.float32)), ["n", 3, "h", "w"]
    )
    assert not target(made, X).sites()


@pytest.mark.parametrize("computed", [False, True])
def test_sizes_instead_of_factors(computed: bool) -> None:
    """Taken where both shapes are fixed, or the sizes are computed as multiples; else kept."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        sizes: Any = np.array([1, 3, 8, 10])
        if computed:
            sizes = op("Mul", op("Shape", x), np.array([1, 1, 2, 2]))
        maps = op(
            "Resize", x, None, None, sizes, coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )
        return convolve(op, maps)

    fixed = model(build, [1, 3, 4, 5])
    assert assert_all_forms_equal(fixed, X) >= {"transposed", "split"}
    rewrite(fixed, change="all", seconds=0.01)
    free = model(build, ["n", 3, "h", "w"])
    (site,) = target(free, X).sites()
    if computed:
        assert assert_all_forms_equal(free, X, noise(1, 3, 6, 2)) >= {"transposed", "split"}
    else:
        assert site.reason == "its output size is not proven to be a multiple of its input size"


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("where", ["half_pixel", "pytorch_half_pixel"])
def test_interpolation_is_depthwise(mode: str, factor: int, where: str) -> None:
    """Borders included, at sizes down to one pixel."""
    made = model(
        lambda op, x: resize(op, x, factor, factor, mode=mode, coordinate_transformation_mode=where),
        ["n", 3, "h", "w"],
    )
    assert assert_all_forms_equal(made, X, noise(2, 3, 1, 7)) == {"depthwise"}


def test_interpolation_of_symbolic_channels_is_kept() -> None:
    """A kernel has as many channels as it has."""
    made = model(
        lambda op, x: resize(op, x, 2, 2, mode="linear", coordinate_transformation_mode="half_pixel"),
        ["n", "c", "h", "w"],
    )
    (site,) = target(made, X).sites()
    assert site.reason == "its channels are symbolic"


def test_functions_are_left_alone() -> None:
    """What a local function holds stays, and a note says so."""
    inner, given = Maker(), ir.val("given", ir.DataType.FLOAT)
    weight = inner("Constant", value=ir.tensor(noise(3, 3, 2, 2)))
    body = ir.Graph(
        [given],
        [inner("ConvTranspose", given, weight, strides=[2, 2])],
        nodes=inner.nodes,
        opset_imports={"": 18},
    )
    made = model(
        lambda op, x: convolve(op, resize(op, op.op("up", [x], domain="mine"), 2, 2)), ["n", 3, "h", "w"]
    )
    made.functions["mine", "up", ""] = ir.Function("mine", "up", graph=body, attributes=[])
    made.graph.opset_imports["mine"] = 1
    proven = target(made, X)
    (site,) = proven.sites()
    assert proven.notes == ("up-samplers in branches, loops and functions, which are left alone: 1",)
    assert_equal_models(made, proven.rewritten({site: Choice("split")}), X)


def test_sub_pixel_convolution_back_to_a_transposed_one() -> None:
    """In either order of channels."""
    for mode in ("CRD", "DCR"):
        made = model(
            lambda op, x, mode=mode: op(
                "DepthToSpace",
                op("Relu", op("Conv", x, noise(8, 3, 3, 3), pads=[1] * 4)),
                blocksize=2,
                mode=mode,
            ),
            ["n", 3, "h", "w"],
        )
        assert assert_all_forms_equal(made, X, noise(2, 3, 1, 2)) == {"transposed"}


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("stride", [[2, 2], [4, 4], [2, 3]])
def test_strided_convolutions_of_few_channels(size: int, group: int, stride: list[int]) -> None:
    """On the unshuffled input, whether its size is a multiple of the stride or not."""
    made = model(
        lambda op, x: op(
            "Conv", x, noise(6, 3 // group, 5, 5), noise(6), strides=stride, pads=[2] * 4, group=group
        ),
        [1, 3, size, size + 3],
    )
    assert assert_all_forms_equal(made, noise(1, 3, size, size + 3)) == {"unshuffled"}


def test_strided_convolutions_of_symbolic_size_are_kept() -> None:
    """What is missing to a multiple of the stride depends on the size."""
    made = model(lambda op, x: op("Conv", x, noise(6, 3, 3, 3), strides=[2, 2]), ["n", 3, "h", "w"])
    (site,) = target(made, X).sites()
    assert site.reason == "the sizes of its input are symbolic"


def test_branches_are_left_alone() -> None:
    """What only an If sees stays, and a note says so; what it reads from outside stays too."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = resize(op, x, 2, 2)
        branches = {}
        for name, sign in (("then_branch", 1), ("else_branch", -1)):
            inner = Maker()
            value = inner("Mul", maps, inner("Constant", value=ir.tensor(np.array(sign, np.float32))))
            weight = inner("Constant", value=ir.tensor(noise(3, 4, 2, 2)))
            enlarged = inner("ConvTranspose", value, weight, strides=[2, 2])
            for index, node in enumerate(inner.nodes):
                node.outputs[0].name = f"{name}_{index}"
            enlarged.dtype = ir.DataType.FLOAT
            branches[name] = ir.Graph([], [enlarged], nodes=inner.nodes, name=name)
        condition = op("Greater", op("ReduceSum", x, keepdims=0), np.array(0, np.float32))
        return op("Add", op("If", condition, **branches), op("ReduceMean", convolve(op, maps)))

    made = model(build, ["n", 3, "h", "w"])
    proven = target(made, X)
    (site,) = proven.sites()
    assert proven.notes == ("up-samplers in branches, loops and functions, which are left alone: 2",)
    changed = proven.rewritten({site: Choice("split")})
    assert "Resize" in operators(changed)
    assert_equal_models(made, changed, X, -X)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_resize_to_the_same_size_is_dropped(where: str, mode: str) -> None:
    """It is listed and goes; where it moves pixels, it stays."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        sizes = (np.ones(4, np.float32),) if mode == "linear" else (None, np.array([1, 3, 4, 5]))
        options = {"mode": mode, "coordinate_transformation_mode": where, "nearest_mode": "ceil"}
        return op("Relu", op("Resize", op("Neg", x), None, *sizes, **options))

    made = model(build, [1, 3, 4, 5])
    changed, report = rewrite(made, X, change="all", seconds=0.01)
    if where == "tf_half_pixel_for_nn":
        assert not report.sites
    else:
        (site,) = report.sites
        assert (site.was, site.became) == ("resize to the same size", "dropped")
        assert operators(changed) == ["Neg", "Identity", "Relu"]
        assert_equal_models(made, changed, X, tolerance=0)


def resized_to(op: Maker, x: ir.Value, *sizes: ir.Value) -> ir.Value:
    batch = op("Slice", op("Shape", x), np.array([0]), np.array([2]))
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    maps = op("Resize", x, None, None, op("Concat", batch, *sizes, axis=0), **options)
    return op("Conv", maps, noise(4, 3, 3, 3, seed=1))


def size_of(op: Maker, x: ir.Value, axis: int) -> ir.Value:
    return op("Gather", op("Shape", x), np.array([axis]))


def twice_as_integers(op: Maker, x: ir.Value) -> ir.Value:
    heights, widths = (op("Mul", size_of(op, x, axis), np.array([2])) for axis in (2, 3))
    return resized_to(op, x, heights, widths)


def twice_as_exported(op: Maker, x: ir.Value) -> ir.Value:
    """As PyTorch's older exporter writes a scale factor, number by number and through fractions."""
    numbers = []
    for axis, factor in ((2, 2.0), (3, 3.0)):
        number = op("Cast", op("Gather", op("Shape", x), np.array(axis)), to=int(ir.DataType.FLOAT))
        number = op("Floor", op("Mul", np.array(factor, np.float32), number))
        number = op("Cast", op("Unsqueeze", number, np.array([0])), to=int(ir.DataType.INT64))
        numbers.append(number)
    return resized_to(op, x, *numbers)


def of_a_part_of_the_shape(op: Maker, x: ir.Value) -> ir.Value:
    sizes = op("Shape", x, start=-2)
    return resized_to(op, x, op("Div", op("Mul", np.array([6]), sizes), np.array([2, 3])))


@pytest.mark.parametrize("build", [twice_as_integers, twice_as_exported, of_a_part_of_the_shape])
def test_a_size_that_is_a_multiple_is_a_factor(build: Callable[[Maker, ir.Value], ir.Value]) -> None:
    """Whatever the input: proven at one size, equal at others; what computed the size goes too."""
    made = model(build, ["n", 3, "h", "w"])
    assert assert_all_forms_equal(made, X, noise(2, 3, 7, 2), noise(1, 3, 2, 9)) >= {"transposed", "split"}
    changed, _ = rewrite(made, X, change="all", seconds=0.01)
    assert not {"Resize", "Floor", "Gather"} & set(operators(changed))


def the_other_axis(op: Maker, x: ir.Value) -> ir.Value:
    return resized_to(op, x, *(op("Mul", size_of(op, x, axis), np.array([2])) for axis in (3, 2)))


def rounded_first(op: Maker, x: ir.Value) -> ir.Value:
    half = op("Div", op("Shape", x, start=2), np.array([2]))
    return resized_to(op, x, op("Mul", half, np.array([4])))


def one_more(op: Maker, x: ir.Value) -> ir.Value:
    return resized_to(op, x, op("Add", op("Mul", op("Shape", x, start=2), np.array([2])), np.array([0])))


def of_another_value(op: Maker, x: ir.Value) -> ir.Value:
    padded = op("Pad", x, np.array([0, 0, 0, 0, 0, 0, 1, 1]), mode="edge")
    return resized_to(op, x, op("Mul", op("Shape", padded, start=2), np.array([2])))


@pytest.mark.parametrize("build", [the_other_axis, rounded_first, one_more, of_another_value])
def test_other_sizes_are_kept(build: Callable[[Maker, ir.Value], ir.Value]) -> None:
    """At the example some of them are multiples; at another size they are none, or it is not proven."""
    (site,) = target(model(build, ["n", 3, "h", "w"]), noise(1, 3, 4, 4)).sites()
    assert site.reason == "its output size is not proven to be a multiple of its input size"


def test_a_long_way_to_a_size_is_not_followed() -> None:
    """A file from a stranger may have any number of nodes, each of which doubles what is read."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        sizes = op("Mul", op("Shape", x, start=2), np.array([2]))
        for _ in range(200):
            sizes = op("Slice", op("Concat", sizes, sizes, axis=0), np.array([0]), np.array([2]))
        return resized_to(op, x, sizes)

    (site,) = target(model(build, ["n", 3, "h", "w"]), X).sites()
    assert site.reason == "its output size is not proven to be a multiple of its input size"
