"""PyTorch: the engine for CUDA."""

from collections.abc import Callable, Iterator
from functools import partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, pixel_shuffle, prelu

from subpixel.engines import Name, Precision
from subpixel.network import LRConvolution, LRNetwork

Layer = Callable[[Tensor], Tensor]


class PyTorch:
    """An `Engine` on CUDA where there is a device, else on the CPU."""

    name: Name = "torch"

    def __init__(self, network: LRNetwork, precision: Precision | None, threads: int | None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)  # for the whole process: PyTorch has no narrower way
        cuda = torch.cuda.is_available()
        native = cuda and torch.cuda.is_bf16_supported()
        self.precision: Precision = precision or ("bf16" if native else "f32")
        self._device = torch.device("cuda" if cuda else "cpu")
        self._upscale_factor = network.upscale_factor
        self._paths = list(self._layers(network.shifted(0.5)))

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return self._enlarge(torch.from_numpy(planes.copy()).to(self._device)).cpu().numpy()

    def _enlarge(self, planes: Tensor) -> Tensor:
        paths = [reduce(lambda maps, layer: layer(maps), path, planes - 0.5) for path in self._paths]
        return pixel_shuffle(sum(paths[1:], paths[0]), self._upscale_factor) + 0.5

    def _layers(self, network: LRNetwork) -> Iterator[list[Layer]]:
        """The path through the convolutions and the skip; all but the inner convolutions stay in float32."""
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
