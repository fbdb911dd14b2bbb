"""ONNX Runtime: float32 on any CPU that its wheels know."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from subpixel.engines.engine import Engine, Name, Precision
from subpixel.network import LRConvolution, LRNetwork
from subpixel.without_telemetry.onnxruntime import onnxruntime

_IR_VERSION, _OPSET = 10, 18


class ONNXRuntime(Engine):
    """An `Engine` on the CPU; one session serves all threads."""

    name: Name = "onnxruntime"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        return ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision) -> None:
        self.precision = precision
        options = onnxruntime.SessionOptions()
        # Threads that wait for the next run by spinning keep the processors from whatever runs meanwhile; an
        # engine that takes turns with this one in a race took up to twice its time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            _model(network).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        return self._session.run(None, {"planes": planes})[0]  # type: ignore[no-any-return]


class _Graph:
    """The nodes of a graph and its constants, in the order in which they were added."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def __call__(self, op_type: str, *inputs: str | NDArray[Any], **attributes: Any) -> str:
        """Add a node, whose inputs are names or arrays, and return the name of its output."""
        names = [self._constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        output = f"{op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, names, [output], **attributes))
        return output

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def _model(network: LRNetwork) -> ModelProto:
    graph, planes = _Graph(), "planes"
    maps = _crop(graph, planes, network.margin)
    for convolution in network.convolutions:
        maps = _activate(graph, _convolve(graph, maps, convolution), convolution)
    if (skip := network.skip_convolution) is not None:
        maps = graph("Add", maps, _convolve(graph, _crop(graph, planes, network.radius - skip.radius), skip))
    enlarged = graph("DepthToSpace", maps, blocksize=network.upscale_factor, mode="CRD")
    taken = helper.make_tensor_value_info(planes, TensorProto.FLOAT, ["n", network.channels, "h", "w"])
    given = helper.make_tensor_value_info(enlarged, TensorProto.FLOAT, None)
    return helper.make_model(
        helper.make_graph(graph.nodes, "network", [taken], [given], graph.constants),
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )


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


ENGINE = ONNXRuntime
