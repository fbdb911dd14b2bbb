"""GLSL: a network as a user shader of mpv and libplacebo, which enlarges the luma of a video.

Each pass draws one texture: 4 channels of a layer, as r, g, b and a. The first layer reads the luma beyond
its border, where a sampler repeats the edge, and its textures reach beyond the image by as many pixels as
later layers need; those of the last layer are as large as the image. So the luma is padded once, by its edge,
and the convolutions are not: borders are as `LRNetwork` has them, where most shaders pad each layer.

References: https://libplacebo.org/custom-shaders/ and mpv's manual, on --glsl-shaders.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel import __version__
from subpixel.files import replacing
from subpixel.network import LRConvolution, LRNetwork

# That a pass may bind: mpv and libplacebo allow 16, but each takes one of OpenGL's 16 vertex attributes, and
# the position another.
MAX_TEXTURES = 15
MAX_UPSCALE_FACTOR = 7  # the shuffle reads r**2 channels, 4 a texture, in one pass
MAX_WEIGHTS = 2**18  # 3 MB of text, which a driver compiles before the first frame

_LUMA = "LUMA"
_ENLARGED = "OUTPUT.w LUMA.w > OUTPUT.h LUMA.h > *"  # in reverse Polish notation


def export(network: LRNetwork, path: str | Path) -> None:
    """Write a network as a shader for mpv and libplacebo, whole or not at all.

    The shader runs where a video is shown larger than it is. It takes the luma in the video's own range, as
    code / (2**bits - 1), and makes it r times as wide and high, clipped to 0..1. The player enlarges chroma,
    and makes the exact size.

    Args:
        network: a network of one channel.
        path: the file; it is replaced if it exists.

    Raises:
        ValueError: the network has more channels, or is too large for a shader; the message says which.
        OSError: the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from subpixel.network import load
        >>> with TemporaryDirectory() as folder:
        ...     export(load("espcn-x2"), Path(folder, "espcn-x2.glsl"))
        ...     print([file.name for file in Path(folder).iterdir()])
        ['espcn-x2.glsl']
    """
    text = shader(network)
    with replacing(Path(path)) as temporary:
        temporary.write_text(text)


def shader(network: LRNetwork) -> str:
    r"""Return a network as the text of a shader.

    Raises:
        ValueError: as `export`.

    Example:
        >>> from subpixel.network import bicubic
        >>> print(*shader(bicubic(2)).splitlines()[2:8], sep="\n")
        //!HOOK LUMA
        //!BIND LUMA
        //!SAVE SUBPIXEL_1_1
        //!COMPONENTS 4
        //!WIDTH LUMA.w 0 +
        //!HEIGHT LUMA.h 0 +
    """
    _check(network)
    return "\n\n".join([f"// {_title(network)}, written by subpixel {__version__}", *_passes(network)]) + "\n"


@dataclass(frozen=True)
class _Maps:
    """The luma, or textures of 4 channels each.

    Attributes:
        names: one a texture.
        reach: pixels beyond the image on each side.
    """

    names: tuple[str, ...]
    reach: int


@dataclass(frozen=True)
class _Read:
    """A texture that a layer reads.

    Attributes:
        name: the texture.
        reach: its pixels beyond the image on each side.
        weight: (out_channels, 1 to 4, k, k), for its channels.
    """

    name: str
    reach: int
    weight: NDArray[np.float32]


def _reads(maps: _Maps, convolution: LRConvolution) -> list[_Read]:
    weight = convolution.weight
    return [
        _Read(name, maps.reach, weight[:, 4 * index : 4 * index + 4]) for index, name in enumerate(maps.names)
    ]


def _passes(network: LRNetwork) -> Iterator[str]:
    luma = maps = _Maps((_LUMA,), 0)
    reach, skip = sum(convolution.radius for convolution in network.convolutions), network.skip_convolution
    for index, convolution in enumerate(network.convolutions, 1):
        reach -= convolution.radius
        reads = _reads(maps, convolution)
        if skip is not None and index == len(network.convolutions):
            reads += _reads(luma, skip)
        maps = _Maps(tuple(f"SUBPIXEL_{index}_{group + 1}" for group in range(_groups(convolution))), reach)
        for group in range(len(maps.names)):
            title = f"{_title(network)}: convolution {index}, channels from {4 * group + 1}"
            yield from _layer(title, convolution, reads, maps, group)
    r = network.upscale_factor
    sizes = [f"LUMA.{side} {r} *" for side in "wh"]
    yield _pass(f"{_title(network)}: shuffle", maps.names, sizes, _shuffled(maps.names, r))


def _pass(
    title: str, names: Sequence[str], sizes: Sequence[str], body: Sequence[str], saved: str | None = None
) -> str:
    """Return a pass; its result becomes the luma, unless it is saved under another name."""
    head = ["HOOK LUMA", *(f"BIND {name}" for name in names)]
    head += [] if saved is None else [f"SAVE {saved}", "COMPONENTS 4"]
    head += [f"WIDTH {sizes[0]}", f"HEIGHT {sizes[1]}", f"WHEN {_ENLARGED}", f"DESC {title}"]
    lines = [*(f"//!{line}" for line in head), "vec4 hook() {", *(f"    {line}" for line in body), "}"]
    return "\n".join(lines)


def _layer(
    title: str, convolution: LRConvolution, reads: Sequence[_Read], maps: _Maps, group: int
) -> Iterator[str]:
    """Yield the passes of 4 channels of a layer: each adds to the sum of the one before; the last activates.

    Args:
        title: what is computed.
        convolution: the bias and the activation.
        reads: what is summed up.
        maps: the result.
        group: which of its textures: channels from 4 * group.
    """
    sizes = [f"LUMA.{side} {2 * maps.reach} +" for side in "wh"]
    before: list[str] = []  # the texture that holds the sum so far
    start = _constant(_four(convolution.bias, group))
    parts = list(range(0, len(reads), MAX_TEXTURES - 1))
    for part, first in enumerate(parts, 1):
        some, last = reads[first : first + MAX_TEXTURES - 1], part == len(parts)
        body = [f"vec4 sum = {start};"]
        for index, read in enumerate(some):
            body += _products(read, group, maps.reach, f"corner_{index}")
        body.append(f"return {_activation(convolution, group) if last else 'sum'};")
        name = maps.names[group] + ("" if last else f"_SUM_{part}")
        names = dict.fromkeys([*before, *(read.name for read in some)])  # the skip may read the luma again
        yield _pass(title, list(names), sizes, body, saved=name)
        before, start = [name], f"{name}_tex({name}_pos)"


def _products(read: _Read, group: int, reach: int, corner: str) -> Iterator[str]:
    """Yield a line for each tap of a texture, and before them the centre of the first tap's pixel."""
    # Pixel 0 of the result is pixel -reach of the image, which is pixel `before` of what is read.
    before, name = read.reach - reach, read.name
    place = f"floor({name}_pos * ({name}_size + {-2.0 * before}))"
    yield f"vec2 {corner} = {place} + {before - read.weight.shape[-1] // 2 + 0.5};"
    weight = _four(read.weight, group)
    for y, x in np.ndindex(weight.shape[2:]):
        taps = weight[:, :, y, x]
        if taps.any():
            at = f"({corner} + vec2({x}.0, {y}.0)) * {name}_pt"
            yield f"sum += {_constant(taps)} * {name}_tex({at}){'.x' if taps.shape[1] == 1 else ''};"


def _shuffled(names: Sequence[str], r: int) -> list[str]:
    """Return the periodic shuffle: channel r * i + j of a pixel is the pixel of row i and column j in it."""
    first = names[0]
    return [
        f"vec2 place = floor({first}_pos * {first}_size * {r}.0);",
        f"vec2 pixel = floor((place + 0.5) / {r}.0);",
        f"ivec2 phase = ivec2(place - {r}.0 * pixel);",
        f"int channel = {r} * phase.y + phase.x;",
        f"vec2 centre = (pixel + 0.5) * {first}_pt;",
        f"vec4 phases = {first}_tex(centre);",
        *(
            f"if (channel >= {4 * index}) phases = {name}_tex(centre);"
            for index, name in enumerate(names[1:], 1)
        ),
        "return vec4(clamp(phases[channel % 4], 0.0, 1.0), 0.0, 0.0, 1.0);",
    ]


def _activation(convolution: LRConvolution, group: int) -> str:
    if convolution.slope is not None:
        slopes = np.broadcast_to(convolution.slope, convolution.bias.shape)
        return f"max(sum, 0.0) + {_constant(_four(slopes, group))} * min(sum, 0.0)"
    if convolution.activation is None:
        return "sum"
    # tanh(10) is 1 in float32; some drivers give NaN for the tanh of large numbers.
    return {"tanh": "tanh(clamp(sum, -10.0, 10.0))", "relu": "max(sum, 0.0)"}[convolution.activation]


def _four(array: NDArray[Any], group: int) -> NDArray[Any]:
    """Return four output channels; there are zeros for those that a layer does not have."""
    part = array[4 * group : 4 * group + 4]
    return np.pad(part, [(0, 4 - len(part)), *[(0, 0)] * (array.ndim - 1)])


def _constant(values: NDArray[np.float32]) -> str:
    """Return a vec4 of four outputs, or a mat4, column by column, of four outputs and up to four inputs."""
    columns = values.reshape(4, -1)
    kind = "vec4" if columns.shape[1] == 1 else "mat4"
    if kind == "mat4":
        columns = np.pad(columns, [(0, 0), (0, 4 - columns.shape[1])])
    return f"{kind}({', '.join(map(str, columns.T.ravel()))})"  # the fewest digits that tell a float32


def _groups(convolution: LRConvolution) -> int:
    return -(-len(convolution.bias) // 4)


def _title(network: LRNetwork) -> str:
    """Return the network's name; a character that could end a line or begin a directive becomes "_"."""
    return re.sub(r"[^A-Za-z0-9 ._-]", "_", network.name)


def _check(network: LRNetwork) -> None:
    if network.channels != 1:
        raise ValueError(
            f"a shader enlarges luma, so the network must have one channel; got {network.channels}. "
            "Export it to ONNX."
        )
    if network.upscale_factor > MAX_UPSCALE_FACTOR:
        raise ValueError(
            f"a shader must enlarge by at most {MAX_UPSCALE_FACTOR}; got {network.upscale_factor}. "
            "Export the network to ONNX."
        )
    if network.parameters > MAX_WEIGHTS:
        raise ValueError(
            f"a shader must have at most {MAX_WEIGHTS} weights; got {network.parameters}. "
            "Export the network to ONNX."
        )
