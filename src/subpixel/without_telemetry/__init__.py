"""OpenVINO and ONNX Runtime, imported so that neither reports on its users.

From the moment of their import both packages send usage data and keep a lasting identifier in the user's
home. Every import of them in this house goes through here: `openvino` and `onnxruntime` are a module each,
since either package may be missing.

Example:
    >>> from subpixel.without_telemetry.onnxruntime import onnxruntime
    >>> "CPUExecutionProvider" in onnxruntime.get_available_providers()
    True
"""

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any


@contextmanager
def item(mapping: MutableMapping[str, Any], key: str, value: Any) -> Iterator[None]:
    """Set an item of a mapping while a block runs; afterwards the mapping is as before.

    Example:
        >>> with item(settings := {"b": 2}, "a", 1):
        ...     print(settings)
        {'b': 2, 'a': 1}
        >>> settings
        {'b': 2}
    """
    known, before = key in mapping, mapping.get(key)
    mapping[key] = value
    try:
        yield
    finally:
        if known:
            mapping[key] = before
        else:
            del mapping[key]
