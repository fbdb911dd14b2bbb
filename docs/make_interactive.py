"""Write docs/interactive.html, one layer in three forms, one file: python docs/make_interactive.py.

The sources are in docs/interactive/. All numbers on the page are computed here, by `subpixel.geometry` and
`subpixel.kernels`; the page's script draws them, and does no arithmetic on weights or pixels.
"""

import json
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from subpixel.geometry import Axis
from subpixel.kernels import lr_to_transposed, transposed_to_lr, transposed_to_phases, transposed_to_sub_pixel
from subpixel.nn import icnr_
from subpixel.studies.lab.palette import PHASES

SOURCES = Path(__file__).with_name("interactive")
INPUT = np.array([3, 1, 4, 2])
FACTORS, SIZES = (2, 3, 4), range(2, 10)
DRAWS = 4  # random starts to choose from


def page() -> str:
    """Return the page: the template with the style, the numbers, the PyTorch code and the script in it."""
    style = (SOURCES / "style.css").read_text() + "".join(map(_colour, range(len(PHASES)), PHASES))
    script = (SOURCES / "page.js").read_text()
    parts = {
        "style-hash": _hash(style),
        "script-hash": _hash(script),
        "style": style,
        "script": script,
        "numbers": json.dumps(numbers(), separators=(",", ":")),
        "code": (SOURCES / "equal.py").read_text().replace("&", "&amp;").replace("<", "&lt;"),
    }
    text = (SOURCES / "template.html").read_text()
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def numbers() -> dict[str, Any]:
    """Return the numbers of the page: the input, and every layer by its name "r,k,p"."""
    layers = {f"{axis.stride},{axis.kernel_size},{axis.padding}": layer(axis) for axis in geometries()}
    return {"input": INPUT.tolist(), "layers": layers}


def geometries() -> Iterator[Axis]:
    """Yield the layers to choose from; no padding crops more than half the kernel."""
    for factor in FACTORS:
        for size in SIZES:
            for padding in range(size // 2 + 1):
                yield Axis(size, factor, padding)


def layer(axis: Axis) -> dict[str, Any]:
    """Return one layer in its three forms, and its checkerboards.

    The taps are those of the note, f = (1, 2, 3, ...). So a weight also tells its tap, w[t] = t + 1, and a 0
    in a phase kernel is a zero that was added.
    """
    weight = np.arange(1, axis.kernel_size + 1)[None, None]
    lr = axis.lr("aligned")
    kernels = transposed_to_lr(weight, (axis,), form="aligned")[:, 0]
    padded = np.pad(INPUT, lr.pad)
    maps = kernels @ np.lib.stride_tricks.sliding_window_view(padded, lr.taps).T
    output = maps.T.ravel()[: axis.output_size(INPUT.size)]
    return {
        "window": transposed_to_sub_pixel(weight)[0, 0].tolist(),
        "signal": _signal(axis),
        "tap_phases": _tap_phases(axis),
        "output": [_pixel(index, kernels, lr.pad[0]) | {"y": int(y)} for index, y in enumerate(output)],
        "lr": {"taps": lr.taps, "lead": lr.lead, "low": lr.pad[0], "high": lr.pad[1]},
        "kernels": kernels.tolist(),
        "maps": maps.tolist(),
        "starts": [[start(axis, draw, icnr=icnr) for draw in range(DRAWS)] for icnr in (False, True)],
    }


def _signal(axis: Axis) -> list[int]:
    """Return the zero-inserted, padded input as indices of pixels; -1 is a zero."""
    around = axis.kernel_size - 1 - axis.padding
    inserted = np.full(axis.stride * (INPUT.size - 1) + 1, -1)
    inserted[:: axis.stride] = range(INPUT.size)
    return np.pad(inserted, around, constant_values=-1).tolist()


def _tap_phases(axis: Axis) -> list[int]:
    """Return the phase of each tap."""
    taps = np.arange(axis.kernel_size)[None, None]
    phases = (phase.weight.ravel() for phase in transposed_to_phases(taps, (axis,)))
    owner = {int(tap): index for index, phase in enumerate(phases) for tap in phase}
    return [owner[tap] for tap in range(axis.kernel_size)]


def _pixel(index: int, kernels: np.ndarray, low: int) -> dict[str, Any]:
    """Return where the shuffle finds an output pixel, and its products.

    A product is of pixel n and tap t, which has the place s in the phase kernel: (n, t, s, product).
    """
    row, phase = divmod(index, len(kernels))
    met = [(row + place - low, int(weight), place) for place, weight in enumerate(kernels[phase])]
    products = [
        (n, weight - 1, place, weight * int(INPUT[n]))
        for n, weight, place in met
        if weight and 0 <= n < INPUT.size
    ]
    return {"phase": phase, "row": row, "products": products}


def start(axis: Axis, draw: int, *, icnr: bool) -> dict[str, Any]:
    """Return what the layer does to a flat image in 2-D when it starts at random, phase by phase.

    `icnr` starts all phase kernels equal. They have K = ceil(k / r) taps each, so that this layer's kernel
    has K*r taps, k or some more.

    Returns:
        size, the kernel's; the phase of each tap along one axis; how many taps each of the r*r phases has,
        and their sum.
    """
    size = axis.kernel_size
    if icnr:
        size = axis.lr("compact").taps * axis.stride
        axis = Axis(size, axis.stride, axis.padding)
    phases = transposed_to_phases(initial_weight(axis, draw, icnr=icnr), (axis, axis))
    return {
        "size": size,
        "tap_phases": _tap_phases(axis),
        "taps": [phase.weight.size for phase in phases],
        "sums": [round(float(phase.weight.sum()), 3) for phase in phases],
    }


def initial_weight(axis: Axis, draw: int, *, icnr: bool) -> np.ndarray:
    """Return a random kernel (1, 1, k, k): each tap by itself as in PyTorch, or all phase kernels alike."""
    generator = np.random.default_rng(draw)

    def uniform(weight: np.ndarray | torch.Tensor) -> None:
        bound = weight.shape[-1] ** -1.0  # PyTorch's 1 / sqrt(fan in), for one channel
        weight[...] = torch.asarray(generator.uniform(-bound, bound, tuple(weight.shape)))

    if not icnr:
        weight = torch.empty(1, 1, axis.kernel_size, axis.kernel_size, dtype=torch.float64)
        uniform(weight)
        return weight.numpy()
    taps = axis.kernel_size // axis.stride
    phases = torch.empty(axis.stride**2, 1, taps, taps, dtype=torch.float64)
    return lr_to_transposed(icnr_(phases, axis.stride, uniform).numpy(), axis.stride)


def _colour(index: int, colour: str) -> str:
    """Return the style of a phase: its colour, and the ink that is read best on it."""
    return f".f{index}{{--c:{colour};--ink:{'#000' if _luminance(colour) > 0.179 else '#fff'}}}\n"


def _luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2; black and white are read equally well on 0.179."""
    codes = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def _hash(text: str) -> str:
    """Return the hash by which the page's policy knows a style or a script."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


if __name__ == "__main__":
    Path(__file__).with_name("interactive.html").write_text(page())
