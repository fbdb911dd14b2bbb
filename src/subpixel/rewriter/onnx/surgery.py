"""Forms of a site as nodes: put into an ONNX graph, or into a model of their own to be timed."""

from collections.abc import Sequence

import onnx_ir as ir

from subpixel.rewriter.onnx.graph import OnnxGraph
from subpixel.rewriter.onnx.lower import Lowering
from subpixel.rewriter.onnx.quantised import QuantisedLowering, centred
from subpixel.rewriter.sites import Site
from subpixel.rewriter.target import Choices


def fragment(
    graph: OnnxGraph, data: ir.Value, nodes: Sequence[ir.Node], initializers: Sequence[ir.Value] = ()
) -> ir.Model:
    """Return a model of these nodes alone, at the shape of the example.

    Args:
        graph: the graph that the nodes come from, or the functions that they copy.
        data: the only computed value that the nodes read.
        nodes: the nodes in order; they are copied.
        initializers: constants that the graph does not have.
    """
    dtype = data.dtype or ir.DataType.FLOAT
    x = ir.Value(name="x", shape=ir.Shape(graph.shapes[data.name or ""]), type=ir.TensorType(dtype))
    values: dict[ir.Value, ir.Value] = {data: x} | {
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
    """Write a form of a site as nodes that read the values of its graph."""
    data = graph.data_value(site.nodes[0])
    arguments = prefix, data.dtype or ir.DataType.FLOAT, graph.data
    weights = graph.quantised(site.nodes[0])
    if weights is None:
        lowering, chain = Lowering(*arguments), site.forms()[form]
    else:
        assert site.rule is not None
        lowering = QuantisedLowering(*arguments, weights=weights, quantiser=graph.quantiser(site.nodes[-1]))
        chain = site.rule.rewrite(centred(site.chain, weights))[form]
    lowering.chain(chain, data, graph.shapes[data.name or ""])
    if not lowering.nodes:  # the output needs a node whose name it has
        lowering.op("Identity", data)
    return lowering


def timed(graph: OnnxGraph, site: Site[ir.Node], form: str | None) -> ir.Model:
    """Return a form of a site, or the original (None), as a model that rounds its input and output alike."""
    own = site.nodes[site.shared_prefix :]
    nodes: Sequence[ir.Node] = graph.whole_rows(own)
    initializers: Sequence[ir.Value] = ()
    if form is None:
        data = graph.data_value(own[0])
    else:
        lowering = lowered(graph, site, form, form)
        nodes, initializers = lowering.nodes, lowering.initializers
        data = graph.data_value(site.nodes[0])
    before, after = data.producer(), graph.quantiser(site.nodes[-1])
    if graph.quantised(site.nodes[0]) is None or after is None or not graph.dequantises(before):
        return fragment(graph, data, nodes, initializers)
    assert before is not None
    rounded = ir.Node("", "QuantizeLinear", [nodes[-1].outputs[0], *after.inputs[1:]])
    return fragment(graph, graph.data_value(before), [before, *nodes, rounded], initializers)


def install(model: ir.Model, graph: OnnxGraph, choices: Choices) -> ir.Model:
    """Return a copy of the model with these forms put in, without the nodes that nobody reads any more."""
    copy = _of_ir_version_4(model.clone())
    values = ir.convenience.create_value_mapping(copy.graph, include_subgraphs=False)
    names = [
        value.name or ""
        for part in copy.graphs()
        for value in ir.convenience.create_value_mapping(part).values()
    ]
    touched: set[ir.Node] = set()
    for site, choice in choices.items():
        old = values[site.nodes[-1].outputs[0].name or ""]
        producers = (values[node.outputs[0].name or ""].producer() for node in site.nodes)
        touched.update(node for node in producers if node is not None)
        prefix = _unused(f"{old.name}/{choice.form}", names)
        lowering = lowered(graph, site, choice.form, prefix)
        _replace(copy.graph, old, lowering, values)
        names.append(f"{prefix}/")
    _drop(copy, touched)
    return copy


def _of_ir_version_4(model: ir.Model) -> ir.Model:
    """Raise the IR version to 4, from which on constants need not be listed among the inputs."""
    if model.ir_version < 4:
        model.ir_version = 4
        required = [value for value in model.graph.inputs if not value.is_initializer()]
        model.graph.inputs.clear()
        model.graph.inputs.extend(required)
    return model


def _replace(graph: ir.Graph, old: ir.Value, lowering: Lowering, values: dict[str, ir.Value]) -> None:
    """Insert nodes after the producer of a value; their output takes over its name and its readers."""
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
    """Remove those of these nodes that nobody reads, and all that only they read."""
    for node in reversed(model.graph):
        if node in touched and not any(output.uses() or output.is_graph_output() for output in node.outputs):
            read = [value for value in node.inputs if value is not None]
            touched.update(producer for value in read if (producer := value.producer()) is not None)
            model.graph.remove(node, safe=True)
            for value in read:
                if value.is_initializer() and not value.uses() and not value.is_graph_output():
                    del model.graph.initializers[value.name or ""]


def _initializer(value: ir.Value, tensor: ir.TensorProtocol | None) -> ir.Value:
    assert tensor is not None
    return ir.Value(name=value.name, type=ir.TensorType(tensor.dtype), const_value=tensor)


def _unused(prefix: str, names: Sequence[str]) -> str:
    while any(name.startswith(f"{prefix}/") for name in names):
        prefix += "_"
    return prefix
