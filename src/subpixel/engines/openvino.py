"""OpenVINO: bf16 where the processor has it, else float32, on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.engines.engine import Engine, Name, Precision
from subpixel.kernels import lr_to_transposed
from subpixel.network import LRConvolution, LRNetwork
from subpixel.without_telemetry.openvino import openvino
from subpixel.without_telemetry.openvino import opset8 as ops


class OpenVINO(Engine):
    """An `Engine` on the CPU.

    An infer request serves one thread at a time and has one buffer for all its results. So each call takes a
    request from a pool, which grows to the largest number of calls at once.
    """

    name: Name = "openvino"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        native = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return ("f32", "bf16") if native else ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision) -> None:
        self.precision = precision
        options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        self._model = openvino.Core().compile_model(_model(network), "CPU", options)
        self._idle: list[openvino.InferRequest] = []  # append and pop are atomic

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._model.create_infer_request()
        enlarged = request.infer({0: planes}, share_inputs=True)[0]
        self._idle.append(request)  # one that failed is dropped
        return enlarged  # type: ignore[no-any-return]


def _model(network: LRNetwork) -> openvino.Model:
    """Build the graph: a bf16 hint leaves in float32 all that comes after the last convolution."""
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
    # On each side the transposed convolution gives 2 * radius pixels that the unpadded one, whose kernel has
    # 2 * radius + 1 taps, does not; a pad cuts them off, and the margin of the crop with them.
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


ENGINE = OpenVINO
