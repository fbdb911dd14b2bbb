"""The search for sites, on a graph of names."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
import torch
from rewriting import noise

from subpixel.geometry import axes
from subpixel.rewriter.forms import FORMS
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
    Unchanged,
    ZeroInsertion,
)
from subpixel.rewriter.sites import LONGEST, Site, find


def convolution(stride: int = 1, channels: int = 8, outputs: int = 8) -> Convolution:
    weight = noise((outputs, channels, 3, 3))
    return Convolution(weight, None, (stride,) * 2, ((1, 1),) * 2, (1, 1))


RESIZE, RELU, SHUFFLE = Resize("nearest", (2, 2), 8), Pointwise(torch.relu), Shuffle((2, 2))
UP = Transposed(noise((8, 8, 4, 4)), None, axes((4, 4), 2, 1))


class Names:
    """A graph given as name: (what the node computes, whose output it reads); others may read it too.

    Args:
        nodes: in order.
        readers: names of nodes that one more node reads, which the search does not know.
    """

    def __init__(self, nodes: Mapping[str, tuple[Any, str]], readers: Iterable[str] = ()) -> None:
        self.rows, self.readers = nodes, list(readers)

    def nodes(self) -> Iterable[str]:
        return self.rows

    def layers(self, node: str) -> Chain:
        computed, _ = self.rows.get(node, (None, ""))
        return (computed,) if isinstance(computed, Layer) else computed or ()

    def source(self, node: str) -> str | None:
        return self.rows[node][1] or None if node in self.rows else None

    def shared(self, node: str) -> bool:
        return [source for _, source in self.rows.values()].count(node) + self.readers.count(node) > 1

    def path(self, node: str) -> str:
        return f"model.{node}"


def row(*computed: Any, readers: Iterable[str] = ()) -> Names:
    """Nodes a, b, c, ... behind each other."""
    names = "abcdefghij"[: len(computed)]
    return Names(dict(zip(names, zip(computed, ["", *names], strict=False), strict=True)), readers)


def found(graph: Names) -> list[tuple[str, str]]:
    return [("".join(site.nodes), site.was) for site in find(graph)]


FUSED = "nearest resize + convolution"


def test_a_row_of_nodes_is_a_site() -> None:
    (site,) = find(row(convolution(), RESIZE, RELU, Pad(((0, 0),) * 2), convolution(), RELU))
    assert (site.nodes, site.was, site.path) == (("b", "c", "d", "e"), FUSED, "model.e")
    assert (site.reason, site.shared_prefix) == (None, 0)
    assert list(site.names) == ["transposed", "aligned", "compact", "split", "products"]
    assert list(map(type, site.chain)) == [Resize, Pointwise, Pad, Convolution]


def test_a_node_of_several_layers_is_taken_whole() -> None:
    """As a convolution that pads by reflection."""
    reflecting = Pad(((1, 1),) * 2, "reflect"), Convolution.plain(noise((8, 8, 3, 3)), None, ((0, 0),) * 2)
    (site,) = find(row(RESIZE, reflecting))
    assert site.nodes == ("a", "b")
    assert site.reason is None


def test_chains_of_up_samplers_are_sites_in_order() -> None:
    graph = row(RESIZE, convolution(), RELU, UP, RESIZE, convolution(), convolution(outputs=32), SHUFFLE)
    assert found(graph) == [
        ("ab", FUSED),
        ("d", "transposed convolution"),
        ("ef", FUSED),
        ("gh", "convolution + shuffle"),
    ]


def test_what_fuses_more_comes_first() -> None:
    """A convolution between a resize and a shuffle goes with the resize; the shuffle is left alone."""
    sites = find(row(RESIZE, convolution(outputs=32), SHUFFLE))
    assert [("".join(site.nodes), site.was) for site in sites] == [("ab", FUSED), ("c", "shuffle")]
    assert sites[1].reason == "no convolution to fuse it with"
    assert not sites[1].names


def test_nodes_that_others_read_are_kept() -> None:
    (site,) = find(row(RESIZE, RELU, convolution(), readers="a"))
    assert (site.nodes, site.shared_prefix) == (("a", "b", "c"), 1)
    (site,) = find(row(RESIZE, RELU, convolution(), readers="b"))
    assert site.shared_prefix == 2
    (site,) = find(row(RESIZE, RELU, convolution(), readers="c"))
    assert site.shared_prefix == 0


def test_branches_share_a_resize() -> None:
    """Each convolution behind it is a site of its own; the resize stays until nobody reads it."""
    graph = Names({"a": (RESIZE, ""), "b": (convolution(), "a"), "c": (RELU, "a"), "d": (convolution(), "c")})
    sites = find(graph)
    assert [site.nodes for site in sites] == [("a", "b"), ("a", "c", "d")]
    assert [site.shared_prefix for site in sites] == [1, 1]


def test_no_node_is_changed_by_two_sites() -> None:
    """Not even a convolution that a resize and a shuffle want, and that others read too."""
    first, second = find(row(RESIZE, convolution(outputs=32), SHUFFLE, readers="b"))
    assert (first.nodes, first.shared_prefix) == (("a", "b"), 0)
    assert (second.nodes, second.shared_prefix) == (("b", "c"), 1)


def test_a_declined_row_says_why() -> None:
    (site,) = find(row(RESIZE, convolution(stride=2, channels=8)))
    assert (site.nodes, site.was) == (("a", "b"), FUSED)
    assert site.reason == "the convolution after the resize has stride (2, 2)"
    assert not site.names


def test_another_rule_may_take_what_one_declines() -> None:
    """An interpolation whose convolution is padded is a site by itself."""
    (site,) = find(row(Resize("linear", (2, 2), 8), convolution()))
    assert (site.nodes, site.was, site.reason) == (("a",), "interpolation", None)


def test_an_opaque_up_sampler_is_listed() -> None:
    (site,) = find(row(Opaque("it has hooks"), RELU))
    assert (site.was, site.reason, site.rule) == ("up-sampler", "it has hooks", None)


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (row(RESIZE, None, convolution()), [("a", "resize")]),  # a node that is not known in between
        (row(RESIZE, *[RELU] * LONGEST, convolution()), [("a", "resize")]),
        (row(convolution(), RELU, convolution()), []),
        (row(convolution(stride=2, channels=3)), [("a", "strided convolution")]),
        (row(convolution(stride=2, channels=8)), []),
    ],
)
def test_what_is_no_row(graph: Names, expected: list[tuple[str, str]]) -> None:
    assert found(graph) == expected


def test_a_site_is_itself_alone() -> None:
    """Sites are keys: equal values are other places."""
    first, second = (Site("a", ("a",), ((UP,),), "up", None) for _ in range(2))
    assert first != second


def test_every_form_is_in_the_vocabulary() -> None:
    """And every word of it is the form of some site."""
    narrow = convolution(stride=2, channels=3)
    insertion = ZeroInsertion((2, 2), (0, 0))
    rows = [
        row(UP),
        row(RESIZE, convolution()),
        row(insertion, convolution()),
        row(convolution(outputs=32), SHUFFLE),
        row(Resize("linear", (2, 2), 8)),
        row(narrow),
        row(Unchanged()),
    ]
    names = {name for graph in rows for site in find(graph) for name in site.names}
    assert names == FORMS.keys()
