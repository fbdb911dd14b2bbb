"""ONNX files, strangers' among them: one clear error and nothing written, or a model that is whole."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx_models import RUNTIME, Maker, assert_equal_models, model, noise, operators

from subpixel.rewriter import rewrite
from subpixel.rewriter.forms import Choice
from subpixel.rewriter.onnx import examples, files, runtimes
from subpixel.rewriter.onnx.target import OnnxTarget


def upsampler(opset: int = 18) -> ir.Model:
    return model(
        lambda op, x: op("ConvTranspose", x, noise(2, 3, 4, 4), strides=[2, 2]), [1, 2, 5, 6], opset=opset
    )


def changed_file(path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    proto = ir.to_proto(upsampler())
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def external_file(path: Path, **entries: object) -> Path:
    """A model whose weight lies in weight.bin beside it, with other claims where they are given."""

    def change(proto: onnx.ModelProto) -> None:
        (weight,) = proto.graph.initializer
        (path.parent / "weight.bin").write_bytes(weight.raw_data)
        claims = {"location": "weight.bin", "offset": 0, "length": len(weight.raw_data), **entries}
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in claims.items():
            weight.external_data.add(key=key, value=str(value))

    return changed_file(path, change)


def refused(path: Path, match: str) -> None:
    """One ValueError of this text; the folder is as it was."""
    before = sorted(path.parent.rglob("*"))
    with pytest.raises(ValueError, match=match):
        rewrite(path, seconds=0.01)
    assert sorted(path.parent.rglob("*")) == before


@pytest.mark.parametrize("opset", [11, 14, 18, 22, 24])
def test_a_path_gives_a_message(tmp_path: Path, opset: int) -> None:
    """From the oldest opset to the newest; the checker of ONNX finds nothing."""
    path = tmp_path / "model.onnx"
    files.save_model(upsampler(opset), path)
    changed, report = rewrite(str(path), change="all", seconds=0.01)
    assert isinstance(changed, onnx.ModelProto)
    assert report.changed
    onnx.checker.check_model(changed, full_check=True)
    assert_equal_models(upsampler(opset), ir.from_proto(changed), noise(1, 2, 5, 6))


def test_a_message_gives_a_message() -> None:
    """The same type out as in, and the same model where nothing changes."""
    proto = ir.to_proto(model(lambda op, x: op("Relu", x), [1, 2, 3, 3]))
    same, report = rewrite(proto, seconds=0.01)
    assert not report.changed
    assert not report.sites
    assert same == proto


def test_external_data_is_read(tmp_path: Path) -> None:
    """Weights in a file beside the model, as large models have them."""
    changed, _ = rewrite(external_file(tmp_path / "model.onnx"), change="all", seconds=0.01)
    assert_equal_models(upsampler(), ir.from_proto(changed), noise(1, 2, 5, 6))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("inline", [0, 100, 10_000])
def test_external_data_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: str, inline: int
) -> None:
    """What does not fit a message goes into a file beside it, and comes back; runtimes read it there."""
    monkeypatch.setattr(files, "LARGEST_MESSAGE", 100)
    monkeypatch.setattr(files, "INLINE", inline)
    monkeypatch.setattr(runtimes, "IN_MEMORY", 0)
    large = files.load_model(external_file(tmp_path / "model.onnx"))
    assert isinstance(next(iter(large.graph.initializers.values())).const_value, ir.ExternalTensor)
    changed, _ = rewrite(large, change="all", seconds=0.01, runtime=runtime)
    path = tmp_path / "out" / "changed.onnx"
    path.parent.mkdir()
    files.save_model(changed, path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["changed.onnx", "changed.onnx.data"]
    monkeypatch.undo()
    assert_equal_models(upsampler(), files.load_model(path), noise(1, 2, 5, 6))
    assert "ConvTranspose" not in operators(changed)


def test_memory_is_a_few_times_the_weights(tmp_path: Path) -> None:
    """64 MiB of weights take less than four times that, in a process of its own; 2.3 times were measured."""
    side = 4096

    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("Conv", x, np.ones((side, side, 1, 1), np.float32))
        return op("ConvTranspose", maps, noise(side, 1, 2, 2), strides=[2, 2])

    path = tmp_path / "large.onnx"
    files.save_model(model(build, [1, side, 2, 2]), path)
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 * 4 * side**2


MEASURE = """
import resource, sys
import subpixel
from subpixel.rewriter.onnx import rewrite_onnx
from subpixel.rewriter.onnx.runtimes import find_runtime

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

find_runtime("onnxruntime")
before = peak()
subpixel.rewrite(sys.argv[1], change="all", seconds=0.01)
print(peak() - before)
"""


def test_whole_models_are_compiled_once() -> None:
    """Compared and timed is the same compiled model; what is compiled holds weights of its own."""
    compiled = []

    def compile_model(source: bytes | Path) -> runtimes.Session:
        compiled.append(source)
        return RUNTIME.compile(source)

    made, x = upsampler(), noise(1, 2, 5, 6)
    proven = OnnxTarget(made, {"x": x}, runtimes.Runtime("counting", compile_model), 0)
    (site,) = proven.sites()
    changed = proven.rewritten({site: Choice("compact")})
    proven.differences(changed, {site: Choice("compact")})
    count = len(compiled)
    for each in (None, changed, None, changed):
        proven.whole(each)()
    assert len(compiled) == count


def test_a_failed_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the model nor its data, nor a temporary file."""
    monkeypatch.setattr(files, "LARGEST_MESSAGE", 100)
    made = upsampler()
    monkeypatch.setattr(ir, "to_proto", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        files.save_model(made, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kept", [0, 1, 2, 10, 50, 0.3, 0.5, 0.9, 0.999])
def test_truncated(tmp_path: Path, kept: float) -> None:
    """Cut anywhere."""
    whole = ir.to_proto(upsampler()).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    refused(path, "the file must be an ONNX model; got .*model.onnx, ")


def test_another_thing(tmp_path: Path) -> None:
    """Text with the name of a model."""
    path = tmp_path / "model.onnx"
    path.write_text("PK, or a page that says 404")
    refused(path, "the file must be an ONNX model")


def test_missing(tmp_path: Path) -> None:
    """The system's own error."""
    with pytest.raises(FileNotFoundError):
        rewrite(tmp_path / "model.onnx")


def test_cyclic(tmp_path: Path) -> None:
    """Two nodes that read each other."""

    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node.add(op_type="Add", input=["x", "b"], output=["a"])
        proto.graph.node.add(op_type="Relu", input=["a"], output=["b"])

    refused(changed_file(tmp_path / "model.onnx", change), "the graph must have no cycle")


def test_nodes_out_of_order(tmp_path: Path) -> None:
    """Not cyclic, only unsorted: taken, as runtimes do."""

    def change(proto: onnx.ModelProto) -> None:
        (node,) = proto.graph.node
        proto.graph.node.add(op_type="Neg", input=["x"], output=["negative"])
        node.input[0] = "negative"

    changed, _ = rewrite(changed_file(tmp_path / "model.onnx", change), change="all", seconds=0.01)
    assert next(node.op_type for node in changed.graph.node) == "Neg"


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../outside.bin", "inside/../../outside.bin", "link.bin", "nothing.bin", ".", ""],
)
def test_external_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    """By an absolute path, by .., by a link; or no file at all."""
    folder = tmp_path / "folder"
    (folder / "inside").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(bytes(2 * 3 * 4 * 4 * 4))
    (folder / "link.bin").symlink_to(tmp_path / "outside.bin")
    path = external_file(folder / "model.onnx", location=location)
    refused(path, "the data of c0 must be a file in the model's folder")


@pytest.mark.parametrize("claims", [{"offset": 1}, {"offset": 2**40}, {"offset": -8}, {"offset": "x"}])
def test_external_data_beyond_the_file(tmp_path: Path, claims: dict[str, object]) -> None:
    """More claimed than there is."""
    refused(
        external_file(tmp_path / "model.onnx", **claims), "must (hold what it declares|be a valid ONNX graph)"
    )


def test_external_data_needs_a_folder(tmp_path: Path) -> None:
    """A message alone does not say where its files are."""
    proto = onnx.load(external_file(tmp_path / "model.onnx"), load_external_data=False)
    with pytest.raises(ValueError, match="a message must hold its tensors; got c0"):
        rewrite(proto)


@pytest.mark.parametrize(
    "dims", [[2**16, 2**15, 1, 1], [2**62, 2**62], [2, 3, 4, 5], [-1, 3, 4, 4], [2, 3, 4, 3]]
)
def test_tensors_of_other_sizes_than_declared(tmp_path: Path, dims: list[int]) -> None:
    """Two gibibytes, more than there can be, and off by one: no memory is taken for them."""

    def change(proto: onnx.ModelProto) -> None:
        proto.graph.initializer[0].dims[:] = dims

    refused(changed_file(tmp_path / "model.onnx", change), "a tensor must hold what it declares")


def test_inputs_of_gigabytes(tmp_path: Path) -> None:
    """Declared by the file, where nobody gave an example."""

    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40

    refused(changed_file(tmp_path / "model.onnx", change), "the input x must have at most")


@pytest.mark.parametrize(
    "change",
    [
        lambda proto: setattr(proto.graph.initializer[0], "data_type", onnx.TensorProto.INT32),
        lambda proto: setattr(proto.graph.initializer[0], "data_type", 99),
        lambda proto: proto.graph.initializer[0].dims.__setitem__(slice(None), [4, 4, 3, 2]),
        lambda proto: proto.graph.initializer[0].dims.__setitem__(slice(None), [96]),
        lambda proto: setattr(proto.graph.node[0], "op_type", "NoSuchOperator"),
        lambda proto: setattr(proto.graph.node[0], "domain", "no.such.domain"),
        lambda proto: proto.graph.node[0].input.__setitem__(0, "nothing"),
        lambda proto: proto.graph.node[0].attribute[0].ints.append(2),
        lambda proto: setattr(proto.graph.node[0].attribute[0], "type", onnx.AttributeProto.STRING),
        lambda proto: proto.graph.node.append(proto.graph.node[0]),
        lambda proto: proto.graph.output.add(name="nothing"),
        lambda proto: setattr(proto.graph.sparse_initializer.add().values, "name", "sparse"),
    ],
)
def test_wrong_types_and_names(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> None:
    """Whatever does not fit together."""
    refused(changed_file(tmp_path / "model.onnx", change), " must ")


@pytest.mark.parametrize(
    "attributes",
    [{"strides": [2, 2, 2]}, {"strides": 2.5}, {"strides": [0, 0]}, {"group": 3}, {"pads": [1]}],
    ids=str,
)
def test_a_node_that_is_not_as_its_operator_says(tmp_path: Path, attributes: dict[str, Any]) -> None:
    """OpenVINO runs some of them, so it must not be left to the runtime to refuse them."""

    def change(proto: onnx.ModelProto) -> None:
        node = proto.graph.node[0]
        del node.attribute[:]
        node.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())

    path = changed_file(tmp_path / "model.onnx", change)
    with pytest.raises(ValueError, match=r"must (run on OpenVINO|have the attributes and inputs)"):
        rewrite(path, runtime="openvino", seconds=0)


@pytest.mark.parametrize("group", [0, -1])
def test_no_group_is_an_error_and_not_the_end_of_the_process(tmp_path: Path, group: int) -> None:
    """ONNX Runtime divides by it."""

    def change(proto: onnx.ModelProto) -> None:
        proto.graph.node[0].attribute.append(onnx.helper.make_attribute("group", group))

    refused(changed_file(tmp_path / "model.onnx", change), rf"^group must be 1 or more; got {group} for Conv")


def test_a_shuffle_by_nothing_names_its_node() -> None:
    made = model(
        lambda op, x: op("DepthToSpace", op("Conv", x, noise(4, 2, 3, 3)), blocksize=0), [1, 2, 5, 6]
    )
    with pytest.raises(ValueError, match=r"got DepthToSpace '.*blocksize must be 1 or more; got 0"):
        rewrite(made, runtime="openvino", seconds=0)


@pytest.mark.parametrize("opset", [10, 9, 1])
def test_old_opsets(tmp_path: Path, opset: int) -> None:
    """Before 11, operators meant other things."""
    path = changed_file(tmp_path / "m.onnx", lambda proto: setattr(proto.opset_import[0], "version", opset))
    refused(path, f"the opset must be at least 11; got {opset}. Convert it")


def test_the_standard_domain_has_two_names(tmp_path: Path) -> None:
    """Empty, or ai.onnx."""
    path = changed_file(
        tmp_path / "m.onnx", lambda proto: setattr(proto.opset_import[0], "domain", "ai.onnx")
    )
    changed, _ = rewrite(path, change="all", seconds=0.01)
    assert_equal_models(upsampler(), ir.from_proto(changed), noise(1, 2, 5, 6))


def test_sizes_must_be_known() -> None:
    """Without an example, nothing says how large a symbolic axis is."""
    made = model(lambda op, x: op("Relu", x), [1, 3, "h", "w"])
    with pytest.raises(ValueError, match=r"the shape of the input x must be known; got \[1,3,h,w\]. Pass"):
        rewrite(made)


@pytest.mark.parametrize(
    ("example", "match"),
    [
        ({"y": noise(1, 2, 5, 6)}, "example_inputs must be given for x; got y"),
        ({}, "example_inputs must be given for x; got none"),
        (noise(1, 2, 5), "example_inputs must be FLOAT of .* got float32 of"),
        (noise(1, 2, 5, 7), "example_inputs must be FLOAT of"),
        (noise(1, 2, 5, 6, dtype=np.float64), "got float64"),
        ([noise(1, 2, 5, 6)] * 2, "example_inputs must be given for x; got 2 arrays"),
    ],
)
def test_examples_must_fit(example: object, match: str) -> None:
    """Names, types and sizes."""
    with pytest.raises(ValueError, match=match):
        rewrite(upsampler(), example)


def integers_for(build: Callable[[Maker, ir.Value], ir.Value], dtype: ir.DataType) -> NDArray[np.int64]:
    """What is made up for an integer input of 400 elements."""
    made = model(build, [20, 20], dtype=dtype)
    return examples.random_feeds(made, {}, 0)["x"].astype(np.int64)


def cast(op: Maker, x: ir.Value) -> ir.Value:
    return op("Relu", op("Cast", op("Identity", x), to=int(ir.DataType.FLOAT)))


def look_up(op: Maker, x: ir.Value) -> ir.Value:
    flat = op("Reshape", op("Cast", x, to=int(ir.DataType.INT64)), np.array([-1]))
    return op("Add", op("Gather", noise(7, 3), flat), op("Gather", noise(9, 3), flat))


def reshape(op: Maker, x: ir.Value) -> ir.Value:
    return op("Reshape", noise(6), op("Slice", x, np.array([0]), np.array([1]), np.array([0])))


@pytest.mark.parametrize(
    ("build", "dtype", "least", "largest"),
    [
        (cast, ir.DataType.UINT8, 0, 255),
        (cast, ir.DataType.INT8, -128, 127),
        (cast, ir.DataType.INT64, 0, 255),
        (cast, ir.DataType.BOOL, 0, 1),
        (look_up, ir.DataType.INT32, 0, 6),
        (look_up, ir.DataType.UINT8, 0, 6),
        (reshape, ir.DataType.INT64, 0, 0),
    ],
)
def test_integer_inputs_are_what_their_readers_take(
    build: Callable[[Maker, ir.Value], ir.Value], dtype: ir.DataType, least: int, largest: int
) -> None:
    """Pixels, or rows of a table; zero where it cannot be told."""
    made_up = integers_for(build, dtype)
    assert least <= made_up.min() <= least + 5
    assert largest - 5 <= made_up.max() <= largest


def test_integers_of_the_example_are_only_mixed() -> None:
    """No index is made up beside those of the example."""
    made = model(look_up, ["n", 20, "width"], dtype=ir.DataType.INT64)
    x = np.array([[[1, 5, 3, 2]] * 20])
    same, half, double = examples.other_feeds(made, {"x": x}, 0)
    assert sorted(same["x"].ravel()) == sorted(x.ravel())
    assert (same["x"] != x).any()
    assert (half["x"].shape, double["x"].shape) == ((1, 20, 2), (1, 20, 8))
    assert set(half["x"].ravel()) | set(double["x"].ravel()) == {1, 2, 3, 5}


def test_no_such_runtime() -> None:
    """Only those that this package knows."""
    with pytest.raises(ValueError, match="runtime must be one of"):
        rewrite(upsampler(), runtime="tensorrt")


def decoder() -> bytes:
    def build(op: Maker, x: ir.Value) -> ir.Value:
        maps = op("ConvTranspose", x, noise(2, 3, 3, 3), strides=[2, 2], pads=[0, 0, 1, 1])
        maps = op("Resize", op("Relu", maps), noise(0), np.array([1, 1, 2, 2], np.float32), mode="nearest")
        return op("Conv", maps, noise(2, 3, 3, 3), pads=[1, 1, 1, 1])

    return ir.to_proto(model(build, [1, 2, 4, 4])).SerializeToString()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_anywhere(tmp_path: Path, edits: list[tuple[int, int]]) -> None:
    """With bytes changed the file is refused in one way, or is another model that is rewritten like any."""
    data = bytearray(decoder())
    for at, byte in edits:
        data[at % len(data)] = byte
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with suppress(ValueError):
        rewrite(path, change="all", seconds=0)
