"""Engines run an LR network: one module an engine, each building its graph straight from the arrays."""

import ctypes
import logging
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.network import LRNetwork

Name = Literal["openvino", "onnxruntime", "torch"]
Precision = Literal["f32", "bf16"]

_CLASSES: dict[Name, str] = {"openvino": "OpenVINO", "onnxruntime": "ONNXRuntime", "torch": "PyTorch"}

log = logging.getLogger("subpixel")


class Engine(Protocol):
    """An LR network ready to run, on planes of any size, in one thread at a time.

    In float32 engines agree within 1e-5. In bf16 only the skip, the last additions and what they give stay
    float32; all else is rounded to eight bits.

    Attributes:
        name: the engine.
        precision: what it computes in.
    """

    name: Name
    precision: Precision

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge a batch.

        Args:
            planes: (n, channels, h + 2m, w + 2m) with m the network's radius.

        Returns:
            (n, channels, r*h, r*w), the caller's own.
        """
        ...


def create(
    network: LRNetwork,
    engine: Name | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "auto",
    threads: int | None = None,
) -> Engine:
    """Make a network ready to run, and log what was chosen.

    Args:
        network: what to run.
        engine: "auto" takes the fastest that works here, with a warning if a faster one should but does not.
        precision: "auto" is bf16 where the processor has it, but f32 for an interpolation: it gains nothing.
        threads: at most so many; None leaves it to the engine.

    Raises:
        ValueError: an unknown name, or a precision that the engine does not have here.
        ImportError: the engine's package is missing; the message names the pip command.

    Example:
        >>> from subpixel.network import bicubic
        >>> create(bicubic(3), engine="openvino")(np.zeros((1, 1, 10, 20), np.float32)).shape
        (1, 1, 18, 48)
    """
    _check_choice("engine", engine, get_args(Name))
    _check_choice("precision", precision, get_args(Precision))
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1; got {threads}.")
    if precision == "auto" and len(network.convolutions) == 1:
        precision = "f32"
    wanted = None if precision == "auto" else precision
    if engine == "auto":
        made = _fastest(network, wanted, threads)
    else:
        made = _build(engine, network, wanted, threads)
    log.info("%s runs on %s in %s", network.name, made.name, made.precision)
    return made


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in (*choices, "auto"):
        raise ValueError(f"{name} must be one of {', '.join(choices)}, auto; got {value!r}.")


def _fastest(network: LRNetwork, precision: Precision | None, threads: int | None) -> Engine:
    failures: list[str] = []
    for name in _by_speed():
        try:
            made = _build(name, network, precision, threads)
        except (ImportError, OSError, RuntimeError) as error:
            failures.append(f"{name}: {error}")
            continue
        if failures:
            log.warning("using the engine %s, since faster ones failed: %s", name, "; ".join(failures))
        return made
    raise RuntimeError(f"at least one engine must work; got {'; '.join(failures)}.")


def _build(name: Name, network: LRNetwork, precision: Precision | None, threads: int | None) -> Engine:
    with needing(name):
        module = import_module(f"subpixel.engines.{name}")
    return cast(Engine, getattr(module, _CLASSES[name])(network, precision, threads))


def _by_speed() -> tuple[Name, ...]:
    return ("torch", "openvino", "onnxruntime") if _cuda() else ("openvino", "onnxruntime", "torch")


def _cuda() -> bool:
    """Whether PyTorch has a CUDA device; its import takes a second, so its driver is looked for first."""
    if find_spec("torch") is None:
        return False
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return bool(import_module("torch").cuda.is_available())
