"""ONNX: a network as a model for any runtime that reads it, ONNX Runtime and OpenVINO among them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel import __version__
from subpixel.extras import needing
from subpixel.files import replacing
from subpixel.network import LRConvolution, LRNetwork

with needing("onnx"):
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

INPUT, OUTPUT = "image", "enlarged"

_IR_VERSION, _OPSET = 8, 18  # of one release, so that a runtime which knows the one knows the other
_MEANING = {1: "Y of BT.601 in studio range", 3: "R, G, B"}


def export(network: LRNetwork, path: str | Path) -> None:
    """Write a network as an ONNX file, whole or not at all.

    The model takes "image", (n, channels, h, w), and gives "enlarged", (n, channels, r*h, r*w): float32, 0..1
    for the 8-bit codes 0..255, any n, h and w from 1. It computes what `Upscaler.plane` computes of a plane
    of floats, but does not clip: the image is padded once, by repeating its edge, and results may lie beyond
    0..1. The name of the network and the version of this package are in the model's metadata.

    Args:
        network: the network.
        path: the file; it is replaced if it exists.

    Raises:
        OSError: the file cannot be written.
        ModuleNotFoundError: onnx is not installed; the message names the pip command.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from subpixel.network import load
        >>> with TemporaryDirectory() as folder:
        ...     export(load("espcn-x2"), Path(folder, "espcn-x2.onnx"))
        ...     print([file.name for file in Path(folder).iterdir()])
        ['espcn-x2.onnx']
    """
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(model(network).SerializeToString())


def model(network: LRNetwork, *, pad: bool = True) -> ModelProto:
    """Return a network as an ONNX model.

    Args:
        network: the network.
        pad: whether the model pads its input. If not, the input must come with m pixels of context on each
            side, where m is the radius of the network.
    """
    graph, r = _Graph(), network.upscale_factor
    planes = _pad(graph, INPUT, network.radius if pad else 0)
    maps = _crop(graph, planes, network.margin)
    for convolution in network.convolutions:
        maps = _activate(graph, _convolve(graph, maps, convolution), convolution)
    if (skip := network.skip_convolution) is not None:
        maps = graph("Add", maps, _convolve(graph, _crop(graph, planes, network.radius - skip.radius), skip))
    graph("DepthToSpace", maps, output=OUTPUT, blocksize=r, mode="CRD")
    context = "" if pad else f" + {2 * network.radius}"
    taken = _value(INPUT, network.channels, f"h{context}", f"w{context}")
    given = _value(OUTPUT, network.channels, f"{r}*h", f"{r}*w")
    result = helper.make_model(
        helper.make_graph(graph.nodes, "network", [taken], [given], graph.constants),
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        producer_name="subpixel",
        producer_version=__version__,
    )
    helper.set_model_props(result, {"name": network.name, "version": __version__})
    return result


class _Graph:
    """The nodes of a graph and its constants, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(
        self, op_type: str, *inputs: str | NDArray[Any], output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node, whose inputs are names or arrays, and return the name of its output."""
        names = [self._constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        name = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, names, [output or name], name, **attributes))
        return output or name

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _value(name: str, channels: int, height: str, width: str) -> ValueInfoProto:
    meaning = f"{_MEANING.get(channels, 'planes')}, 0..1 for the 8-bit codes 0..255"
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, height, width], meaning)


def _pad(graph: _Graph, planes: str, margin: int) -> str:
    pads = np.array([0, 0, margin, margin] * 2)  # before all four axes, then after them
    return graph("Pad", planes, pads, mode="edge") if margin else planes


def _crop(graph: _Graph, planes: str, margin: int) -> str:
    return graph("Slice", planes, *np.array([[margin] * 2, [-margin] * 2, [2, 3]])) if margin else planes


def _convolve(graph: _Graph, maps: str, convolution: LRConvolution) -> str:
    return graph("Conv", maps, convolution.weight, convolution.bias)


def _activate(graph: _Graph, maps: str, convolution: LRConvolution) -> str:
    if convolution.slope is not None:
        return graph("PRelu", maps, convolution.slope.reshape(-1, 1, 1))
    if convolution.activation is None:
        return maps
    return graph({"tanh": "Tanh", "relu": "Relu"}[convolution.activation], maps)
