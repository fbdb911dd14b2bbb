"""OpenVINO without its telemetry, a package of its own that OpenVINO can do without."""

import sys

from subpixel.without_telemetry import item

__all__ = ["openvino", "opset8"]

with item(sys.modules, "openvino_telemetry", None):  # None makes an import of it raise ImportError
    import openvino
    from openvino import opset8
