"""The note's figures: what they draw, against the definition of each layer written out in NumPy."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray

from subpixel.geometry import Axis
from subpixel.studies.figures import IMAGE, SIGNAL, STUDY, UNEVEN_IMAGE, UNEVEN_SIGNAL, images, signals
from subpixel.studies.figures.example import Example, matrix_of
from subpixel.studies.lab import page
from subpixel.studies.lab.bench import Bench
from subpixel.studies.lab.canvas import Canvas
from subpixel.studies.lab.palette import PHASES, STYLE
from subpixel.studies.lab.samples import Samples
from subpixel.studies.lab.study import Result

EXAMPLES = [
    Example.of(axis, ndim, 4, seed=3)
    for axis in (Axis(4, 2, 2), Axis(3, 2, 1, 1), Axis(9, 3, 3), Axis(2, 3), Axis(5, 1, 2))
    for ndim in (1, 2)
]


def scatter(example: Example) -> NDArray[np.float64]:
    """The transposed convolution by its definition: each LR pixel adds the reversed kernel, times itself."""
    axis, x, kernel = example.axis, example.x.numpy(), np.flip(example.kernel.numpy())
    size = axis.output_size(len(x))
    full = np.zeros([size + 2 * axis.padding] * x.ndim)
    for n in np.ndindex(*x.shape):
        window = tuple(slice(i * axis.stride, i * axis.stride + axis.kernel_size) for i in n)
        full[window] += x[n] * kernel
    return full[(slice(axis.padding, axis.padding + size),) * x.ndim]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    bench = Bench(quick=True, samples=Samples(), folder=tmp_path_factory.mktemp("trials"))
    return STUDY.compute(bench)


def test_all_that_must_hold_holds(result) -> None:
    """Each figure has a check and at least two rows in the table, with the same columns."""
    assert all(result.checks.values())
    assert {row["figure"] for row in result.table} == {
        "Figures 2, 3a",
        "Figure 3b",
        "Section 2",
        *(f"Figure {number}" for number in (4, 5, 6, 7)),
    }
    assert len({tuple(row) for row in result.table}) == 1
    assert len(result.findings) == 2


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.axis}, {e.ndim}-D")
def test_every_way_gives_the_scatter(example) -> None:
    """The transposed, the sub-pixel and the LR convolution give what the definition gives, to 1e-12."""
    expected = scatter(example)
    for way in (example.output, example.sub_pixel_output, example.shuffled):
        np.testing.assert_allclose(way, expected, rtol=0, atol=1e-12)
    wrong = example.reversed()
    if example.axis.kernel_size > 1:
        assert np.abs(wrong.shuffled.numpy() - expected).max() > 1e-3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.axis}, {e.ndim}-D")
def test_a_tap_has_the_phase_at_which_it_meets_a_pixel(example) -> None:
    """The taps that change an HR pixel, found by changing the LR pixels, have the phase of that HR pixel."""
    assert int(example.tap_phases.min()) >= 0
    for place in np.ndindex(*example.output.shape):
        expected = np.zeros(example.kernel.shape, bool)
        for taps in np.ndindex(*example.kernel.shape):
            # Tap t reads sub-pixel h + t - (k - 1 - p), and each r-th sub-pixel is an LR pixel.
            shift = example.axis.padding - example.axis.kernel_size + 1
            read = [divmod(h + t + shift, example.axis.stride) for h, t in zip(place, taps, strict=True)]
            expected[taps] = all(0 <= n < len(example.x) and not between for n, between in read)
        np.testing.assert_array_equal(example.active(place), expected)
        assert set(example.tap_phases[expected].tolist()) <= {int(example.hr_phases[place])}


def test_the_notes_numbers() -> None:
    """What section 2 says of f = (1, 2, 3, 4) and of f = (1, 2, 3), and the sizes of figures 2 to 7."""
    taps = [[phase.weight.flatten().tolist() for phase in e.phases] for e in (SIGNAL, UNEVEN_SIGNAL)]
    assert taps == [[[2, 4], [1, 3]], [[2], [1, 3]]]
    assert (len(SIGNAL.x), len(SIGNAL.kernel), len(SIGNAL.output)) == (5, 4, 8)
    assert (IMAGE.x.shape, IMAGE.kernel.shape, IMAGE.output.shape) == ((4, 4), (4, 4), (8, 8))
    assert [
        (tuple(p.weight.shape), tuple(m.shape)) for p, m in zip(IMAGE.phases, IMAGE.maps, strict=True)
    ] == [((1, 1, 2, 2), (4, 4))] * 4
    assert [p.weight.numel() for p in UNEVEN_IMAGE.phases] == [1, 2, 2, 4]


def test_a_matrix_is_its_operator() -> None:
    """Each column is what a unit vector becomes."""
    matrix = np.arange(6.0).reshape(2, 3)
    operator = lambda x: x @ x.new_tensor(matrix).T  # noqa: E731
    np.testing.assert_array_equal(matrix_of(operator, 3), matrix)


def test_pictures(result) -> None:
    """Nine pictures with captions; in figure 7 each coloured cell has its number and its phase."""
    with mpl.rc_context(STYLE):
        pictures = {picture.name: picture for picture in STUDY.draw(result)}
    assert len(pictures) == 9
    assert all(len(picture.caption) > 60 for picture in pictures.values())
    words = [text.get_text() for text in pictures["figure-7"].figure.axes[0].texts]
    hr = scatter(IMAGE)
    assert {f"{value:g}" for value in hr.ravel()} <= set(words)
    for phase in range(4):  # a channel, number by number, each with its phase
        channel = hr[..., phase // 2 :: 2, phase % 2 :: 2].ravel()
        assert " ".join(f"{value:g} {phase}" for value in channel) in " ".join(words)
    cells = IMAGE.kernel.numel() + 2 * IMAGE.output.numel()  # of the kernels, the four channels, the HR image
    numbers = [int(word) for word in words if word.isdecimal()]
    assert len(numbers) == 2 * cells + 6 * 6  # each with its phase; the LR image and its border


@pytest.mark.parametrize("axis", [Axis(5, 3, 1), Axis(2, 3), Axis(5, 1, 2)], ids=str)
def test_any_layer_can_be_drawn(axis) -> None:
    """Kernels larger and smaller than the factor, more phases than colours, one phase alone."""
    signal, image = Example.of(axis, 1, 5), Example.of(axis, 2, 3)
    for draw in (signals.strided_convolution, signals.transposed_and_sub_pixel):
        assert draw(signal).axes[0].texts
    assert signals.phase_filters([signal]).axes[0].texts
    for draw in (images.zero_insertion, images.active_weights, images.full_view, images.lr_convolution):
        assert draw(image).axes[0].texts


def test_a_cell_says_its_number_and_its_phase() -> None:
    """Colours repeat after nine phases; the number beside tells them apart."""
    canvas = Canvas(12, 3)
    canvas.cells(0, 0, np.arange(100, 110), np.arange(10))
    (axes,) = canvas.figure.axes
    assert [text.get_text() for text in axes.texts] == [t for i in range(10) for t in (str(100 + i), str(i))]
    fills = [tuple(fill) for fill in axes.collections[0].get_facecolor()]
    assert fills[:9] == [mpl.colors.to_rgba(colour) for colour in PHASES]
    assert fills[9] == fills[0]


def test_the_files_are_small(result, tmp_path: Path) -> None:
    """A page with its pictures is written without a warning, and none is too large for it."""
    page.write(STUDY, result, tmp_path, command="", seconds=1, data="")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert all(size < (500e3 if name.endswith("svg") else 1e6) for name, size in sizes.items())
