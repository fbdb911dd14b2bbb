"""A run of an ONNX model on its example, which shows shapes, and values that are not pixels."""

from collections.abc import Iterable
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass

from subpixel.rewriter.layers import Shape
from subpixel.rewriter.onnx.examples import Feeds
from subpixel.rewriter.onnx.files import quiet_logs
from subpixel.rewriter.onnx.graph import fixed_values
from subpixel.rewriter.onnx.moves import MOVES
from subpixel.rewriter.onnx.operators import READERS
from subpixel.rewriter.onnx.runtimes import Runtime, session

SEQUENCES = (
    "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceMap", "SplitToSequence",
)  # fmt: skip


def with_inferred_shapes(model: ir.Model) -> ir.Model:
    """Return a copy that knows more of the types and sizes of its values."""
    copy = model.clone()
    with quiet_logs():
        ShapeInferencePass(check_type=False, strict_mode=False)(copy)
    return copy


def with_outputs(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Return a copy that has these values as outputs too."""
    copy = model.clone()
    values = ir.convenience.create_value_mapping(copy.graph, include_subgraphs=False)
    present = {output.name for output in copy.graph.outputs}
    copy.graph.outputs.extend(values[name] for name in dict.fromkeys(names) if name not in present)
    return copy


def observe(
    model: ir.Model, example: Feeds, runtime: Runtime
) -> tuple[dict[str, Shape], dict[str, NDArray[Any]]]:
    """Run the model once.

    Returns:
        The shapes of the values that layers read, and their other inputs, such as sizes, by name.
    """
    copy = model.clone()
    sequences = _sequences(copy.graph)
    nodes = [node for node in copy.graph if node.op_type in {*READERS, *MOVES} and not node.domain]
    nodes = [node for node in nodes if sequences.isdisjoint(node.inputs)]
    fixed, inputs = fixed_values(copy), _computed(value for node in nodes for value in node.inputs)
    read = _computed(value for node in nodes for value in node.inputs[:2])
    sized = [node for node in nodes if node.op_type in {"Resize", *MOVES}]
    sizes = _computed(value for node in sized for value in node.inputs[1:])
    wanted = fixed.union(sizes)
    others = [value for value in inputs if value in wanted and not _dequantised(value)]
    probes = [ir.Node("", "Shape", [value]) for value in read]
    probes += [ir.Node("", "Identity", [value]) for value in others]
    for value in filter(None, sequences):
        value.type = value.shape = None  # inferred as if a sequence were a tensor
    copy.graph.extend(probes)
    if probes:  # without one the model must at least run
        copy.graph.outputs.clear()
        copy.graph.outputs.extend(probe.outputs[0] for probe in probes)
    found = session(runtime, copy)(example)
    shapes = {value.name or "": tuple(shape.tolist()) for value, shape in zip(read, found, strict=False)}
    values = {value.name or "": array for value, array in zip(others, found[len(read) :], strict=False)}
    return shapes, values


def _computed(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    """Return each value once, without initializers."""
    return list(dict.fromkeys(value for value in values if value is not None and not value.is_initializer()))


def _sequences(graph: ir.Graph) -> set[ir.Value | None]:
    """Return the values that are sequences or optional, which have no shape to ask for."""
    found: set[ir.Value | None] = set()
    for node in graph:
        if node.op_type in SEQUENCES or (node.op_type == "Identity" and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def _dequantised(value: ir.Value) -> bool:
    """Tell whether a value is made from integers, whose weights are read as they are stored."""
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"
