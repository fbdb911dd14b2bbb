"""Files of others that hold tensors by name, a state dict: bounded, without code, read as LR networks."""

import math
import pickletools
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import repr as brief
from typing import Any

from safetensors import SafetensorError

from subpixel.converting.modules import from_torch
from subpixel.extras import needing
from subpixel.network import MAX_BYTES, MAX_CONVOLUTIONS, LRNetwork

with needing("torch"):
    import torch
    from safetensors.torch import load as load_safetensors
    from torch import Tensor, nn
    from torch.nn.functional import interpolate

State = Mapping[str, Tensor]

_ENTRY = re.compile(r"body\.(0|[1-9]\d{0,3})\.(weight|bias)")
_MAX_PICKLE = 2**20  # the names and shapes; tensors lie beside it
_GLOBALS = re.compile(  # what a state dict of plain tensors is made of
    r"collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch [A-Za-z0-9]+Storage"
)
_INNER_NAMES = ("params_ema", "params", "state_dict")  # under which training programs keep it, best first


def convert(path: str | Path) -> LRNetwork:
    """Return the LR network that equals a file's network except near the borders; see `from_torch`.

    The file is a state dict, as safetensors or as written by `torch.save`, alone or under "params_ema",
    "params" or "state_dict". It must be of the "compact" family: convolutions and PReLUs by turns, named
    body.0 to body.n, then a pixel shuffle, and the nearest pixel added.

    The file is untrusted: its size, its names, its shapes and its values are checked, and `torch.load` reads
    it with `weights_only=True`, so that it cannot execute code.

    Args:
        path: the file.

    Returns:
        The network; its name is that of the file, without the suffix.

    Raises:
        ValueError: the file cannot be read as a state dict, or its network is of another kind.
        OSError: the file cannot be opened.
        ModuleNotFoundError: PyTorch is not installed; the message names the pip command.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> body = nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 12, 3)
        >>> with TemporaryDirectory() as folder:
        ...     torch.save(nn.ModuleDict({"body": nn.ModuleList(body)}).state_dict(), f"{folder}/mine.pth")
        ...     network = convert(f"{folder}/mine.pth")
        >>> network.name, network.upscale_factor, network.skip
        ('mine', 2, 'nearest')
    """
    path = Path(path)
    try:
        return from_torch(_compact(_read(path)), name=path.stem)
    except ValueError as error:
        raise ValueError(f"{path} must hold a network that can be converted; {error}") from error


def _read(path: Path) -> State:
    """Return the tensors of a file by name."""
    size = path.stat().st_size
    _require(size <= MAX_BYTES, f"the file must have at most {MAX_BYTES} bytes; got {size}.")
    state = _load_zip(path) if zipfile.is_zipfile(path) else _load_safetensors(path)
    for name in _INNER_NAMES:
        if isinstance(state, Mapping) and isinstance(state.get(name), Mapping):
            state = state[name]
            break
    _check(state)
    return {name: tensor.detach().float() for name, tensor in state.items()}


def _load_safetensors(path: Path) -> Any:
    try:
        return load_safetensors(path.read_bytes())
    except (SafetensorError, KeyError) as error:  # a KeyError for a type that PyTorch does not have
        raise ValueError(f"it must be safetensors, or a file of torch.save since 1.6; {error}.") from error


def _load_zip(path: Path) -> Any:
    """Return what `torch.load` makes of a file, which must not grow when it is unpacked."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
            size = sum(entry.file_size for entry in entries)
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            _require(stored and size <= MAX_BYTES, f"it must be uncompressed; got {size} bytes in its parts.")
            _check_pickle(file, entries)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError):
        raise
    except Exception as error:  # whatever a hostile file provokes
        kind = type(error).__name__  # its message may advise to execute the file's code
        raise ValueError(
            f"it must hold tensors by name and nothing else, as torch.save(model.state_dict(), FILE) writes; "
            f"torch.load(weights_only=True) refuses it with {kind}."
        ) from error


def _check_pickle(file: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse what `torch.load` would construct besides tensors: two gigabytes of zeros take 40 bytes."""
    # In upper case too, since PyTorch finds the parts of a file in either.
    pickles = [entry for entry in entries if entry.filename.lower().endswith("data.pkl")]
    _require(len(pickles) == 1, f"it must hold one data.pkl, as of torch.save; got {len(pickles)}.")
    size = pickles[0].file_size
    _require(size <= _MAX_PICKLE, f"its data.pkl must have at most {_MAX_PICKLE} bytes; got {size}.")
    try:
        operations = list(pickletools.genops(file.read(pickles[0])))
    except ValueError as error:
        raise ValueError(f"its data.pkl must be a pickle; {error}.") from error
    for opcode, argument, _ in operations:
        if opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST") or opcode.name.startswith("EXT"):
            plain = opcode.name == "GLOBAL" and _GLOBALS.fullmatch(str(argument)) is not None
            _require(
                plain, f"it must hold tensors by name and nothing else; got {str(argument)[:60]!r} in it."
            )


def _check(state: Any) -> None:
    """Refuse what is not a few tensors of numbers; a small file may describe a large one."""
    _require(isinstance(state, Mapping), f"it must hold tensors by name; got a {type(state).__name__}.")
    most = 3 * MAX_CONVOLUTIONS  # weight, bias, slopes
    _require(0 < len(state) <= most, f"it must have 1 to {most} tensors; got {len(state)}.")
    for name, tensor in state.items():
        _require(
            isinstance(name, str) and _ENTRY.fullmatch(name) is not None,
            f"its entries must be body.N.weight or body.N.bias, the compact family's; got {brief(name)}.",
        )
        plain = isinstance(tensor, Tensor) and tensor.layout is torch.strided and tensor.is_floating_point()
        _require(plain and tensor.device.type == "cpu", f"{name} must be a dense tensor of floats.")
    size = 4 * sum(tensor.numel() for tensor in state.values())
    _require(size <= MAX_BYTES, f"its tensors must have at most {MAX_BYTES} bytes as float32; got {size}.")


class _Compact(nn.Module):
    """Layers one after the other, a shuffle, the nearest pixel added; as their authors compute it."""

    def __init__(self, body: Sequence[nn.Module], upscale_factor: int) -> None:
        super().__init__()
        self.body, self.upscale_factor = nn.Sequential(*body), upscale_factor
        self.shuffle = nn.PixelShuffle(upscale_factor)

    def forward(self, image: Tensor) -> Tensor:
        nearest = interpolate(image, scale_factor=self.upscale_factor, mode="nearest")
        enlarged: Tensor = self.shuffle(self.body(image)) + nearest
        return enlarged


def _compact(state: State) -> _Compact:
    """Return the network of a state dict of the compact family."""
    count = len({name.split(".")[1] for name in state})
    layers = [
        _convolution(state, index) if index % 2 == 0 else _prelu(state, index) for index in range(count)
    ]
    unused = state.keys() - {f"body.{i}.{part}" for i in range(count) for part in _parts(i)}
    _require(
        not unused,
        f"its layers must be convolutions and PReLUs by turns; got {brief(min(unused, default=''))}.",
    )
    inputs, outputs = state["body.0.weight"].shape[1], len(state[f"body.{count - 1}.weight"])
    r = math.isqrt(outputs // inputs) if inputs else 0
    _require(
        r > 0 and outputs == inputs * r * r,
        f"the last layer must give r**2 times the {inputs} channels of the image; got {outputs}.",
    )
    return _Compact(layers, r)


def _parts(index: int) -> tuple[str, ...]:
    return ("weight", "bias") if index % 2 == 0 else ("weight",)


def _convolution(state: State, index: int) -> nn.Conv2d:
    weight = _take(state, f"body.{index}.weight", 4)
    bias = _take(state, f"body.{index}.bias", 1)
    outputs, inputs, height, width = weight.shape
    _require(
        min(weight.shape) > 0 and len(bias) == outputs,
        f"body.{index} must have a bias for each output; got {tuple(weight.shape)} and {len(bias)}.",
    )
    layer = nn.Conv2d(inputs, outputs, (height, width), padding=(height // 2, width // 2))
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def _prelu(state: State, index: int) -> nn.PReLU:
    slope = _take(state, f"body.{index}.weight", 1)
    layer = nn.PReLU(len(slope))
    layer.weight = nn.Parameter(slope)
    return layer


def _take(state: State, name: str, ndim: int) -> Tensor:
    _require(name in state, f"it must have {name}, which is missing.")
    shape = tuple(state[name].shape)
    _require(len(shape) == ndim, f"{name} must have {ndim} axes; got the shape {shape}.")
    return state[name]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
