"""ONNX Runtime: float32 on any CPU that its wheels know."""

import numpy as np
from numpy.typing import NDArray

from subpixel.engines.engine import Engine, Name, Precision
from subpixel.exporting import onnx
from subpixel.network import LRNetwork
from subpixel.without_telemetry.onnxruntime import onnxruntime


class ONNXRuntime(Engine):
    """An `Engine` on the CPU; one session serves all threads."""

    name: Name = "onnxruntime"

    @staticmethod
    def precisions() -> tuple[Precision, ...]:
        """Return what it computes in on this machine; see `subpixel.engines.engine.precisions`."""
        return ("f32",)

    def __init__(self, network: LRNetwork, precision: Precision) -> None:
        self.precision = precision
        options = onnxruntime.SessionOptions()
        # Threads that wait for the next run by spinning keep the processors from whatever runs meanwhile; an
        # engine that takes turns with this one in a race took up to twice its time.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            onnx.model(network, pad=False).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch; see `Engine`."""
        return self._session.run(None, {onnx.INPUT: planes})[0]  # type: ignore[no-any-return]


ENGINE = ONNXRuntime
