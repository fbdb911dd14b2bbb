"""The C interface of the native engine, `native/subpixel.h`, through ctypes.

The library lies beside this file. The import of this module loads it, and raises an `ImportError` that says
why where that cannot be done.
"""

import ctypes
import struct
import sys
from ctypes import POINTER, Structure, c_char_p, c_int32, c_int64, c_void_p
from itertools import count, takewhile
from pathlib import Path

import numpy as np

_FILE = {"darwin": "libsubpixel.dylib", "win32": "subpixel.dll"}.get(sys.platform, "libsubpixel.so")

ACTIVATIONS = {None: 0, "tanh": 1, "relu": 2, "leaky_relu": 3, "prelu": 3}
TYPES = {np.dtype(np.float32): 0, np.dtype(np.uint8): 1, np.dtype(np.uint16): 2}


class Convolution(Structure):
    """`subpixel_convolution`."""

    _fields_ = (
        ("kernel_size", c_int32),
        ("in_channels", c_int32),
        ("out_channels", c_int32),
        ("activation", c_int32),
        ("weight", c_void_p),
        ("bias", c_void_p),
        ("slope", c_void_p),
    )


class Network(Structure):
    """`subpixel_network`."""

    _fields_ = (
        ("upscale_factor", c_int32),
        ("channels", c_int32),
        ("convolutions", c_int32),
        ("skip_taps", c_int32),
        ("convolution", POINTER(Convolution)),
        ("skip", c_void_p),
    )


class Planes(Structure):
    """`subpixel_planes`."""

    _fields_ = (
        ("data", c_void_p),
        ("plane", c_int64),
        ("row", c_int64),
        ("pixel", c_int64),
        ("type", c_int32),
    )


_FUNCTIONS = {
    "subpixel_isa": (c_char_p, [c_int32]),
    "subpixel_plan_make": (c_void_p, [POINTER(Network), c_int32]),
    "subpixel_plan_free": (None, [c_void_p]),
    "subpixel_job_make": (
        c_void_p,
        [c_void_p, POINTER(Planes), POINTER(Planes), c_int64, c_int64, c_int64, c_int32],
    ),
    "subpixel_job_work": (None, [c_void_p]),
    "subpixel_job_free": (c_int32, [c_void_p]),
}


def _check_whole(path: Path) -> None:
    """Raise an `OSError` where a library of Linux ends early: the system would kill who loads it."""
    with path.open("rb") as file:
        head = file.read(64)
    if head[:4] != b"\x7fELF":
        return
    if len(head) == 64:
        (start,), (size, number) = struct.unpack_from("<Q", head, 40), struct.unpack_from("<HH", head, 58)
        if path.stat().st_size >= start + size * number:  # the table of its sections is its end
            return
    raise OSError(f"{path}: file too short")


def _load(path: Path) -> ctypes.CDLL:
    """Load the library; its functions run without Python's lock."""
    try:
        _check_whole(path)
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:  # AttributeError: a library of another version
        raise ImportError(
            f"the library of the native engine must load; got {error}. Install subpixel anew on this "
            "machine, or another engine: pip install 'subpixel[openvino]'"
        ) from error
    return library


LIBRARY = _load(Path(__file__).with_name(_FILE))


def instruction_sets() -> tuple[str, ...]:
    """Return the names of the instruction sets that this processor has, the best first."""
    names = takewhile(lambda name: name is not None, map(LIBRARY.subpixel_isa, count()))
    return tuple(name.decode() for name in names)
