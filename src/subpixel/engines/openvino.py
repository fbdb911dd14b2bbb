"""OpenVINO: the fastest engine on a CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.engines import Name, Precision
from subpixel.kernels import lr_to_transposed
from subpixel.network import LRConvolution, LRNetwork
from subpixel.without_telemetry.openvino import openvino
from subpixel.without_telemetry.openvino import opset8 as ops


class OpenVINO:
    """An `Engine` on the CPU."""

    name: Name = "openvino"

    def __init__(self, network: LRNetwork, precision: Precision | None, threads: int | None) -> None:
        core = openvino.Core()
        native = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not native:
            raise ValueError("bf16 must be native to the processor; this one has none. Use precision='f32'.")
        self.precision: Precision = precision or ("bf16" if native else "f32")
        options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": self.precision, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            options["INFERENCE_NUM_THREADS"] = threads
        self._request = core.compile_model(_model(network), "CPU", options).create_infer_request()

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Engine`."""
        return self._request.infer({0: planes}, share_inputs=True)[0]  # type: ignore[no-any-return]


def _model(network: LRNetwork) -> openvino.Model:
    """The graph for either precision: a bf16 hint leaves float32 what comes behind the last convolution."""
    network = network.shifted(0.5)
    planes = ops.parameter([-1, network.channels, -1, -1], np.float32)
    centred = ops.subtract(planes, np.float32(0.5))
    maps = _crop(centred, network.margin)
    for convolution in network.convolutions:
        maps = _activate(_convolve(maps, convolution), convolution)
    if (skip := network.skip_convolution) is not None:
        maps = ops.add(maps, _convolve_in_f32(centred, skip, network.radius - skip.radius))
    enlarged = ops.depth_to_space(maps, "depth_first", network.upscale_factor)
    return openvino.Model([ops.add(enlarged, np.float32(0.5))], [planes])


def _crop(planes: Any, margin: int) -> Any:
    if margin == 0:
        return planes
    return ops.slice(planes, *np.array([[margin, margin], [-margin, -margin], [1, 1], [2, 3]]))


def _convolve(maps: Any, convolution: LRConvolution) -> Any:
    maps = ops.convolution(maps, convolution.weight, [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(maps, convolution.bias.reshape(1, -1, 1, 1))


def _convolve_in_f32(planes: Any, convolution: LRConvolution, margin: int) -> Any:
    """Crop and convolve as a transposed convolution of stride 1, to which a bf16 hint does not apply."""
    weight, pads = lr_to_transposed(convolution.weight, 1), [2 * convolution.radius + margin] * 2
    return ops.convolution_backprop_data(
        planes, weight, [1, 1], pads_begin=pads, pads_end=pads, dilations=[1, 1]
    )


def _activate(maps: Any, convolution: LRConvolution) -> Any:
    if convolution.slope is not None:
        return ops.prelu(maps, convolution.slope)
    if convolution.activation is None:
        return maps
    return {"tanh": ops.tanh, "relu": ops.relu}[convolution.activation](maps)
