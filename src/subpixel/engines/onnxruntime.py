"""ONNX Runtime: float32 on any CPU that its wheels know."""

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.tape import Tape

from subpixel.engines.engine import Name, Precision
from subpixel.network import LRConvolution, LRNetwork
from subpixel.without_telemetry.onnxruntime import onnxruntime

_IR_VERSION, _OPSET = 10, 18


class ONNXRuntime:
    """An `Engine` on the CPU; one session serves all threads."""

    name: Name = "onnxruntime"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        return ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision) -> None:
        self.precision = precision
        model = ir.to_proto(_model(network)).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        return self._session.run(None, {"planes": planes})[0]  # type: ignore[no-any-return]


class _Graph(Tape):
    """A tape whose nodes take arrays as inputs."""

    def __call__(self, op_type: str, *inputs: ir.Value | NDArray[Any], **attributes: Any) -> ir.Value:
        """Record a node and return its output."""
        values = [self._constant(value) if isinstance(value, np.ndarray) else value for value in inputs]
        return self.op(op_type, values, attributes)

    def _constant(self, array: NDArray[Any]) -> ir.Value:
        return self.initializer(ir.tensor(array), f"constant_{len(self.initializers)}")

    def model(self, planes: ir.Value, enlarged: ir.Value) -> ir.Model:
        """Return the model of the recorded nodes, with its input and its output."""
        graph = ir.Graph(
            [planes], [enlarged], nodes=self.nodes, initializers=self.initializers, opset_imports={"": _OPSET}
        )
        return ir.Model(graph, ir_version=_IR_VERSION)


def _model(network: LRNetwork) -> ir.Model:
    graph = _Graph()
    planes = ir.val("planes", ir.DataType.FLOAT, ["n", network.channels, "h", "w"])
    maps = _crop(graph, planes, network.margin)
    for convolution in network.convolutions:
        maps = _activate(graph, _convolve(graph, maps, convolution), convolution)
    if (skip := network.skip_convolution) is not None:
        maps = graph("Add", maps, _convolve(graph, _crop(graph, planes, network.radius - skip.radius), skip))
    enlarged = graph("DepthToSpace", maps, blocksize=network.upscale_factor, mode="CRD")
    enlarged.dtype = ir.DataType.FLOAT
    return graph.model(planes, enlarged)


def _crop(graph: _Graph, planes: ir.Value, margin: int) -> ir.Value:
    return graph("Slice", planes, *np.array([[margin] * 2, [-margin] * 2, [2, 3]])) if margin else planes


def _convolve(graph: _Graph, maps: ir.Value, convolution: LRConvolution) -> ir.Value:
    return graph("Conv", maps, convolution.weight, convolution.bias)


def _activate(graph: _Graph, maps: ir.Value, convolution: LRConvolution) -> ir.Value:
    if convolution.slope is not None:
        return graph("PRelu", maps, convolution.slope.reshape(-1, 1, 1))
    if convolution.activation is None:
        return maps
    return graph({"tanh": "Tanh", "relu": "Relu"}[convolution.activation], maps)


ENGINE = ONNXRuntime
