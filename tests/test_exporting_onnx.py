"""Networks as ONNX models: valid, and equal to what the engines compute, in two runtimes, at any size."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from networks import evaluate, random_network
from numpy.typing import NDArray
from onnx import numpy_helper

import subpixel
from subpixel import Upscaler
from subpixel.exporting.onnx import export, model
from subpixel.network import LRNetwork, bicubic, load
from subpixel.without_telemetry.onnxruntime import onnxruntime
from subpixel.without_telemetry.openvino import openvino

Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]

NETWORKS = {
    **{name: load(name) for name in ("espcn-x2", "espcn-x3", "espcn-x4")},
    "prelu, RGB, bicubic": random_network(2, 3, activations=("prelu", "leaky_relu", None), skip="bicubic"),
    "relu, nearest": random_network(3, activations=("relu", None, None), skip="nearest"),
    "the skip reaches further": random_network(3, kernel_sizes=(1, 1, 1), skip="bicubic"),
    "one convolution": bicubic(2),
    "a pixel sees itself alone": random_network(4, kernel_sizes=(1, 1, 1)),
    "x1": random_network(1),
}
SIZES = ((1, 1, 1), (1, 1, 7), (2, 5, 1), (3, 20, 31))


def in_onnxruntime(proto: onnx.ModelProto) -> Runner:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda images: session.run(["enlarged"], {"image": images})[0]


def in_openvino(proto: onnx.ModelProto) -> Runner:
    core = openvino.Core()
    read = core.read_model(proto.SerializeToString())
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda images: compiled({"image": images})["enlarged"].copy()


def images_for(network: LRNetwork, n: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).random((n, network.channels, height, width), dtype=np.float32)


def expected(network: LRNetwork, images: NDArray[np.float32]) -> NDArray[np.float64]:
    """The network in float64, of images whose edges are repeated by NumPy."""
    m = network.radius
    return evaluate(network, np.pad(images, [(0, 0), (0, 0), (m, m), (m, m)], mode="edge"))


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_model_is_valid_and_says_what_it_takes(network: LRNetwork) -> None:
    """By ONNX's own checker, types and shapes included; of opset 18 and the IR of the same release."""
    made = model(network)
    onnx.checker.check_model(made, full_check=True)
    assert (made.ir_version, [(opset.domain, opset.version) for opset in made.opset_import]) == (
        8,
        [("", 18)],
    )
    r, c = network.upscale_factor, str(network.channels)
    shapes = {
        value.name: [dim.dim_param or str(dim.dim_value) for dim in value.type.tensor_type.shape.dim]
        for value in (*made.graph.input, *made.graph.output)
    }
    assert shapes == {"image": ["n", c, "h", "w"], "enlarged": ["n", c, f"{r}*h", f"{r}*w"]}
    facts = {entry.key: entry.value for entry in made.metadata_props}
    assert facts == {"name": network.name, "version": subpixel.__version__}


@pytest.mark.parametrize("start", [in_onnxruntime, in_openvino])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_a_model_computes_the_network_at_any_size(
    network: LRNetwork, start: Callable[[onnx.ModelProto], Runner]
) -> None:
    """One session for all sizes, from a pixel on, far less than the padding; against float64."""
    run = start(model(network))
    for size in (*SIZES, SIZES[0]):
        images = images_for(network, *size)
        enlarged = run(images)
        assert enlarged.dtype == np.float32
        np.testing.assert_allclose(enlarged, expected(network, images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("start", [in_onnxruntime, in_openvino])
@pytest.mark.parametrize("name", ["espcn-x2", "espcn-x3", "espcn-x4"])
def test_a_model_is_the_upscaler_before_it_clips(
    name: str, start: Callable[[onnx.ModelProto], Runner]
) -> None:
    """Noise of full contrast takes a network beyond 0..1, where `Upscaler` clips and a model does not."""
    run, upscaler = start(model(load(name))), Upscaler(name, "native")
    for size in ((1, 1), (2, 3), (24, 33)):
        plane = np.random.default_rng(4).integers(0, 2, size).astype(np.float32)
        enlarged = run(plane[None, None])[0, 0]
        np.testing.assert_allclose(enlarged.clip(0, 1), upscaler.plane(plane), rtol=0, atol=1e-5)
    assert enlarged.min() < -0.01
    assert enlarged.max() > 1.01


def test_a_wrong_border_or_weight_would_be_seen() -> None:
    """The tolerance tells zeros around the image, and a thousandth more of one weight, from the network."""
    network = NETWORKS["espcn-x2"]
    images = images_for(network, 1, 20, 31)
    zeros, weight = model(network), model(network)
    (pad,) = [node for node in zeros.graph.node if node.op_type == "Pad"]
    pad.attribute[0].s = b"constant"
    last = [node for node in weight.graph.node if node.op_type == "Conv"][-1].input[1]
    (tensor,) = [tensor for tensor in weight.graph.initializer if tensor.name == last]
    values = numpy_helper.to_array(tensor).copy()
    values.flat[np.abs(values).argmax()] *= 1.001
    tensor.CopyFrom(numpy_helper.from_array(values, last))
    for wrong in (zeros, weight):
        assert np.abs(in_onnxruntime(wrong)(images) - expected(network, images)).max() > 5e-5


def test_a_file_holds_the_model_and_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    for path in (first, second):
        export(load("espcn-x2"), path)
    assert onnx.load(first) == model(load("espcn-x2"))
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first.onnx", "second.onnx"]
