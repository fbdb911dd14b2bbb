"""The search for sites, where a rule applies or why it does not: the same in both frameworks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Layer,
    Opaque,
    Pad,
    Pointwise,
    Resize,
    Shuffle,
    Transposed,
    ZeroInsertion,
)
from subpixel.rewriter.rules import (
    Rule,
    interpolation,
    nearest,
    shuffled,
    strided,
    transposed,
    unchanged,
    zero_insertion,
)

# The first that fits takes its nodes, so what fuses more comes first.
RULES = (
    nearest.RULE,
    zero_insertion.RULE,
    shuffled.RULE,
    transposed.RULE,
    interpolation.RULE,
    strided.RULE,
    unchanged.RULE,
)
UP_SAMPLERS = (Transposed, Resize, Shuffle, ZeroInsertion, Opaque)
NAMES: dict[type[Layer], str] = {Resize: "resize", Shuffle: "shuffle", ZeroInsertion: "zero insertion"}
LONGEST = 8  # nodes in a row: a resize, a padding, a convolution, and functions in between

NodeT = TypeVar("NodeT")


class Graph(Protocol[NodeT]):
    """What the search must know of a framework's graph."""

    def nodes(self) -> Iterable[NodeT]:
        """Return all nodes, each after those that it reads."""

    def layers(self, node: NodeT) -> Chain:
        """Return what a node computes of its data input; nothing if it is not to be searched."""

    def source(self, node: NodeT) -> NodeT | None:
        """Return the node whose only output is the data input of this one."""

    def shared(self, node: NodeT) -> bool:
        """Return whether others than the next node in a row read the output."""

    def path(self, node: NodeT) -> str:
        """Return the name of a node in the report."""


@dataclass(frozen=True, eq=False)
class Site(Generic[NodeT]):
    """A place where a model up-samples: a row of nodes that a rule reads as one.

    Attributes:
        path: the name of the site in the report.
        nodes: the first one reads the input of the site, the last one gives its output.
        layers: what each of the nodes computes.
        was: the name of the rule, or of the up-sampler where there is none.
        rule: the rule that fits, or None.
        reason: why it must be kept, or None.
        names: of the forms that the rule gives; none where the site must be kept.
        shared_prefix: how many of the first nodes stay whatever is decided, since others read their output.
    """

    path: str
    nodes: tuple[NodeT, ...]
    layers: tuple[Chain, ...]
    was: str
    rule: Rule | None
    reason: str | None = None
    names: tuple[str, ...] = ()
    shared_prefix: int = 0

    @property
    def chain(self) -> Chain:
        """What all nodes compute, one after another."""
        return tuple(layer for chain in self.layers for layer in chain)

    def forms(self) -> dict[str, Chain]:
        """Return the equal chains by name.

        They are computed at each call: kept for all sites at once, their weights would fill the memory.
        """
        return self.rule.rewrite(self.chain) if self.rule is not None and self.names else {}


def find(graph: Graph[NodeT]) -> list[Site[NodeT]]:
    """Return all up-samplers of a graph as sites, in the order of the graph; no two change the same node."""
    taken: set[NodeT] = set()
    named: set[NodeT] = set()
    sites, declined = [], []
    for rule in RULES:
        for row in _rows(graph, rule):
            site = _site(graph, rule, row)
            if site.reason is not None:
                declined.append(site)
            elif _only_moves(graph, row[site.shared_prefix :]):
                continue  # all that would be saved is a copy
            elif taken.isdisjoint(row[site.shared_prefix :]):
                sites.append(site)
                taken.update(row[site.shared_prefix :])
                named.update(row)
    for site in declined:
        if named.isdisjoint(site.nodes):
            sites.append(site)
            named.update(site.nodes)
    heads = (node for node in graph.nodes() if node not in named and up_samples(graph.layers(node)))
    sites += [_unmatched(graph, node) for node in heads]
    order = {node: index for index, node in enumerate(graph.nodes())}
    return sorted(sites, key=lambda site: order[site.nodes[-1]])


def _only_moves(graph: Graph[NodeT], row: tuple[NodeT, ...]) -> bool:
    return all(isinstance(layer, Pad | Pointwise) for layer in _chain(graph, row))


def _rows(graph: Graph[NodeT], rule: Rule) -> Iterator[tuple[NodeT, ...]]:
    """Yield the rows of nodes that a rule's pattern fits."""
    for node in graph.nodes():
        row: tuple[NodeT, ...] = ()
        source: NodeT | None = node
        while source is not None and graph.layers(source) and len(row) < LONGEST:
            row = (source, *row)
            if rule.matches(_chain(graph, row)):
                yield row
                break
            source = graph.source(source)


def _site(graph: Graph[NodeT], rule: Rule, row: tuple[NodeT, ...]) -> Site[NodeT]:
    layers = tuple(map(graph.layers, row))
    chain = _chain(graph, row)
    shared_prefix = max((i + 1 for i, node in enumerate(row[:-1]) if graph.shared(node)), default=0)
    path = graph.path(_naming_node(graph, row))
    if reason := rule.check(chain):
        return Site(path, row, layers, rule.name, rule, reason)
    return Site(path, row, layers, rule.name, rule, None, tuple(rule.rewrite(chain)), shared_prefix)


def _unmatched(graph: Graph[NodeT], node: NodeT) -> Site[NodeT]:
    chain = graph.layers(node)
    opaque = next((layer.reason for layer in chain if isinstance(layer, Opaque)), None)
    layer = next(layer for layer in chain if isinstance(layer, UP_SAMPLERS))
    was = NAMES.get(type(layer), "up-sampler")
    return Site(graph.path(node), (node,), (chain,), was, None, opaque or "no convolution to fuse it with")


def _naming_node(graph: Graph[NodeT], row: tuple[NodeT, ...]) -> NodeT:
    """Return the node that a site is named after: its convolution."""
    weighted = (Convolution, Transposed)
    return next((n for n in row if any(isinstance(a, weighted) for a in graph.layers(n))), row[-1])


def _chain(graph: Graph[NodeT], row: tuple[NodeT, ...]) -> Chain:
    return tuple(layer for node in row for layer in graph.layers(node))


def up_samples(chain: Chain) -> bool:
    """Say whether any layer of a chain up-samples."""
    return any(isinstance(layer, UP_SAMPLERS) for layer in chain)
