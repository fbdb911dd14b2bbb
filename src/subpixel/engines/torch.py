"""PyTorch: CUDA where there is a device, else the CPU."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, reduce
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pixel_shuffle, prelu

from subpixel.engines.engine import Engine, Name, Precision
from subpixel.network import LRConvolution, LRNetwork

Layer = Callable[[Tensor], Tensor]

_BF16 = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")  # names in `torch.cpu.get_capabilities`
_PROCESS = os.getpid()
_CUDNN = Lock()  # its settings are those of the whole process


class PyTorch(Engine):
    """An `Engine` on CUDA where there is a device, else on the CPU."""

    name: Name = "torch"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        native = _cuda_has_bf16() if torch.cuda.is_available() else _cpu_has_bf16()
        return ("f32", "bf16") if native else ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision) -> None:
        self.precision = precision
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._upscale_factor = network.upscale_factor
        self._paths = list(self._layers(network.shifted(0.5)))

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        _survive_a_fork()
        with torch.inference_mode(), _float32_convolutions(self._device):
            return self._enlarge(torch.from_numpy(planes.copy()).to(self._device)).cpu().numpy()

    def _enlarge(self, planes: Tensor) -> Tensor:
        paths = [reduce(lambda maps, layer: layer(maps), path, planes - 0.5) for path in self._paths]
        return pixel_shuffle(sum(paths[1:], paths[0]), self._upscale_factor) + 0.5

    def _layers(self, network: LRNetwork) -> Iterator[list[Layer]]:
        """Yield the path through the convolutions and that of the skip; only inner layers are in bf16."""
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float32
        *inner, last = network.convolutions
        yield [
            partial(_crop, margin=network.margin),
            *(_layer(convolution, dtype, self._device) for convolution in inner),
            _layer(last, torch.float32, self._device),
        ]
        if (skip := network.skip_convolution) is not None:
            yield [
                partial(_crop, margin=network.radius - skip.radius),
                _layer(skip, torch.float32, self._device),
            ]


def _cuda_has_bf16() -> bool:
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))


def _cpu_has_bf16() -> bool:
    """Return whether the CPU has bf16; else PyTorch emulates it, in up to 45 times the time of float32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict[str, Any])()  # an older PyTorch cannot say
    return any(capabilities.get(name) for name in _BF16)


def _survive_a_fork() -> None:
    """Use one thread in a forked process: GNU's OpenMP would wait forever for threads that stayed behind."""
    if os.getpid() != _PROCESS and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


@contextmanager
def _float32_convolutions(device: torch.device) -> Iterator[None]:
    """Keep cuDNN from rounding float32 to TF32; one thread at a time, since each restores what it found."""
    if device.type == "cpu":
        yield
        return
    with _CUDNN, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def _layer(convolution: LRConvolution, dtype: torch.dtype, device: torch.device) -> Layer:
    place = partial(torch.tensor, dtype=dtype, device=device)
    weight, bias = place(convolution.weight), place(convolution.bias)
    activate = _activation(convolution, place)
    return lambda maps: activate(conv2d(maps.to(dtype), weight, bias))


def _activation(convolution: LRConvolution, place: Callable[..., Tensor]) -> Layer:
    if convolution.slope is not None:
        return partial(prelu, weight=place(convolution.slope))
    if convolution.activation is None:
        return torch.positive
    return {"tanh": torch.tanh, "relu": torch.relu}[convolution.activation]


def _crop(planes: Tensor, margin: int) -> Tensor:
    height, width = planes.shape[-2:]
    return planes[..., margin : height - margin, margin : width - margin]


ENGINE = PyTorch
