"""Shuffles and resizes that are written as rows of nodes which move pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest
from onnx_models import Maker, assert_all_forms_equal, assert_equal_models, model, noise, operators, target

from subpixel.rewriter import rewrite
from subpixel.rewriter.onnx import moves

Build = Callable[[Maker, ir.Value], ir.Value]
X = noise(2, 3, 4, 5)


def conv(op: Maker, x: ir.Value, channels: int) -> ir.Value:
    return op("Conv", x, noise(channels, 3, 3, 3), np.zeros(channels, np.float32), pads=[1] * 4)


def moved(
    op: Maker, x: ir.Value, before: Sequence[int], perm: Sequence[int], after: Sequence[int]
) -> ir.Value:
    blocks = op("Reshape", x, np.array(before))
    return op("Reshape", op("Transpose", blocks, perm=list(perm)), np.array(after))


def crd(op: Maker, x: ir.Value) -> ir.Value:
    return moved(op, conv(op, x, 12), [0, 2, 3, 2, 4, 5], [0, 1, 4, 2, 5, 3], [2, 2, 12, 10])


def dcr(op: Maker, x: ir.Value) -> ir.Value:
    return moved(op, conv(op, x, 12), [2, 2, 2, -1, 4, 5], [0, 3, 4, 1, 5, 2], [0, 3, 8, -1])


def not_a_shuffle(op: Maker, x: ir.Value) -> ir.Value:
    return moved(op, conv(op, x, 12), [2, 2, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [2, 3, 8, 10])


def space_to_depth(op: Maker, x: ir.Value) -> ir.Value:
    return moved(op, conv(op, x, 12), [2, 12, 2, 2, 5, 1], [0, 1, 3, 5, 2, 4], [2, 24, 2, 5])


def expanded(op: Maker, x: ir.Value) -> ir.Value:
    columns = op("Unsqueeze", x, np.array([3, 5]))
    maps = op("Reshape", op("Expand", columns, np.array([2, 3, 4, 3, 5, 2])), np.array([2, 3, 12, 10]))
    return conv(op, maps, 4)


def tiled(op: Maker, x: ir.Value) -> ir.Value:
    columns = op("Reshape", x, np.array([2, 3, 4, 1, 5, 1]))
    maps = op("Reshape", op("Tile", columns, np.array([1, 1, 1, 2, 1, 2])), np.array([2, 3, 8, 10]))
    return conv(op, maps, 4)


def repeated_whole(op: Maker, x: ir.Value) -> ir.Value:
    columns = op("Reshape", x, np.array([2, 3, 1, 4, 1, 5]))
    maps = op("Reshape", op("Tile", columns, np.array([1, 1, 2, 1, 2, 1])), np.array([2, 3, 8, 10]))
    return conv(op, maps, 4)


@pytest.mark.parametrize(
    ("build", "was"),
    [
        (crd, "convolution + shuffle"),
        (dcr, "convolution + shuffle"),
        (expanded, "nearest resize + convolution"),
        (tiled, "nearest resize + convolution"),
    ],
)
def test_a_row_is_read_as_what_it_does(build: Build, was: str) -> None:
    """Put in alone, every form of its site computes the same, and the row is gone."""
    made = model(build, [2, 3, 4, 5])
    (site,) = target(made, X).sites()
    assert (site.was, site.reason) == (was, None)
    assert assert_all_forms_equal(made, X)
    changed, report = rewrite(made, X, change="all", seconds=0.01)
    assert report.changed == was.startswith("nearest")  # a shuffle is in LR space already
    assert_equal_models(made, changed, X)
    assert not {"Expand", "Tile", "Unsqueeze"} & set(operators(changed))


@pytest.mark.parametrize("build", [not_a_shuffle, space_to_depth, repeated_whole])
def test_other_rows_are_none(build: Build) -> None:
    """The sizes alone would let some of them pass; the pixels do not."""
    assert not target(model(build, [2, 3, 4, 5]), X).sites()


def test_a_row_of_free_sizes_is_kept() -> None:
    """At the example it is a shuffle; what a fixed Reshape does at other sizes is another thing."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        return moved(op, conv(op, x, 12), [0, 3, 2, 2, 4, -1], [0, 1, 4, 2, 5, 3], [0, 3, 8, -1])

    (site,) = target(model(build, [2, 3, "h", "w"]), X).sites()
    reason = "it is a shuffle by Reshape, Transpose, Reshape, of sizes that are not fixed"
    assert (site.was, site.reason) == ("up-sampler", reason)


def test_large_pictures_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "LARGEST", X.size)
    assert not target(model(crd, [2, 3, 4, 5]), X).sites()


def test_sums_of_blocks_are_listed() -> None:
    """Col2Im up-samples, but no rule is about it."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        blocks = op("Reshape", conv(op, x, 12), np.array([2, 12, 20]))
        return op("Col2Im", blocks, np.array([8, 10]), np.array([2, 2]), strides=[2, 2])

    (site,) = target(model(build, [2, 3, 4, 5]), X).sites()
    assert site.reason == "it sums blocks of pixels that overlap, which no rule is about"


def test_no_picture_grows_beyond_the_memory() -> None:
    """OpenVINO tells the shape of a repetition without computing it."""

    def build(op: Maker, x: ir.Value) -> ir.Value:
        rows = op("Unsqueeze", x, np.array([3]))
        return op("Reshape", op("Tile", rows, np.array([1, 1, 1, 2**40, 1])), np.array([2, 3, -1, 5]))

    _, report = rewrite(model(build, [2, 3, 4, 5]), X, runtime="openvino", seconds=0)
    assert not report.sites
