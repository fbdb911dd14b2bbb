"""An ONNX graph as the search sees it."""

from collections.abc import Iterable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.rewriter.layers import Chain, Pointwise, Shape
from subpixel.rewriter.onnx.operators import READERS, Operation, data_input
from subpixel.rewriter.onnx.quantised import QuantisedWeights, integers, weights


class OnnxGraph:
    """The `Graph` of a model's main graph; what is inside If, Loop, Scan and functions is left alone.

    Args:
        model: as it came.
        shapes: of what layers read, by name, in the example.
        sizes: what the model computes for its resizes in the example, by name.
    """

    def __init__(
        self, model: ir.Model, shapes: Mapping[str, Shape], sizes: Mapping[str, NDArray[Any]]
    ) -> None:
        self.model, self.shapes, self._sizes = model, shapes, sizes
        self._layers: dict[ir.Node, Chain] = {}

    def nodes(self) -> Iterable[ir.Node]:
        """See `Graph`."""
        return self.model.graph

    def layers(self, node: ir.Node) -> Chain:
        """See `Graph`."""
        if node not in self._layers:
            self._layers[node] = self._read(node)
        return self._layers[node]

    def source(self, node: ir.Node) -> ir.Node | None:
        """See `Graph`."""
        value = self.data(node)
        producer = None if value is None else value.producer()
        if producer is None or any(output.uses() for output in producer.outputs if output is not value):
            return None
        return producer if producer.graph is self.model.graph else None

    def shared(self, node: ir.Node) -> bool:
        """See `Graph`; a graph output counts as a reader, and so does a subgraph."""
        (output, *_) = node.outputs
        return output.is_graph_output() or len({use.node for use in output.uses()}) > 1

    def path(self, node: ir.Node) -> str:
        """See `Graph`."""
        return node.name or node.outputs[0].name or node.op_type

    def data(self, node: ir.Node) -> ir.Value | None:
        """The data input of a node."""
        return data_input(node, self.constant)

    def given(self, node: ir.Node) -> ir.Value:
        """The data input of a node that has one."""
        value = self.data(node)
        assert value is not None
        return value

    def example(self, value: ir.Value) -> ir.TensorProtocol:
        """A constant, or a computed size, in the example."""
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tensor
        array = self.constant(value)
        return ir.tensor(self._sizes[value.name or ""] if array is None else array)

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """What a value is in every run, half precision widened; None if that is not known."""
        if value is None or (value.is_graph_input() and self._replaceable(value)):
            return None
        if (quantised := integers(value, self.constant)) is not None:
            return quantised.floats
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None or tensor.dtype == ir.DataType.STRING:
            return None
        array = tensor.numpy()
        return array.astype(np.float32) if array.dtype in (np.float16, ml_dtypes.bfloat16) else array

    def quantised(self, node: ir.Node) -> QuantisedWeights | None:
        """The integers that are the weights of a transposed convolution."""
        return weights(node, self.constant) if node.op_type == "ConvTranspose" else None

    def reads_integers(self, node: ir.Node) -> bool:
        """Whether constants of a node, its weights, are quantised."""
        return any(integers(value, self.constant) is not None for value in node.inputs)

    def dequantises(self, node: ir.Node | None) -> bool:
        """Whether this is a DequantizeLinear of pixels, all alike."""
        return node is not None and node.op_type == "DequantizeLinear" and self.layers(node) != ()

    def quantiser(self, node: ir.Node) -> ir.Node | None:
        """The QuantizeLinear that alone reads a node, all its pixels alike."""
        (output, *_) = node.outputs
        readers = {use.node for use in output.uses() if use.node.graph is self.model.graph}
        reader = readers.pop() if len(readers) == 1 and not output.is_graph_output() else None
        if reader is None or not self.layers(reader) or reader.op_type != "QuantizeLinear":
            return None
        (layer,) = self.layers(reader)
        return reader if isinstance(layer, Pointwise) and not layer.per_channel else None

    def _replaceable(self, value: ir.Value) -> bool:
        """Whether a caller may; before IR version 4 constants too are listed among the inputs."""
        return value.const_value is None or self.model.ir_version >= 4

    def _read(self, node: ir.Node) -> Chain:
        value = self.data(node)
        shape = None if value is None else self.shapes.get(value.name or "")
        if node.domain or node.op_type not in READERS or shape is None or len(shape) < 3:
            return ()
        opset = self.model.opset_imports[""]
        return READERS[node.op_type](Operation(node, opset, shape, self.constant))
