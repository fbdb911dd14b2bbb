"""Engines run an LR network: one module an engine, each building its graph straight from the arrays."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from subpixel.network import LRNetwork

Name = Literal["openvino", "onnxruntime", "torch"]
Precision = Literal["f32", "bf16"]


class Engine(Protocol):
    """An LR network ready to run.

    Attributes:
        name: the engine, "openvino", "onnxruntime" or "torch".
        precision: what it computes in, "f32" or "bf16".
    """

    name: Name
    precision: Precision

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch: (n, channels, h + 2m, w + 2m) to (n, channels, r*h, r*w), m the network's radius."""
        ...


def create(
    network: LRNetwork,
    engine: Literal["openvino", "onnxruntime", "torch", "auto"] = "auto",
    precision: Literal["f32", "bf16", "auto"] = "auto",
    threads: int | None = None,
) -> Engine:
    """Make a network ready to run.

    Args:
        network: what to run.
        engine: "auto" takes the fastest that works here.
        precision: "auto" is bf16 where the processor has it, and f32 elsewhere.
        threads: None leaves the choice to the engine.
    """
    from subpixel.engines.openvino import OpenVINO

    return OpenVINO(network, None if precision == "auto" else precision, threads)
