"""Engines run an LR network: one module for each engine, each building its graph straight from the arrays."""

import logging
from typing import Literal, get_args

from subpixel.engines.choice import fastest
from subpixel.engines.engine import Engine, Name, Precision, available, build
from subpixel.network import LRNetwork

__all__ = ["Engine", "Name", "Precision", "available", "create"]

log = logging.getLogger("subpixel")


def create(
    network: LRNetwork,
    engine: Name | Literal["auto"] = "auto",
    precision: Precision | Literal["auto"] = "auto",
) -> Engine:
    """Make a network ready to run, and log what was chosen.

    Args:
        network: the network.
        engine: a name, or "auto" for the fastest that is installed.
        precision: "f32", "bf16", or "auto" for the faster one; bf16 only where the processor computes in it,
            and never for a network of one convolution, which has nothing to gain.

    What "auto" stands for is measured once; see `subpixel.engines.choice.fastest`.

    Raises:
        ValueError: an unknown name, or a precision that the engine does not have here.
        ImportError: the package of the engine, or of each engine, is missing; the message names the command.
        RuntimeError: several engines are installed, and none starts.

    Example:
        >>> import numpy as np
        >>> from subpixel.network import bicubic
        >>> create(bicubic(3), engine="openvino")(np.zeros((1, 1, 10, 20), np.float32)).shape
        (1, 1, 18, 48)
    """
    _check_choice("engine", engine, get_args(Name))
    _check_choice("precision", precision, get_args(Precision))
    if precision == "auto" and len(network.convolutions) == 1:
        precision = "f32"
    if engine == "auto" or precision == "auto":
        names = available() if engine == "auto" else (engine,)
        made = fastest(network, names, get_args(Precision) if precision == "auto" else (precision,))
    else:
        made = build(engine, network, precision)
    log.info("%s runs on %s in %s", network.name, made.name, made.precision)
    return made


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in (*choices, "auto"):
        raise ValueError(f"{name} must be one of {', '.join(choices)}, auto; got {value!r}.")
