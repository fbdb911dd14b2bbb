"""Figures 2 and 3 and the two filters at the end of section 2: signals of one dimension."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.figures.example import Example, matrix_of
from subpixel.studies.lab.canvas import BORDER, IDLE, INSERTED, PIXEL, Canvas, colour

with needing("study"):
    import torch
    from matplotlib.figure import Figure
    from torch import Tensor
    from torch.nn import functional as F  # noqa: N812 (its usual name)

_EDGE = 0.6  # cells around a drawing
_HEAD = 2.2  # cells for a heading and its note
_FALL = 4  # cells between two signals, for the arrows
_PITCH = 1.6  # cells from one phase to the next
_LABEL = 0.17  # share of an arrow from its HR end to its label: arrows cross further on


def strided_convolution(example: Example) -> Figure:
    """Draw figure 2: the convolution whose transpose an example is, as arrows and as a matrix."""
    r, p, f = example.axis.stride, example.axis.padding, example.weight
    size, full = len(example.output), _full(example)
    x = example.output.new_tensor([1 + 2 * index % 5 for index in range(size)])
    padded = F.pad(x, (p, p))
    y = F.conv1d(x[None, None], f, stride=r, padding=p)[0, 0]
    canvas = Canvas(2 * full + 6, _HEAD + max(_FALL + 2, len(y) + 1.5) + _EDGE)
    left = _EDGE
    canvas.title(
        left, _HEAD, f"Convolution, stride {r}", f"x of {size}, zeros around it, f = {_listed(f[0, 0])}"
    )
    canvas.cells(left, _HEAD, padded, _hr_kinds(example))
    canvas.cells_apart(left + _middle(example), _HEAD + 1 + _FALL, y, PIXEL, r)
    _link(canvas, example, left, _HEAD + 1, _HEAD + 1 + _FALL, upwards=True)
    left += full + 2.2
    canvas.title(left, _HEAD, "Its matrix", f"each row is f, {r} further than the row before")
    canvas.cells(left, _HEAD, padded, _hr_kinds(example))
    matrix = matrix_of(lambda x: F.conv1d(x, f, stride=r), full)
    _draw_matrix(canvas, left, matrix, _hr_kinds(example)[None], y, np.full(len(y), PIXEL))
    return canvas.figure


def transposed_and_sub_pixel(example: Example) -> Figure:
    """Draw figure 3: the transposed and the sub-pixel convolution by one filter."""
    full, spread, size = _full(example), len(example.sub_pixels), len(example.output)
    low = _HEAD + _FALL + 2 + _HEAD + 0.8
    canvas = Canvas(full + spread + 5.8, low + 1.5 + max(full, size + _HEAD + 1.8) + _EDGE)
    _draw_transposed(canvas, example, _EDGE, low)
    _draw_sub_pixel(canvas, example, _EDGE + full + 2.4, low)
    return canvas.figure


def _draw_transposed(canvas: Canvas, example: Example, left: float, low: float) -> None:
    r, x, f = example.axis.stride, example.x, example.kernel
    reversed_ = example.reversed()  # its transposed convolution has the filter as it is
    kinds = _hr_kinds(example)

    def transpose(signal: Tensor) -> Tensor:
        full = F.conv_transpose1d(signal, reversed_.weight, stride=r)
        return F.pad(full, (0, example.axis.output_padding))

    y = transpose(x[None, None])[0, 0]
    canvas.title(
        left, _HEAD, f"(a) Transposed convolution, stride {r}", f"each pixel stamps f = {_listed(f)}"
    )
    canvas.cells_apart(left + _middle(example), _HEAD, x, PIXEL, r)
    canvas.cells(left, _HEAD + 1 + _FALL, y, kinds)
    _link(canvas, reversed_, left, _HEAD + 1 + _FALL, _HEAD + 1, upwards=False)
    canvas.title(left, low, "Its matrix", "figure 2's, transposed; grey rows are cropped")
    canvas.cells(left, low, x, PIXEL)
    _draw_matrix(canvas, left, matrix_of(transpose, len(x)), kinds[:, None], y, kinds, top=low)


def _draw_sub_pixel(canvas: Canvas, example: Example, left: float, low: float) -> None:
    r, f, phases = example.axis.stride, example.kernel, example.hr_phases
    canvas.title(
        left,
        _HEAD,
        f"(b) Sub-pixel convolution, stride 1/{r}",
        f"zeros between pixels, then f = {_listed(f)}",
    )
    canvas.cells(left, _HEAD, example.sub_pixels, example.kinds)
    canvas.cells(left + _middle(example), _HEAD + 1 + _FALL, example.output, phases)
    for h, phase in enumerate(phases):
        for t in np.flatnonzero(example.active((h,))):
            start = left + h + t + 0.5, _HEAD + 1
            end = left + _middle(example) + h + 0.5, _HEAD + 1 + _FALL
            canvas.arrow(start, end, colour(phase), label=f"{f[t]:g}", at=1 - _LABEL)
    canvas.title(left, low, "Its matrix", "each row is f, which meets zeros where it is grey")
    canvas.cells(left, low, example.sub_pixels, example.kinds)
    matrix = matrix_of(lambda x: F.conv1d(x, f[None, None]), len(example.sub_pixels))
    met = np.where(example.originals, phases[:, None], INSERTED)
    _draw_matrix(canvas, left, matrix, met, example.output, phases, top=low)
    below = low + 1.5 + len(phases) + _HEAD + 0.3
    other = example.reversed()
    canvas.title(
        left, below, f"(b) with f = {_listed(other.kernel)}", "the indices reversed: the output of (a)"
    )
    canvas.cells(left, below, other.sub_pixel_output, phases)


def phase_filters(examples: Sequence[Example]) -> Figure:
    """Draw LR convolutions of signals: a filter taken apart by phase, what each part makes, the shuffle."""
    heights = [_HEAD + _PITCH * (1 + len(example.phases)) + 0.8 for example in examples]
    taps = max(len(example.kernel) for example in examples)
    signal = max(len(example.x) + sum(example.pads) for example in examples)
    canvas = Canvas(
        2 * _EDGE + taps + signal + 3.6 + max(len(e.output) for e in examples), sum(heights) + 0.4
    )
    top = 0.0
    for example, height in zip(examples, heights, strict=True):
        _draw_phases(canvas, example, top + _HEAD, _EDGE + taps + 1.4, _EDGE + taps + signal + 3.4)
        top += height
    return canvas.figure


def _draw_phases(canvas: Canvas, example: Example, top: float, middle: float, right: float) -> None:
    """Draw one filter: its parts at the left edge, the LR pixels in the middle, the outputs on the right."""
    r, pads = example.axis.stride, example.pads
    last = top + _PITCH * (1 + len(example.phases))
    canvas.title(_EDGE, top, f"f = {_listed(example.kernel)}")
    canvas.cells(_EDGE, top, example.kernel, example.tap_phases)
    canvas.title(middle, top + _PITCH, "LR signal")
    canvas.title(right, top + _PITCH, "An output for each phase, shuffled")
    for number, (phase, values) in enumerate(zip(example.phases, example.maps, strict=True)):
        row = top + _PITCH * (number + 1)
        for t in np.flatnonzero(example.tap_phases == number):
            canvas.cells(_EDGE + t, row, [example.kernel[t]], number)
        (axis,) = phase.axes
        kinds = F.pad(torch.full_like(example.x, PIXEL), axis.pad, value=BORDER)
        canvas.text(middle - 0.7, row + 0.5, "*", size=14)
        canvas.cells(middle + pads[0] - axis.pad[0], row, F.pad(example.x, axis.pad), kinds)
        canvas.text(right - 0.8, row + 0.5, "=", size=14)
        for h in range(number, len(example.output), r):
            canvas.cells(right + h, row, [values[h // r]], number)
            canvas.arrow((right + h + 0.5, row + 1), (right + h + 0.5, last), colour(number))
    canvas.cells(right, last, example.output, example.hr_phases)


def _draw_matrix(
    canvas: Canvas,
    left: float,
    matrix: Tensor,
    kinds: NDArray[np.int_],
    y: Tensor,
    y_kinds: NDArray[np.int_],
    *,
    top: float = _HEAD,
) -> None:
    """Draw a matrix below its input, and its output beside it; zeros are left blank."""
    top, (rows, columns) = top + 1.5, matrix.shape
    values = np.where(matrix == 0, np.nan, matrix)
    canvas.cells(left, top, values, np.where(matrix == 0, IDLE, kinds))
    canvas.text(left + columns + 0.5, top + rows / 2, "=", size=14)
    canvas.cells(left + columns + 1, top, y[:, None], y_kinds[:, None])


def _link(canvas: Canvas, example: Example, left: float, hr: float, lr: float, *, upwards: bool) -> None:
    """Draw an arrow between each LR pixel and the HR positions that its taps reach, from HR if `upwards`."""
    kinds, r = _hr_kinds(example), example.axis.stride
    for n in range(len(example.x)):
        for t, tap in enumerate(example.weight[0, 0]):
            kind = kinds[n * r + t]
            above, below = (left + n * r + t + 0.5, hr), (left + n * r + _middle(example) + 0.5, lr)
            start, end, at = (above, below, _LABEL) if upwards else (below, above, 1 - _LABEL)
            canvas.arrow(start, end, colour(kind) if kind >= 0 else "#BBBBBB", label=f"{tap:g}", at=at)


def _full(example: Example) -> int:
    """Return the HR positions before the output is cropped."""
    return len(example.output) + 2 * example.axis.padding


def _middle(example: Example) -> float:
    """Return how far a cell is shifted to stand in the middle of the filter."""
    return (example.axis.kernel_size - 1) / 2


def _hr_kinds(example: Example) -> NDArray[np.int_]:
    return np.pad(example.hr_phases, example.axis.padding, constant_values=BORDER)


def _listed(f: Tensor) -> str:
    return f"({', '.join(f'{tap:g}' for tap in f)})"
