"""Figures 4 to 7: images, one channel in, one channel out."""

from itertools import product

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.studies.figures.example import Example
from subpixel.studies.lab.canvas import BORDER, INSERTED, PIXEL, Canvas, colour

with needing("study"):
    from matplotlib.figure import Figure

_EDGE = 0.6  # cells around a drawing
_HEAD = 2.2  # cells for a heading and its note
_GAP = 2.2  # cells between two things, with an arrow


def zero_insertion(example: Example) -> Figure:
    """Draw figure 4: the LR image, and the sub-pixel image that is made of it."""
    lr, hr = len(example.x), len(example.sub_pixels)
    canvas = Canvas(2 * _EDGE + lr + _GAP + 1 + hr, _HEAD + hr + _EDGE)
    left, right = _EDGE, _EDGE + lr + _GAP + 1
    top = _HEAD + (hr - lr) / 2
    canvas.title(left, top, "LR image", f"{lr} x {lr}")
    canvas.cells(left, top, example.x, PIXEL)
    canvas.arrow((left + lr + 0.5, top + lr / 2), (right - 0.5, top + lr / 2))
    canvas.title(right, _HEAD, "Sub-pixel image", f"{hr} x {hr}")
    canvas.cells(right, _HEAD, example.sub_pixels, example.kinds)
    return canvas.figure


def active_weights(example: Example) -> Figure:
    """Draw figure 5: the kernel at r x r neighbouring positions, and which weights meet an LR pixel there."""
    k, r = example.axis.kernel_size, example.axis.stride
    side = k + r + 1
    pitch = side + 2.4
    canvas = Canvas(2 * _EDGE + r * pitch + k + 0.5, _HEAD + r * pitch - 2.4 + _EDGE)
    first = r * (len(example.x) // 2) - r  # in the middle
    view = slice(max(first - 1, 0), max(first - 1, 0) + side)
    for position in product(range(r), repeat=2):
        number, (row, column) = int(example.hr_phases[position]), position
        left, top = _EDGE + column * pitch, _HEAD + row * pitch
        values, kinds = example.sub_pixels.clone().numpy(), example.kinds.copy()
        window = tuple(slice(first + index, first + index + k) for index in position)
        active = example.active(tuple(first + index for index in position)).numpy()
        values[window] = example.kernel
        kinds[window] = np.where(active, number, INSERTED)
        canvas.title(left, top, f"Phase {number}", f"for HR pixel ({first + row}, {first + column})")
        canvas.cells(left, top, values[view, view], kinds[view, view])
        canvas.frame(
            left + window[1].start - view.start, top + window[0].start - view.start, k, k, colour(number)
        )
    left, top = _EDGE + r * pitch, _HEAD + (r * pitch - 2.4 - k) / 2
    canvas.title(left, top, "Kernel", "and its phases")
    canvas.cells(left, top, example.kernel, example.tap_phases)
    return canvas.figure


def full_view(example: Example) -> Figure:
    """Draw figure 6: sub-pixel image, kernel and HR image, and the kernel taken apart."""
    k, hr, out = example.axis.kernel_size, len(example.sub_pixels), len(example.output)
    apart = _block(example)
    height = max(hr, k + _HEAD + apart)
    middle = _EDGE + hr + _GAP
    right = middle + max(k, apart) + _GAP
    canvas = Canvas(right + out + _EDGE, _HEAD + height + _EDGE)
    first, second, last = (_HEAD + (height - size) / 2 for size in (hr, k + _HEAD + apart, out))
    canvas.title(_EDGE, first, "Sub-pixel image", _shape(1, hr, hr))
    canvas.cells(_EDGE, first, example.sub_pixels, example.kinds)
    canvas.text(middle - _GAP / 2, second + k / 2, "*", size=20)
    canvas.title(middle, second, "Kernel", _shape(1, 1, k, k))
    canvas.cells(middle, second, example.kernel, example.tap_phases)
    canvas.title(middle, second + k + _HEAD, "Taken apart", _kernel_shape(example))
    _draw_kernels(canvas, example, middle, second + k + _HEAD)
    canvas.arrow((right - _GAP + 0.3, second + k / 2), (right - 0.3, second + k / 2))
    canvas.title(right, last, "HR image", _shape(1, out, out))
    canvas.cells(right, last, example.output, example.hr_phases)
    chosen = example.axis.stride * ((len(example.x) - 1) // 2)
    canvas.frame(_EDGE + chosen, first + chosen, k, k, "black")
    canvas.frame(right + chosen, last + chosen, 1, 1, "black")
    return canvas.figure


def lr_convolution(example: Example) -> Figure:
    """Draw figure 7: the LR image, the phase kernels, what each makes of it, and the periodic shuffle."""
    r, lr, out = example.axis.stride, len(example.x), len(example.output)
    low, high = example.pads
    padded = lr + low + high
    rows = len(example.maps[0])
    pitch, apart = rows + 1, _block(example)
    middle = _EDGE + max(padded, apart) + _GAP
    right = middle + r * pitch - 1 + _GAP
    height = max(padded + _HEAD + apart, r * pitch - 1, out)
    canvas = Canvas(right + out + _EDGE, _HEAD + height + _EDGE)
    first, second, last = (
        _HEAD + (height - size) / 2 for size in (padded + _HEAD + apart, r * pitch - 1, out)
    )
    half, chosen = _HEAD + height / 2, (lr - 1) // 2
    canvas.title(_EDGE, first, "LR image", _shape(1, lr, lr))
    canvas.cells(_EDGE, first, *_bordered(example))
    _frame_windows(canvas, example, _EDGE + low + chosen, first + low + chosen)
    canvas.title(_EDGE, first + padded + _HEAD, "Phase kernels", _kernel_shape(example))
    _draw_kernels(canvas, example, _EDGE, first + padded + _HEAD)
    canvas.arrow((middle - _GAP + 0.3, half), (middle - 0.3, half))
    canvas.text(middle - _GAP / 2, half - 0.5, "convolve", size=9)
    canvas.title(middle, second, "LR convolution", _shape(len(example.maps), rows, rows))
    for number, (row, column) in enumerate(product(range(r), repeat=2)):
        left, top = middle + column * pitch, second + row * pitch
        canvas.cells(left, top, example.maps[number], number)
        canvas.frame(left + chosen, top + chosen, 1, 1, "black")
    canvas.arrow((right - _GAP + 0.3, half), (right - 0.3, half))
    canvas.text(right - _GAP / 2, half - 0.5, "shuffle", size=9)
    canvas.title(right, last, "HR image", _shape(1, out, out))
    canvas.cells(right, last, example.output, example.hr_phases)
    canvas.frame(right + r * chosen, last + r * chosen, r, r, "black")
    return canvas.figure


def _frame_windows(canvas: Canvas, example: Example, left: float, top: float) -> None:
    """Frame an LR pixel, whose place is given, and what each phase kernel reads for it."""
    for number, phase in enumerate(example.phases):
        inset = 0.05 + 0.22 * number / len(example.phases)  # so that no frame hides another
        if phase.weight.numel():
            height, width = (size - 2 * inset for size in phase.weight.shape[2:])
            y, x = (inset - axis.pad[0] for axis in phase.axes)
            canvas.frame(left + x, top + y, width, height, colour(number))
    canvas.frame(left, top, 1, 1, "black")


def _shape(*sizes: int) -> str:
    return f"({', '.join(map(str, sizes))})"


def _kernel_shape(example: Example) -> str:
    """Return the shape of the phase kernels; that of the largest, where they differ."""
    shapes = [phase.weight.shape[2:] for phase in example.phases]
    largest = _shape(len(shapes), 1, *max(shapes))
    return largest if len(set(shapes)) == 1 else f"up to {largest}"


def _block(example: Example) -> int:
    """Return the side of the phase kernels, laid out as their phases lie."""
    sizes = [max(1, phase.weight.shape[-1]) for phase in example.phases[: example.axis.stride]]
    return sum(sizes) + len(sizes) - 1


def _draw_kernels(canvas: Canvas, example: Example, left: float, top: float) -> None:
    r = example.axis.stride
    sides = [max(1, phase.weight.shape[-1]) for phase in example.phases[:r]]
    starts = [sum(sides[:index]) + index for index in range(r)]
    for number, (row, column) in enumerate(product(range(r), repeat=2)):
        weight = example.phases[number].weight
        if weight.numel():
            canvas.cells(left + starts[column], top + starts[row], weight[0, 0], number)


def _bordered(example: Example) -> tuple[NDArray[np.float64], NDArray[np.int_]]:
    values = np.pad(example.x.numpy(), example.pads)
    return values, np.pad(np.full(example.x.shape, PIXEL), example.pads, constant_values=BORDER)
