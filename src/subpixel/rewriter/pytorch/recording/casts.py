"""Casts around an up-sampler that change nothing, as in `super().forward(x.float()).type_as(x)`."""

from torch import Tensor, fx

from subpixel.rewriter.pytorch.graph import Scope, data_input
from subpixel.rewriter.pytorch.guards import require
from subpixel.rewriter.sites import up_samples

CASTS = ("bfloat16", "double", "float", "half", "to", "type", "type_as")


def drop_casts(scope: Scope) -> None:
    """Take them out of a recorded forward, and require the precision of the example instead."""
    for node in list(scope.graph.nodes):
        if not up_samples(scope.layers(node)):
            continue
        source = data_input(node)
        while source is not None and _changes_nothing(scope, source):
            _drop(scope, source)
            source = data_input(node)
        for user in list(node.users):
            if _changes_nothing(scope, user) and data_input(user) is node:
                _drop(scope, user)


def _changes_nothing(scope: Scope, node: fx.Node) -> bool:
    """Say whether a cast gives the very tensor that it was given, as PyTorch's do then."""
    source = data_input(node)
    if node.op != "call_method" or node.target not in CASTS or source is None:
        return False
    x = scope.values[node]
    return isinstance(x, Tensor) and x is scope.values[source]


def _drop(scope: Scope, node: fx.Node) -> None:
    source, x = data_input(node), scope.values[node]
    assert source is not None
    # In another precision the cast would change something: the guard makes that an error.
    with scope.graph.inserting_before(node):
        dtype = scope.graph.call_function(getattr, (source, "dtype"))
        guard = scope.graph.call_function(require, (dtype, x.dtype, type(scope.owner).__name__))
    scope.values[dtype], scope.values[guard] = x.dtype, None
    node.replace_all_uses_with(source)
    scope.graph.erase_node(node)
