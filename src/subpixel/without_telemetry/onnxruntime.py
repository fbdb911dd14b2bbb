"""ONNX Runtime without its telemetry, which its environment settles once, for as long as a process lives."""

import os

from subpixel.without_telemetry import item

__all__ = ["onnxruntime"]

with item(os.environ, "ORT_DISABLE_TELEMETRY", "1"):
    import onnxruntime

    # Makes the environment while the variable is set, should the import not have done so. On Windows, and
    # where somebody imported the package earlier, this call alone stops the events.
    onnxruntime.disable_telemetry_events()
