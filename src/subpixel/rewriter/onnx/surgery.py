"""ONNX graphs taken apart and put together."""

from collections.abc import Iterable, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass

from subpixel.rewriter.decide import Choices
from subpixel.rewriter.layers import Shape
from subpixel.rewriter.onnx.examples import Feeds
from subpixel.rewriter.onnx.files import unheard
from subpixel.rewriter.onnx.graph import OnnxGraph, fixed_values
from subpixel.rewriter.onnx.lower import Lowering
from subpixel.rewriter.onnx.operators import READERS
from subpixel.rewriter.onnx.quantised import QuantisedLowering, centred
from subpixel.rewriter.onnx.runtimes import Runtime, session
from subpixel.rewriter.sites import Site

SEQUENCES = (
    "Optional", "OptionalGetElement", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert",
    "SequenceMap", "SplitToSequence",
)  # fmt: skip


def with_inferred_shapes(model: ir.Model) -> ir.Model:
    """A copy that knows more of the types and sizes of its values."""
    copy = model.clone()
    with unheard():
        ShapeInferencePass(check_type=False, strict_mode=False)(copy)
    return copy


def with_outputs(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """A copy with further outputs."""
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
        The shapes of what its layers read, and what it computes for them besides pixels, by name.
    """
    copy = model.clone()
    sequences = _sequences(copy.graph)
    nodes = [node for node in copy.graph if node.op_type in READERS and not node.domain]
    nodes = [node for node in nodes if sequences.isdisjoint(node.inputs)]
    fixed, inputs = fixed_values(copy), _computed(value for node in nodes for value in node.inputs)
    read = _computed(value for node in nodes for value in node.inputs[:2])
    sizes = _computed(value for node in nodes if node.op_type == "Resize" for value in node.inputs[1:])
    wanted = fixed.union(sizes)
    others = [value for value in inputs if value in wanted and not _dequantised(value)]
    probes = [ir.Node("", "Shape", [value]) for value in read]
    probes += [ir.Node("", "Identity", [value]) for value in others]
    for value in filter(None, sequences):
        value.type = value.shape = None  # which inference takes for those of a tensor
    copy.graph.extend(probes)
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(probe.outputs[0] for probe in probes)
    found = session(runtime, copy)(example) if probes else []
    shapes = {value.name or "": tuple(shape.tolist()) for value, shape in zip(read, found, strict=False)}
    values = {value.name or "": array for value, array in zip(others, found[len(read) :], strict=True)}
    return shapes, values


def fragment(
    graph: OnnxGraph, given: ir.Value, nodes: Sequence[ir.Node], initializers: Sequence[ir.Value] = ()
) -> ir.Model:
    """A model of these nodes alone, at the example's shape.

    Args:
        graph: where they, or the functions that they copy, come from.
        given: the only computed value that they read.
        nodes: in order; they are copied.
        initializers: that the graph does not have.
    """
    dtype = given.dtype or ir.DataType.FLOAT
    x = ir.Value(name="x", shape=ir.Shape(graph.shapes[given.name or ""]), type=ir.TensorType(dtype))
    values: dict[ir.Value, ir.Value] = {given: x} | {
        value: _initializer(value, value.const_value) for value in initializers
    }
    constants = list(values.values())[1:]
    copies = []
    for node in nodes:
        for value in node.inputs:
            if value is not None and value not in values:
                values[value] = _initializer(value, graph.example(value))
                constants.append(values[value])
        inputs = [None if value is None else values[value] for value in node.inputs]
        copy = ir.Node("", node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs))
        values |= zip(node.outputs, copy.outputs, strict=True)
        copies.append(copy)
    (result,) = copies[-1].outputs
    opsets = {"": graph.model.opset_imports[""]}
    body = ir.Graph([x], [result], nodes=copies, initializers=constants, opset_imports=opsets, name="site")
    return ir.Model(body, ir_version=max(graph.model.ir_version, 4))


def lowered(graph: OnnxGraph, site: Site[ir.Node], form: str, prefix: str) -> Lowering:
    """A form of a site as nodes that read the values of its graph."""
    given = graph.given(site.nodes[0])
    arguments = prefix, given.dtype or ir.DataType.FLOAT, graph.data
    weights = graph.quantised(site.nodes[0])
    if weights is None:
        lowering, chain = Lowering(*arguments), site.forms[form]
    else:
        assert site.rule is not None
        lowering = QuantisedLowering(*arguments, weights=weights, quantiser=graph.quantiser(site.nodes[-1]))
        chain = site.rule.rewrite(centred(site.chain, weights))[form]
    lowering.chain(chain, given, graph.shapes[given.name or ""])
    return lowering


def timed(graph: OnnxGraph, site: Site[ir.Node], form: str | None) -> ir.Model:
    """A form of a site, or the original, as a model of its own, with what quantises its input and output."""
    nodes: Sequence[ir.Node] = site.nodes[site.kept :]
    initializers: Sequence[ir.Value] = ()
    if form is None:
        given = graph.given(nodes[0])
    else:
        lowering = lowered(graph, site, form, form)
        nodes, initializers = lowering.nodes, lowering.initializers
        given = graph.given(site.nodes[0])
    before, after = given.producer(), graph.quantiser(site.nodes[-1])
    if graph.quantised(site.nodes[0]) is None or after is None or not graph.dequantises(before):
        return fragment(graph, given, nodes, initializers)
    assert before is not None
    rounded = ir.Node("", "QuantizeLinear", [nodes[-1].outputs[0], *after.inputs[1:]])
    return fragment(graph, graph.given(before), [before, *nodes, rounded], initializers)


def install(model: ir.Model, graph: OnnxGraph, choices: Choices) -> ir.Model:
    """A copy of the model with these forms put in; what nobody reads any more is left out."""
    copy = _of_ir_version_4(model.clone())
    values = ir.convenience.create_value_mapping(copy.graph, include_subgraphs=False)
    names = [
        value.name or ""
        for part in copy.graphs()
        for value in ir.convenience.create_value_mapping(part).values()
    ]
    touched: set[ir.Node] = set()
    for site, form in choices.items():
        old = values[site.nodes[-1].outputs[0].name or ""]
        producers = (values[node.outputs[0].name or ""].producer() for node in site.nodes)
        touched.update(node for node in producers if node is not None)
        prefix = _unused(f"{old.name}/{form}", names)
        lowering = lowered(graph, site, form, prefix)
        _replace(copy.graph, old, lowering, values)
        names.append(f"{prefix}/")
    _drop(copy, touched)
    return copy


def _of_ir_version_4(model: ir.Model) -> ir.Model:
    """From there on initializers that callers cannot replace are not listed among the inputs."""
    if model.ir_version < 4:
        model.ir_version = 4
        required = [value for value in model.graph.inputs if not value.is_initializer()]
        model.graph.inputs.clear()
        model.graph.inputs.extend(required)
    return model


def _replace(graph: ir.Graph, old: ir.Value, lowering: Lowering, values: dict[str, ir.Value]) -> None:
    """Put nodes in behind the producer of a value, whose name and readers they take over."""
    own = {output for node in lowering.nodes for output in node.outputs} | set(lowering.initializers)
    for node in lowering.nodes:
        for index, value in enumerate(node.inputs):
            if value is not None and value not in own:
                node.replace_input_with(index, values[value.name or ""])
    new, last = lowering.nodes[-1].outputs[0], old.producer()
    assert last is not None
    for initializer in lowering.initializers:
        graph.register_initializer(initializer)
    graph.insert_after(last, lowering.nodes)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    name, old.name = old.name or "", f"{lowering.prefix}/was"
    new.name, new.type, new.shape = name, old.type, old.shape
    values[name] = new


def _drop(model: ir.Model, touched: set[ir.Node]) -> None:
    """Remove those of the nodes that nobody reads, and what only they read."""
    for node in reversed(model.graph):
        if node in touched and not any(output.uses() or output.is_graph_output() for output in node.outputs):
            read = [value for value in node.inputs if value is not None]
            touched.update(producer for value in read if (producer := value.producer()) is not None)
            model.graph.remove(node, safe=True)
            for value in read:
                if value.is_initializer() and not value.uses() and not value.is_graph_output():
                    del model.graph.initializers[value.name or ""]


def _computed(values: Iterable[ir.Value | None]) -> list[ir.Value]:
    """Each that is no initializer, once."""
    return list(dict.fromkeys(value for value in values if value is not None and not value.is_initializer()))


def _sequences(graph: ir.Graph) -> set[ir.Value | None]:
    """Values that are no tensors."""
    found: set[ir.Value | None] = set()
    for node in graph:
        if node.op_type in SEQUENCES or (node.op_type == "Identity" and node.inputs[0] in found):
            found.update(node.outputs)
    return found


def _dequantised(value: ir.Value) -> bool:
    """Weights, as they are stored, say more."""
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


def _initializer(value: ir.Value, tensor: ir.TensorProtocol | None) -> ir.Value:
    assert tensor is not None
    return ir.Value(name=value.name, type=ir.TensorType(tensor.dtype), const_value=tensor)


def _unused(prefix: str, names: Sequence[str]) -> str:
    while any(name.startswith(f"{prefix}/") for name in names):
        prefix += "_"
    return prefix
