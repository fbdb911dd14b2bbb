"""An ONNX graph as the search for sites sees it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.rewriter.layers import Chain, Opaque, Pointwise, Shape
from subpixel.rewriter.onnx.moves import Row, read_row
from subpixel.rewriter.onnx.operators import READERS, Operation, data_input
from subpixel.rewriter.onnx.quantised import QuantisedWeights, quantised_constant, quantised_weights

RANDOM = (
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)


class OnnxGraph:
    """The `Graph` of a model's main graph; bodies of If, Loop and Scan and functions are left alone.

    Args:
        model: the model as it came, with inferred shapes.
        shapes: the shapes of the values that layers read in the example, by name.
        values: other values that layers read in the example, such as sizes, by name.
    """

    def __init__(
        self, model: ir.Model, shapes: Mapping[str, Shape], values: Mapping[str, NDArray[Any]]
    ) -> None:
        self.model, self.shapes, self._values = model, shapes, values
        self._fixed = fixed_values(model)
        self._layers: dict[ir.Node, Chain] = {}
        self._rows = {row.nodes[-1]: row for node in model.graph if (row := self._read_row(node)) is not None}

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
        """See `Graph`; graph outputs and subgraphs count as readers."""
        (output, *_) = node.outputs
        return output.is_graph_output() or len({use.node for use in output.uses()}) > 1

    def path(self, node: ir.Node) -> str:
        """See `Graph`."""
        return node.name or node.outputs[0].name or node.op_type

    def data(self, node: ir.Node) -> ir.Value | None:
        """Return the data input of a node, or of the row of nodes that ends in it."""
        row = self._rows.get(node)
        return data_input(node, self.constant) if row is None else row.nodes[0].inputs[0]

    def whole_rows(self, nodes: Iterable[ir.Node]) -> list[ir.Node]:
        """Return these nodes, and for the last node of a row all its nodes."""
        return [
            each for node in nodes for each in (self._rows[node].nodes if node in self._rows else (node,))
        ]

    def data_value(self, node: ir.Node) -> ir.Value:
        """Return the data input of a node that has one."""
        value = self.data(node)
        assert value is not None
        return value

    def example(self, value: ir.Value) -> ir.TensorProtocol:
        """Return a value other than pixels in the example."""
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tensor
        array = self._values.get(value.name or "", self.constant(value))
        assert array is not None
        return ir.tensor(array)

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """Return a value that is the same in every run, in float32 at least; None for any other value."""
        if value is None or value not in self._fixed:
            return None
        if (quantised := quantised_constant(value, self.constant)) is not None:
            return quantised.floats
        tensor = ir.convenience.get_const_tensor(value)
        array = self._values.get(value.name or "") if tensor is None else tensor.numpy()
        if array is None or array.dtype.kind in "OSU":
            return None
        return array.astype(np.float32) if array.dtype in (np.float16, ml_dtypes.bfloat16) else array

    def quantised(self, node: ir.Node) -> QuantisedWeights | None:
        """Return the weights of a quantised transposed convolution; None for any other node."""
        return quantised_weights(node, self.constant) if node.op_type == "ConvTranspose" else None

    def ends(self, node: ir.Node) -> list[str]:
        """Name the values after a site in which fractions can be compared.

        They come after its rounding where that moves, since integers change by a whole step at a tie.
        """
        quantiser = self.quantiser(node) if self.quantised(node) else None
        readers = [node] if quantiser is None else quantiser.outputs[0].consumers()
        return [reader.outputs[0].name or "" for reader in readers if reader.op_type != "QuantizeLinear"]

    def reads_integers(self, node: ir.Node) -> bool:
        """Tell whether constants that a node reads, such as its weights, are quantised."""
        return any(quantised_constant(value, self.constant) is not None for value in node.inputs)

    def rounds_quantised_sums(self, nodes: Sequence[ir.Node]) -> bool:
        """Tell whether a form would move the rounding of these nodes to a layer of quantised weights.

        Runtimes compute such a layer in integers only where its output is rounded, and in float32 elsewhere.
        """
        if not any(node.op_type == "QuantizeLinear" for node in nodes):
            return False
        value = self.data_value(nodes[0])
        while (producer := value.producer()) is not None and self._is_function(producer):
            value = self.data_value(producer)
        return producer is not None and self.reads_integers(producer)

    def dequantises(self, node: ir.Node | None) -> bool:
        """Tell whether a node is a DequantizeLinear of pixels."""
        return node is not None and node.op_type == "DequantizeLinear" and self.layers(node) != ()

    def quantiser(self, node: ir.Node) -> ir.Node | None:
        """Return the only reader of a node if it rounds all pixels alike to integers, else None."""
        (output, *_) = node.outputs
        readers = {use.node for use in output.uses() if use.node.graph is self.model.graph}
        reader = readers.pop() if len(readers) == 1 and not output.is_graph_output() else None
        if reader is None or not self.layers(reader) or reader.op_type != "QuantizeLinear":
            return None
        (layer,) = self.layers(reader)
        return reader if isinstance(layer, Pointwise) and not layer.per_channel else None

    def _read_row(self, last: ir.Node) -> Row | None:
        """Return the row that ends in a node, opaque where it may do something else at other sizes."""
        with self._naming(last):
            row = read_row(last, self.shapes, self._parameter)
        if row is None:
            return None
        data = row.nodes[0].inputs[0]
        fixed = all(self.constant(value) is not None for node in row.nodes for value in node.inputs[1:])
        if fixed and data is not None and data.shape is not None and data.shape.is_static():
            return row
        what = type(row.chain[0]).__name__.lower()
        names = ", ".join(node.op_type for node in row.nodes)
        return row._replace(chain=(Opaque(f"it is a {what} by {names}, of sizes that are not fixed"),))

    def _parameter(self, value: ir.Value | None) -> NDArray[Any] | None:
        """Return what a value is in the example; None if it was not observed."""
        fixed = self.constant(value)
        return self._values.get(value.name or "") if fixed is None and value is not None else fixed

    def _is_function(self, node: ir.Node) -> bool:
        """Tell whether a node is a pointwise function of numbers that are not rounded."""
        layers = self.layers(node)
        pointwise = layers != () and all(isinstance(layer, Pointwise) for layer in layers)
        return pointwise and node.op_type != "DequantizeLinear"

    def _read(self, node: ir.Node) -> Chain:
        if node in self._rows:
            return self._rows[node].chain
        value = self.data(node)
        shape = None if value is None else self.shapes.get(value.name or "")
        if node.domain or node.op_type not in READERS or shape is None or len(shape) < 3:
            return ()
        with self._naming(node):
            return READERS[node.op_type](Operation(node, shape, self.constant))

    @contextmanager
    def _naming(self, node: ir.Node) -> Iterator[None]:
        """Turn what goes wrong with a node into an error that names it; not every runtime checks them all."""
        try:
            yield
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(
                f"a node must have the attributes and inputs of its operator; got {node.op_type} "
                f"{self.path(node)!r}, with which reading failed ({error}). Check it with onnx.checker."
            ) from error


def fixed_values(model: ir.Model) -> set[ir.Value]:
    """Return the values of the main graph that are the same in every run.

    These are constants, sizes that are fixed, and all that is computed from them alone. Callers may replace
    an initializer that is listed among the inputs; before IR version 4 all had to be listed.
    """
    initializers = model.graph.initializers.values()
    fixed = {value for value in initializers if model.ir_version < 4 or not value.is_graph_input()}
    for node in model.graph:
        if _gives_a_fixed_size(node) or (_repeats_itself(node) and {*node.inputs} - {None} <= fixed):
            fixed.update(node.outputs)
    return fixed


def _gives_a_fixed_size(node: ir.Node) -> bool:
    shape = node.inputs[0].shape if node.op_type in ("Shape", "Size") and node.inputs[0] else None
    return shape is not None and shape.is_static()


def _repeats_itself(node: ir.Node) -> bool:
    graphs = any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values())
    return not node.domain and node.op_type not in RANDOM and not graphs
