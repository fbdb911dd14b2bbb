"""The replacements of sites, put into a copy of the model."""

import operator
from collections.abc import Iterable, Sequence
from itertools import chain, count
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from subpixel.rewriter.layers import Pointwise
from subpixel.rewriter.pytorch.forwards import give_forward
from subpixel.rewriter.pytorch.graph import Scope, data_input, in_place
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.pytorch.installed import RewrittenSite
from subpixel.rewriter.pytorch.loading import Origin, load_original_weights, weight_keys
from subpixel.rewriter.pytorch.modules import asks_for_classes
from subpixel.rewriter.sites import Site


class Replacement(NamedTuple):
    """What a site becomes: a module, and pointwise nodes of the site before and after it."""

    before: tuple[fx.Node, ...]
    module: RewrittenSite
    after: tuple[fx.Node, ...]


def fragment(scope: Scope, nodes: Sequence[fx.Node]) -> fx.GraphModule:
    """Return a row of nodes as a module that takes the row's data input."""
    graph, source = fx.Graph(), data_input(nodes[0])
    assert source is not None
    copies = {source: graph.placeholder("x")}
    for node in nodes:
        _copy(node, graph, copies)
    graph.output(copies[nodes[-1]])
    return _module(scope, graph)


def replaced(scope: Scope, replacement: Replacement) -> fx.GraphModule:
    """Return what a site becomes as a module that takes the site's input."""
    graph = fx.Graph()
    graph.output(_insert(graph, graph.placeholder("x"), "rewritten", scope, replacement))
    return _module(scope, graph, rewritten=replacement.module)


def install(model: nn.Module, scope: Scope, replacements: dict[Site[Any], Replacement]) -> None:
    """Put the replacements of a scope into a copy of the model that was recorded.

    Where modules make way for modules the owner's children are exchanged; else it gets a forward of its own.
    """
    owner = model.get_submodule(scope.prefix)
    if exchanges_modules(model, scope, replacements):
        for site, replacement in replacements.items():
            _install_module(owner, scope, site, replacement.module)
        return
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    graph.output(graph.graph_copy(scope.graph, copies))
    graph.set_codegen(vars(scope.graph)["_codegen"])  # how a program takes its arguments apart
    origins = []
    for site, replacement in replacements.items():
        nodes = [copies[node] for node in site.nodes]
        name = _install_nodes(owner, scope, site, replacement, nodes)
        origins.append(Origin(name, *weight_keys(scope, site)))
    _erase_unused(graph, [copies[node] for site in replacements for node in site.nodes])
    _empty_unused(model, owner, scope, graph)
    _take_attributes(owner, scope)
    give_forward(owner, graph)
    load_original_weights(owner, *origins)


def _install_module(owner: nn.Module, scope: Scope, site: Site[Any], module: RewrittenSite) -> None:
    """Exchange the modules of a site for one that computes it, and for others that do nothing."""
    name = scope.name(site)
    keys, read = weight_keys(scope, site)
    below = frozenset(key.removeprefix(f"{name}.") for key in read)
    load_original_weights(module, Origin("", {key: key for key in keys}, below))
    if scope.full_name(name) in scope.used_elsewhere:  # others look at the old weights
        for key, weight in owner.get_submodule(name).named_parameters(recurse=False):
            module.register_parameter(key, weight)
    for node in site.nodes:
        if node not in _pointwise(site) and node.target != name:
            _exchange(owner, str(node.target), nn.Identity())
    _exchange(owner, name, module)


def _install_nodes(
    owner: nn.Module, scope: Scope, site: Site[Any], replacement: Replacement, nodes: Sequence[fx.Node]
) -> str:
    """Have the users of a site's nodes, in a copy of the graph, read a new module; return its name."""
    name = _free_name(owner, f"{scope.name(site).replace('.', '_')}_rewritten")
    owner.add_module(name, replacement.module)
    first, last, source = nodes[0], nodes[-1], data_input(nodes[0])
    assert source is not None
    with first.graph.inserting_before(first):
        last.replace_all_uses_with(_insert(first.graph, source, name, scope, replacement))
    return name


def _free_name(owner: nn.Module, name: str) -> str:
    return next(
        free for free in chain([name], (f"{name}_{index}" for index in count(2))) if not hasattr(owner, free)
    )


def _insert(graph: fx.Graph, x: fx.Node, name: str, scope: Scope, replacement: Replacement) -> fx.Node:
    """Record a replacement that reads x, and return the node of its result."""
    if any(in_place(node, scope.owner) for node in replacement.before):
        # In the original it changes what the resize made; here it would change what others read.
        x = graph.call_function(torch.clone, (x,))
    for node in replacement.before:
        x = _copy_onto(node, graph, x)
    x = graph.call_module(name, (x,))
    for node in replacement.after:
        x = _copy_onto(node, graph, x)
    return x


def _copy_onto(node: fx.Node, graph: fx.Graph, x: fx.Node) -> fx.Node:
    source = data_input(node)
    assert source is not None
    return _copy(node, graph, {source: x})


def _copy(node: fx.Node, graph: fx.Graph, copies: dict[fx.Node, fx.Node]) -> fx.Node:
    """Copy a node, and the constants that it reads."""
    for argument in node.all_input_nodes:
        if argument not in copies:
            _copy(argument, graph, copies)
    copies[node] = graph.node_copy(node, copies.__getitem__)
    return copies[node]


def _module(scope: Scope, graph: fx.Graph, **more: nn.Module) -> fx.GraphModule:
    attributes: dict[str, Any] = dict(more)
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr") and node.target not in more:
            attributes[node.target] = operator.attrgetter(node.target)(scope.owner)
    return fx.GraphModule(attributes, graph)


def _erase_unused(graph: fx.Graph, nodes: Sequence[fx.Node]) -> None:
    """Erase those of the nodes that nobody reads, and what only prepared their arguments."""
    # From the last one on: what a node reads is unused when the node is gone.
    for node in reversed(nodes):
        if not node.users:
            graph.erase_node(node)
    for node in reversed(graph.nodes):
        if not node.users and _prepares(node):
            graph.erase_node(node)


def _prepares(node: fx.Node) -> bool:
    """Return whether a node only makes what others read: weights, sizes, zeros to fill."""
    name = getattr(node.target, "__name__", node.target)
    return node.op == "get_attr" or (
        node.op != "call_module" and name in ("getattr", "getitem", "mul", "size", "new_zeros", "zeros")
    )


def exchanges_modules(model: nn.Module, scope: Scope, sites: Iterable[Site[Any]]) -> bool:
    """Return whether a scope keeps its forward, since all sites are modules that make way for modules."""
    return all(_of_modules(model, scope, site) for site in sites)


def _of_modules(model: nn.Module, scope: Scope, site: Site[Any]) -> bool:
    """Return whether a site is made of modules that nothing else calls or changes."""
    if site.shared_prefix or any(node.op != "call_module" for node in site.nodes):
        return False
    if any(in_place(node, scope.owner) for node in site.nodes):
        return False
    if any(node.target is require for node in scope.graph.nodes):
        return False  # Python may take another branch, which calls only some of them
    if not scope.alone and asks_for_classes(scope.owner):
        return False  # it may be of these modules that the forward asks
    if scope.alone:
        return True
    targets = [node.target for node in scope.graph.nodes if node.op == "call_module"]
    everywhere = [id(module) for _, module in model.named_modules(remove_duplicate=False)]
    owner = model.get_submodule(scope.prefix)
    return all(
        scope.full_name(node.target) not in scope.used_elsewhere
        and targets.count(node.target) == 1
        and everywhere.count(id(owner.get_submodule(str(node.target)))) == 1
        for node in site.nodes
    )


def _pointwise(site: Site[Any]) -> set[fx.Node]:
    pairs = zip(site.nodes, site.layers, strict=True)
    return {node for node, layers in pairs if all(isinstance(layer, Pointwise) for layer in layers)}


def _take_attributes(owner: nn.Module, scope: Scope) -> None:
    """Set the tensors that a recorded forward reads, and that a first call sets or converts."""
    for node in scope.graph.nodes:
        if node.op != "get_attr":
            continue
        parent, _, name = str(node.target).rpartition(".")
        value: Any = getattr(scope.owner.get_submodule(parent), name)
        old: Any = getattr(owner.get_submodule(parent), name, None)
        if isinstance(value, Tensor) and not (
            isinstance(old, Tensor) and (old.dtype, old.shape) == (value.dtype, value.shape)
        ):
            setattr(owner.get_submodule(parent), name, value.detach().clone())


def _exchange(owner: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of another; what others may ask of that, for example its stride, stays."""
    old, (parent, _, name) = owner.get_submodule(path), path.rpartition(".")
    for constant in getattr(old, "__constants__", ()):
        if hasattr(old, constant) and not hasattr(module, constant):
            setattr(module, constant, getattr(old, constant))
    setattr(owner.get_submodule(parent), name, module)


def _empty_unused(model: nn.Module, owner: nn.Module, scope: Scope, graph: fx.Graph) -> None:
    """Exchange the modules that the old forward called and the new one does not for some that do nothing."""
    before, after = ({n.target for n in g.nodes if n.op == "call_module"} for g in (scope.graph, graph))
    names = [id(module) for _, module in model.named_modules(remove_duplicate=False)]
    for target in map(str, before - after):
        once = names.count(id(owner.get_submodule(target))) == 1
        if once and scope.full_name(target) not in scope.used_elsewhere:
            _exchange(owner, target, nn.Identity())
