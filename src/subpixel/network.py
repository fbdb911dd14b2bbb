"""An LR network as data: convolutions, activations, an optional image skip, a periodic shuffle.

Engines run it, `subpixel.models` exports it, a safetensors file holds it. Its convolutions are not padded: a
network of *radius* m reads a plane of (h + 2m, w + 2m) pixels and writes one of (r*h, r*w), so a tile with m
pixels of context gives exactly the pixels of the whole image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from reprlib import repr as brief
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from subpixel.kernels import interpolation_to_lr

Activation = Literal["tanh", "relu", "leaky_relu", "prelu"]
Skip = Literal["nearest", "bicubic"]

Tensors = dict[str, NDArray[Any]]

_PARTS = ("weight", "bias", "slope")
FORMAT = "subpixel-lr-network-1"

# What a stranger's file may ask for: generous for real time, far from exhausting a machine.
MAX_UPSCALE_FACTOR = 16
MAX_CONVOLUTIONS = 128
MAX_CHANNELS = 1024
MAX_KERNEL_SIZE = 31
MAX_RADIUS = 128
MAX_CONTEXT = 2**15  # the radius times the channels of the widest layer: a tile's context has so much memory
MAX_MAGNITUDE = 1e6
MAX_BIAS = (
    MAX_MAGNITUDE * MAX_CHANNELS * MAX_KERNEL_SIZE**2
)  # what a shift of 1 adds, see `LRNetwork.shifted`
MAX_NAME = 64
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, eq=False)
class LRConvolution:
    """An unpadded convolution in LR space, and the activation that follows it.

    Attributes:
        weight: (out_channels, in_channels, k, k), float32, k odd.
        bias: (out_channels,), float32.
        activation: the function that follows; None is the identity.
        slope: the slope for negative input, (1,) for `leaky_relu` and (out_channels,) for `prelu`.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    activation: Activation | None = None
    slope: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check_convolution(self)
        for array in (self.weight, self.bias, self.slope):
            if array is not None:
                array.setflags(write=False)

    @property
    def radius(self) -> int:
        """Pixels of context that an output pixel needs on each side: (k - 1) / 2."""
        return cast(int, self.weight.shape[-1] // 2)


@dataclass(frozen=True, eq=False)
class LRNetwork:
    """A network whose every convolution runs in low-resolution space; a periodic shuffle makes its output.

    Planes are float32 with 0..1 for the 8-bit codes 0..255; a network of one channel takes Y of BT.601 in
    studio range (16..235), one of three takes R, G, B.

    Attributes:
        upscale_factor: r; the last convolution has channels * r**2 outputs, channel-major as PyTorch's
            `pixel_shuffle`.
        convolutions: at least one; each takes the output of the one before, and the last has no activation.
        skip: how the image itself is enlarged and added before the shuffle; None for no skip.
        metadata: facts about the network: its name, how it was trained, the PSNR that was measured.

    Raises:
        ValueError: the parts do not fit each other, are not finite, or exceed the bounds of this module.

    Example:
        >>> network = bicubic(3)
        >>> network.radius, network.macs_per_lr_pixel
        (2, 225)

    References: Shi et al. 2016 (arXiv:1609.05158), section 3.
    """

    upscale_factor: int
    convolutions: tuple[LRConvolution, ...]
    skip: Skip | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_network(self)

    @property
    def name(self) -> str:
        """The name in the metadata; "unnamed" where there is none, or none that a terminal can print."""
        name = str(self.metadata.get("name", ""))
        return name if name.isprintable() and 0 < len(name) <= MAX_NAME else "unnamed"

    @property
    def channels(self) -> int:
        """Channels of the image: 1 for Y, 3 for R, G, B."""
        return cast(int, self.convolutions[0].weight.shape[1])

    @property
    def radius(self) -> int:
        """LR pixels of context that an output pixel may depend on, on each side."""
        reach = sum(convolution.radius for convolution in self.convolutions)
        return max(reach, 0 if (skip := self.skip_convolution) is None else skip.radius)

    @property
    def width(self) -> int:
        """Channels of the widest layer; the image and the output before the shuffle count as layers."""
        return cast(int, max(max(convolution.weight.shape[:2]) for convolution in self.convolutions))

    @property
    def margin(self) -> int:
        """LR pixels on each side that the convolutions leave unread, because the skip reaches further."""
        return self.radius - sum(convolution.radius for convolution in self.convolutions)

    @property
    def receptive_field(self) -> int:
        """Side in LR pixels of the square that an output pixel depends on."""
        return 2 * self.radius + 1

    @property
    def parameters(self) -> int:
        """The number of trained values; a skip has none."""
        arrays = (array for c in self.convolutions for array in (c.weight, c.bias, c.slope))
        return sum(array.size for array in arrays if array is not None)

    @property
    def macs_per_lr_pixel(self) -> int:
        """Multiply-accumulates for each LR pixel, without biases and activations."""
        skip = 0 if (s := self.skip_convolution) is None else s.weight.size // self.channels
        return sum(convolution.weight.size for convolution in self.convolutions) + skip

    @property
    def skip_convolution(self) -> LRConvolution | None:
        """The skip as an LR convolution with channels * r**2 outputs, or None."""
        return None if self.skip is None else _interpolation(self.skip, self.upscale_factor, self.channels)

    @property
    def skip_taps(self) -> NDArray[np.float32] | None:
        """The skip along one axis, (r, taps), or None; phase (i, j) has the outer product of rows i and j."""
        if self.skip is None:
            return None
        return interpolation_to_lr(_kernel_name(self.skip), self.upscale_factor, 1)[:, 0].astype(np.float32)

    def shifted(self, shift: float) -> "LRNetwork":
        """Return the network x -> f(x + shift) - shift; see `mapped`.

        An engine runs `shifted(0.5)` on planes less one half: values around 0 lose less to rounding.
        """
        return self.mapped(1, shift)

    def mapped(self, scale: float, shift: float) -> "LRNetwork":
        """Return the network x -> (f(scale * x + shift) - shift) / scale, for pixels in another range.

            conv(scale * x + shift, w) + b = conv(x, scale * w) + (b + shift * sum(w))

        The sum is over inputs and taps. It is exact, since no pixel of a pad stays without the shift. The
        taps of a skip sum to one, so a skip carries scale and shift to the output unchanged.
        """
        first, *others = self.convolutions
        carried = shift * first.weight.sum(axis=(1, 2, 3), dtype=np.float64)
        convolutions = [_replaced(first, scale * first.weight, first.bias + carried), *others]
        last, back = convolutions[-1], shift if self.skip is None else 0
        convolutions[-1] = _replaced(last, last.weight / scale, (last.bias - np.float32(back)) / scale)
        return replace(self, convolutions=tuple(convolutions))

    def of_one_plane(self) -> "LRNetwork":
        """Return the network of one channel that gives a plane as each channel, and takes the mean of all."""
        first, *others = self.convolutions
        convolutions = [_replaced(first, first.weight.sum(axis=1, keepdims=True), first.bias), *others]
        last, shape = convolutions[-1], (self.channels, -1)
        weight = last.weight.reshape(*shape, *last.weight.shape[1:]).mean(axis=0)
        convolutions[-1] = _replaced(last, weight, last.bias.reshape(shape).mean(axis=0))
        return replace(self, convolutions=tuple(convolutions))

    def save(self, path: str | Path) -> None:
        """Write the network as safetensors, its description in the header; whole or not at all."""
        from safetensors.numpy import save  # noqa: PLC0415 (most networks are only loaded)

        from subpixel.files import replacing  # noqa: PLC0415

        description = {
            "upscale_factor": self.upscale_factor,
            "activations": [convolution.activation for convolution in self.convolutions],
            "skip": self.skip,
            "metadata": dict(self.metadata),
        }
        # A single entry, since safetensors writes several in random order, and a file should be reproducible.
        header = {FORMAT: json.dumps(description)}
        with replacing(Path(path)) as temporary:
            temporary.write_bytes(save(self._tensors(), metadata=header))

    def _tensors(self) -> Tensors:
        return {
            f"convolutions.{index}.{part}": np.ascontiguousarray(array)
            for index, convolution in enumerate(self.convolutions)
            for part in _PARTS
            if (array := getattr(convolution, part)) is not None
        }


def bicubic(upscale_factor: int, channels: int = 1) -> LRNetwork:
    """Return bicubic interpolation as an LR network of one convolution; it enlarges chroma and opacity.

    Args:
        upscale_factor: r, any integer from 1.
        channels: the number of planes that go through it at once.
    """
    convolution = _interpolation("bicubic", upscale_factor, channels)
    return LRNetwork(upscale_factor, (convolution,), metadata={"name": f"bicubic-x{upscale_factor}"})


def load(name_or_path: str | Path) -> LRNetwork:
    """Return the network that ships under a name, or that of a safetensors file.

    The file is untrusted: its size, its shapes and its values are checked, and nothing in it is executed.

    Raises:
        ValueError: there is no such name, or the file holds no valid LR network; the message says why.
        OSError: the file cannot be read.

    Example:
        >>> load("espcn-x3").upscale_factor
        3
    """
    path = _find(name_or_path)
    try:
        return _read(path)
    except ValueError as error:
        raise ValueError(f"{path} must hold a valid LR network; {error}") from error


def shipped() -> tuple[str, ...]:
    """Return the names of the networks that come with the package."""
    names = (file.name for file in _WEIGHTS.iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX)))


def default_names() -> dict[int, str]:
    """Return the name of each shipped network that is used where none is named, by upscale factor, in order.

    Such a network says so itself: its metadata holds `"default": true`.

    Example:
        >>> default_names()[3]
        'espcn-x3'
    """
    networks = sorted(map(load, shipped()), key=lambda network: network.upscale_factor)
    return {network.upscale_factor: network.name for network in networks if network.metadata.get("default")}


_WEIGHTS = Path(__file__).with_name("weights")
_SUFFIX = ".safetensors"


def _find(name_or_path: str | Path) -> Path:
    names = shipped()
    if str(name_or_path) in names:
        return _WEIGHTS / f"{name_or_path}{_SUFFIX}"
    path = Path(name_or_path)
    _require(
        path.is_file(),
        f"a network must be an existing file or one of {', '.join(names)}; got {str(name_or_path)!r}.",
    )
    return path


def _read(path: Path) -> LRNetwork:
    size = path.stat().st_size
    _require(size <= MAX_BYTES, f"the file must have at most {MAX_BYTES} bytes; got {size}.")
    tensors, header = _read_safetensors(path)
    _require(FORMAT in header, f"its header must have an entry {FORMAT!r}; got {brief(sorted(header))}.")
    description = _parse(header[FORMAT])
    activations = description.get("activations")
    _require(isinstance(activations, list), "its description must have a list of activations.")
    convolutions = tuple(_take(tensors, index, activation) for index, activation in enumerate(activations))
    _require(not tensors, f"every tensor must belong to a convolution; got besides {brief(sorted(tensors))}.")
    upscale_factor, skip = description.get("upscale_factor"), description.get("skip")
    return LRNetwork(upscale_factor, convolutions, skip, description.get("metadata"))


def _read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            types = {file.get_slice(name).get_dtype() for name in names}  # NumPy does not have all of them
            _require(types <= {"F32"}, f"every tensor must be float32; got {', '.join(sorted(types))}.")
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"it must be readable as safetensors; {error}.") from error


def _parse(text: str) -> Any:
    try:
        description = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its description must be JSON; {error}.") from error
    _require(isinstance(description, dict), "its description must be a JSON object.")
    return description


def _take(tensors: Tensors, index: int, activation: Activation | None) -> LRConvolution:
    weight, bias, slope = (tensors.pop(f"convolutions.{index}.{part}", None) for part in _PARTS)
    try:
        return LRConvolution(weight, bias, activation, slope)  # type: ignore[arg-type]  # it checks them
    except ValueError as error:
        raise ValueError(f"convolution {index}: {error}") from error


def _replaced(
    convolution: LRConvolution, weight: NDArray[np.floating], bias: NDArray[np.floating]
) -> LRConvolution:
    return replace(convolution, weight=weight.astype(np.float32), bias=bias.astype(np.float32))


def _interpolation(mode: Skip, upscale_factor: int, channels: int) -> LRConvolution:
    """Return an interpolation of each channel by itself, as one dense LR convolution."""
    kernel = interpolation_to_lr(_kernel_name(mode), upscale_factor, 2)
    phases, _, *size = kernel.shape
    weight = np.zeros((channels, phases, channels, *size), np.float32)
    for channel in range(channels):
        weight[channel, :, channel] = kernel[:, 0]
    return LRConvolution(weight.reshape(-1, channels, *size), np.zeros(channels * phases, np.float32))


def _kernel_name(mode: Skip) -> Literal["nearest", "cubic"]:
    return "cubic" if mode == "bicubic" else mode


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _check_convolution(convolution: LRConvolution) -> None:
    activation, slope = convolution.activation, convolution.slope
    _require(
        activation is None or activation in get_args(Activation),
        f"activation must be one of {', '.join(get_args(Activation))} or None; got {brief(activation)}.",
    )
    outputs = _check_weight(convolution.weight)
    _check_array("bias", convolution.bias, (outputs,), MAX_BIAS)
    expected = {"leaky_relu": (1,), "prelu": (outputs,)}.get(activation or "")
    if expected is None:
        _require(slope is None, f"slope must be None for the activation {activation}; it is not.")
    else:
        _check_array("slope", slope, expected)


def _check_weight(weight: Any) -> int:
    """Check the shape and the values of a weight; return its output channels."""
    _check_array("weight", weight)
    outputs, inputs, height, width = weight.shape if weight.ndim == 4 else (0, 0, 0, 0)
    _require(
        1 <= inputs <= MAX_CHANNELS
        and 1 <= outputs <= MAX_CHANNELS
        and 1 <= height == width <= MAX_KERNEL_SIZE
        and width % 2 == 1,
        f"weight must be (out, in, k, k), out and in 1 to {MAX_CHANNELS}, k odd and 1 to {MAX_KERNEL_SIZE}; "
        f"got {weight.shape}.",
    )
    return outputs


def _check_array(
    name: str, array: Any, shape: tuple[int, ...] | None = None, most: float = MAX_MAGNITUDE
) -> None:
    actual = getattr(array, "dtype", type(array).__name__)
    _require(isinstance(array, np.ndarray) and actual == np.float32, f"{name} must be float32; got {actual}.")
    _require(shape in (None, array.shape), f"{name} must be of shape {shape}; got {array.shape}.")
    largest = float(np.abs(array).max(initial=0))
    _require(
        largest <= most,  # and no NaN, which a maximum keeps
        f"{name} must be finite, of magnitudes up to {most:.0f}; it holds one of {largest:g}.",
    )


def _check_network(network: LRNetwork) -> None:
    r, skip, metadata = network.upscale_factor, network.skip, network.metadata
    _require(
        type(r) is int and 1 <= r <= MAX_UPSCALE_FACTOR,
        f"upscale_factor must be an integer from 1 to {MAX_UPSCALE_FACTOR}; got {brief(r)}.",
    )
    _require(
        skip is None or skip in get_args(Skip),
        f"skip must be one of {', '.join(get_args(Skip))} or None; got {brief(skip)}.",
    )
    _require(isinstance(metadata, Mapping), f"metadata must be a mapping; got a {type(metadata).__name__}.")
    _check_chain(network.convolutions, r)
    _require(network.radius <= MAX_RADIUS, f"the radius must be at most {MAX_RADIUS}; got {network.radius}.")
    _require(
        network.radius * network.width <= MAX_CONTEXT,
        f"the radius times the width must be at most {MAX_CONTEXT}; got {network.radius} * {network.width}.",
    )


def _check_chain(convolutions: tuple[LRConvolution, ...], upscale_factor: int) -> None:
    number = len(convolutions)
    _require(1 <= number <= MAX_CONVOLUTIONS, f"convolutions must be 1 to {MAX_CONVOLUTIONS}; got {number}.")
    given = channels = convolutions[0].weight.shape[1]
    for index, convolution in enumerate(convolutions):
        outputs, inputs, *_ = convolution.weight.shape
        _require(
            inputs == given,
            f"convolution {index} must take {given} channels, the output of the one before; got {inputs}.",
        )
        given = outputs
    activation = convolutions[-1].activation
    _require(activation is None, f"the last convolution must have no activation; got {activation}.")
    expected = channels * upscale_factor**2
    _require(
        given == expected, f"the last convolution must give {expected} channels, r**2 a channel; got {given}."
    )
