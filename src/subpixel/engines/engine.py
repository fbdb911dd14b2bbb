"""What an engine is, which there are, and how one is made."""

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.network import LRNetwork

# The one list of engines, preferred first where no time is measured. Each is a module of this package with an
# `ENGINE`. All but the native one have an extra of their own, and need an outside package, of the same name.
Name = Literal["native", "openvino", "onnxruntime", "torch"]
Precision = Literal["f32", "bf16"]

log = logging.getLogger("subpixel")


class Engine(Protocol):
    """An LR network ready to run, on planes of any size, in any number of threads at once.

    In float32 engines agree within 1e-5. In bf16 only the skip, the last additions and their results stay
    float32; all else is rounded to eight bits.

    Attributes:
        name: the engine's name.
        precision: what it computes in.
    """

    name: Name
    precision: Precision

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch.

        Args:
            planes: (n, channels, h + 2m, w + 2m) with m the network's radius.

        Returns:
            (n, channels, r*h, r*w), an array of the caller's own.
        """
        ...

    def __str__(self) -> str:
        """Return what runs, as logs say it."""
        return f"{self.name} in {self.precision}"


def available() -> tuple[Name, ...]:
    """Return the engines that are installed, without importing their packages.

    Where the library of the native one does not load, a warning says why, once.
    """
    return tuple(name for name in get_args(Name) if _is_installed(name))


def _is_installed(name: Name) -> bool:
    if name != "native":
        return find_spec(name) is not None
    try:
        _load(name)
    except ImportError as error:
        _warn_once(str(error))
        return False
    return True


@cache
def _warn_once(message: str) -> None:
    log.warning("%s", message)


def precisions(name: Name) -> tuple[Precision, ...]:
    """Return what an engine computes in on this machine without emulating it; float32 comes first.

    Raises:
        ImportError: the engine's package or library is missing; the message says what to do.
    """
    return cast(tuple[Precision, ...], _load(name).precisions())


def build(name: Name, network: LRNetwork, precision: Precision) -> Engine:
    """Make an engine ready to run a network.

    Raises:
        ValueError: the engine does not compute in the precision here.
        ImportError: the engine's package or library is missing; the message says what to do.
    """
    has = precisions(name)
    if precision not in has:
        raise ValueError(
            f"precision must be {' or '.join(has)} with the engine {name} on this processor; got {precision}."
        )
    return cast(Engine, _load(name)(network, precision))


def _load(name: Name) -> Any:
    with needing(name):
        return import_module(f"subpixel.engines.{name}").ENGINE
