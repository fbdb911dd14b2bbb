"""Engines run an LR network: one module an engine, each building its graph straight from the arrays."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Precision = Literal["f32", "bf16", "auto"]


class Engine(Protocol):
    """An LR network ready to run.

    Attributes:
        name: the engine, "openvino", "onnxruntime" or "torch".
        precision: what it computes in, "f32" or "bf16".
    """

    name: str
    precision: Literal["f32", "bf16"]

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch: (n, channels, h + 2m, w + 2m) to (n, channels, r*h, r*w), m the network's radius."""
        ...
