"""What an engine is, which there are, and how one is made."""

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from subpixel.codes import put, to_values
from subpixel.extras import needing
from subpixel.network import LRNetwork

# The one list of engines, preferred first where no time is measured. Each is a module of this package with an
# `ENGINE`. All but the native one have an extra of their own, and need an outside package, of the same name.
Name = Literal["native", "openvino", "onnxruntime", "torch"]
Precision = Literal["f32", "bf16"]

NOT_A_NUMBER = "a network must give numbers; got NaN. Its weights are too large."

log = logging.getLogger("subpixel")


class Engine(Protocol):
    """An LR network ready to run, on planes of any size, in any number of threads at once.

    In float32 engines agree within 1e-5. In bf16 only the skip, the last additions and their results stay
    float32; all else is rounded to eight bits.

    Attributes:
        name: the engine's name.
        precision: what it computes in.
        extra: pixels that a tile may bring along on the right and below, after its context. With them, tiles
            that start at multiples of 4 pixels are, bit for bit, parts of the whole image. 0 for an engine
            that has no use for them.
    """

    name: Name
    precision: Precision
    extra: int = 0

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch.

        Args:
            planes: (n, channels, h + 2m, w + 2m) with m the network's radius.

        Returns:
            (n, channels, r*h, r*w), an array of the caller's own.
        """
        ...

    def into(self, planes: NDArray[Any], enlarged: NDArray[Any]) -> None:
        """Enlarge an image into an array; here by a batch of one, converted before and after.

        Both are float32, uint8 or uint16, of any strides. Integers stand for 0..1; results become integers by
        rounding half up and clipping, and stay floats as they are.

        Args:
            planes: (channels, h + 2m + e, w + 2m + e), with e either 0 or `extra`.
            enlarged: (channels, r*h, r*w); its memory is apart from that of `planes`.

        Raises:
            ValueError: a result is NaN, since the weights of the network are too large.
        """
        result = self(to_values(planes)[None])[0]
        check_numbers(result)
        put(result, enlarged)

    def __str__(self) -> str:
        """Return what runs, as logs say it."""
        return f"{self.name} in {self.precision}"


def check_numbers(enlarged: NDArray[np.float32]) -> None:
    """Raise an error where a result is NaN."""
    if np.isnan(enlarged).any():
        raise ValueError(NOT_A_NUMBER)


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
