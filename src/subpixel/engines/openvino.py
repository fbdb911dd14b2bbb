"""OpenVINO: the fastest engine on CPUs."""

from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset8 as ops

from subpixel.network import Convolution, LRNetwork


class OpenVINO:
    """An LR network compiled by OpenVINO for the CPU, for any size of plane."""

    name = "openvino"

    def __init__(self, network: LRNetwork, precision: Literal["f32", "bf16", "auto"], threads: int | None) -> None:
        core = openvino.Core()
        if precision == "auto":
            precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
        self.precision = precision
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = str(threads)
        self._request = core.compile_model(_model(network), "CPU", options).create_infer_request()

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self._request.infer({0: planes}, share_inputs=True)[0]  # type: ignore[no-any-return]


def _model(network: LRNetwork) -> openvino.Model:
    planes = ops.parameter([-1, network.channels, -1, -1], np.float32)
    maps = _crop(planes, network.radius - sum(c.radius for c in network.convolutions))
    for convolution in network.convolutions:
        maps = _activate(_convolve(maps, convolution), convolution)
    if (skip := network.skip_convolution) is not None:
        maps = ops.add(maps, _convolve(_crop(planes, network.radius - skip.radius), skip))
    return openvino.Model([ops.depth_to_space(maps, "depth_first", network.upscale_factor)], [planes])


def _crop(planes: Any, margin: int) -> Any:
    if margin == 0:
        return planes
    return ops.slice(planes, *np.array([[margin, margin], [-margin, -margin], [1, 1], [2, 3]]))


def _convolve(maps: Any, convolution: Convolution) -> Any:
    maps = ops.convolution(maps, ops.constant(convolution.weight), [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(maps, ops.constant(convolution.bias.reshape(1, -1, 1, 1)))


def _activate(maps: Any, convolution: Convolution) -> Any:
    match convolution.activation:
        case None:
            return maps
        case "tanh":
            return ops.tanh(maps)
        case "relu":
            return ops.relu(maps)
        case _:
            return ops.prelu(maps, ops.constant(convolution.slope))
