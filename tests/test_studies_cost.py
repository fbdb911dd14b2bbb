"""The study of cost: the note's own numbers, and counts that no formula of ours knows."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from subpixel.kernels import lift_conv
from subpixel.studies import cost
from subpixel.studies.cost import EXAMPLES, STUDY, lifted
from subpixel.studies.cost.races import QUICK_FRAMES, in_openvino, in_pytorch
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.layers import Layers, counted, pair, seen_by_gradient
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return STUDY.compute(Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("cost")))


def test_every_check_holds(result: Result) -> None:
    assert len(result.checks) == 5
    assert [check for check, holds in result.checks.items() if not holds] == []


def test_the_first_rows_are_the_note_s_table(result: Result) -> None:
    """Section 3, divided by the LR pixels W/2 * H/2 of an image of W * H."""
    width, height = 640, 360
    lr, hr = result.table[:2]
    pixels = width // 2 * height // 2
    assert (lr["operations"], hr["operations"]) == (
        32 * 32 * 3 * 3 * (width // 2) * (height // 2) // pixels,
        8 * 8 * 6 * 6 * width * height // pixels,
    )
    assert (lr["numbers"], hr["numbers"]) == (32, 8 * width * height // pixels)
    assert (lr["parameters"], hr["parameters"]) == (32 * 32 * 3 * 3, 8 * 8 * 6 * 6) == (9216, 2304)


def test_both_layers_of_a_race_were_timed(result: Result) -> None:
    """Eight examples in PyTorch, two of them in OpenVINO as well, each in both spaces."""
    assert len(result.table) == 2 * (8 + 2)
    assert all(row["ms"] > 0 and 0 <= row["at least"] <= row["at most"] for row in result.table)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_what_is_timed_makes_as_many_products_in_either_space(example: tuple[int, int, int, int]) -> None:
    """Of the whole frame, to the last one, by PyTorch's counter; and the output is the frame in its space."""
    frame = QUICK_FRAMES[example[-1]]
    for layers in pair(*example):
        expected = layers.cost(hidden=1)[1].operations * int(np.prod(frame))
        for run in in_pytorch(layers, frame).values():
            with FlopCounterMode(display=False) as counter:
                output = run()
            assert counter.get_total_flops() == 2 * expected
            assert output.shape == (1, layers.maps, *(layers.factor * side for side in frame))


def test_openvino_runs_the_same_layers() -> None:
    """The output is the frame in the layer's space."""
    for layers in pair(36, 3, 3, 2):
        (run,) = in_openvino(layers, (5, 4)).values()
        assert np.shape(run()) == (1, layers.maps, 5 * layers.factor, 4 * layers.factor)


def test_a_ratio_says_how_much_longer_hr_space_takes() -> None:
    """Twice as long in each of nine rounds: the ratio, its bounds, and who is said to be faster."""
    times = {"LR": np.linspace(1, 2, 9), "HR": 2 * np.linspace(1, 2, 9)}
    lr, hr = cost._rows(EXAMPLES[0], "PyTorch", times)
    assert (lr["space"], lr["ms"], lr["time / LR time"]) == ("LR", 1500, 1)
    names = ("ms", "time / LR time", "at least", "at most")
    assert (hr["space"], *(hr[name] for name in names)) == ("HR", 3000, 2, 2, 2)
    first, same = cost._about_times([lr, hr])
    assert first.startswith("The layer in LR space is faster beyond chance in 1 of 1 races.")
    assert "in 0 of 1 races" in same


def test_operations_are_products_of_the_layer_s_matrix() -> None:
    """A layer is a matrix: its products are the entries that are not zero, and those on the padding."""
    for layers in pair(4, 3, 2, 1):
        size = 8 * layers.factor
        (module,) = list(layers.modules(hidden=1))[1:2]
        matrix = torch.autograd.functional.jacobian(module, torch.ones(1, layers.maps, size))
        entries = int((matrix != 0).sum())
        outside = layers.maps**2 * sum(
            not 0 <= pixel + tap - (layers.kernel_size - 1) // 2 < size
            for pixel, tap in product(range(size), range(layers.kernel_size))
        )
        assert counted(layers, hidden=1, size=8)[1].operations * 8 == entries + outside


def test_wrong_layers_are_told() -> None:
    """A kernel that is one tap larger, a map more, another space: the counts see each."""
    right = Layers("HR", 2, 6, 2, 1, 2)
    for wrong in (
        Layers("HR", 2, 7, 2, 1, 2),
        Layers("HR", 3, 6, 2, 1, 2),
        Layers("HR", 2, 6, 1, 1, 2),
        Layers("HR", 2, 6, 2, 4, 2),
    ):
        assert counted(right, hidden=1) != wrong.cost(hidden=1)
    assert counted(right, hidden=1) == right.cost(hidden=1)
    assert seen_by_gradient(right, 0, 2) != [seen**2 for seen in Layers("HR", 2, 5, 2, 1, 2).seen(2)]


def test_a_lifted_kernel_is_as_small_as_said() -> None:
    """The extent of what `lift_conv` makes of a kernel of ones, at the best of its paddings."""
    for size, r in product(range(1, 10), (2, 3)):
        extents = []
        for padding in range(r):
            taps = np.flatnonzero(lift_conv(np.ones((1, 1, size)), r, padding=padding).any(axis=(0, 1)))
            extents.append(taps[-1] - taps[0] + 1)
        assert lifted(size, r) == min(extents)


def test_pictures_say_what_they_show(result: Result) -> None:
    for picture in STUDY.draw(result):
        assert len(picture.caption) > 50
        assert all(axes.get_xlabel() for axes in picture.figure.axes)
        picture.figure.draw_without_rendering()
