"""Engines run an LR network: one module for each engine, each building its graph straight from the arrays."""

import logging
from typing import Literal, get_args

from subpixel.engines.engine import Engine, Name, Precision, available, build
from subpixel.network import LRNetwork

__all__ = ["Engine", "Name", "Precision", "available", "create"]

log = logging.getLogger("subpixel")


def create(
    network: LRNetwork,
    engine: Name | Literal["auto"] = "auto",
    precision: Precision = "f32",
) -> Engine:
    """Make a network ready to run, and log what was chosen.

    Args:
        network: the network.
        engine: a name, or "auto" for the fastest that is installed and has the precision; see
            `subpixel.engines.choice.fastest`.
        precision: "f32", or "bf16" where the engine and the processor have it.

    Raises:
        ValueError: an unknown name, or a precision that the engine does not have here.
        ImportError: the package or the library of the engine, or of each engine, is missing; the message says
            what to do.
        RuntimeError: several engines are installed, and none starts.

    Example:
        >>> import numpy as np
        >>> from subpixel.network import bicubic
        >>> create(bicubic(3))(np.zeros((1, 1, 10, 20), np.float32)).shape
        (1, 1, 18, 48)
    """
    _check_choice("engine", engine, (*get_args(Name), "auto"))
    _check_choice("precision", precision, get_args(Precision))
    made = _make(network, engine, precision)
    log.info("%s runs on %s", network.name, made)
    return made


def _make(network: LRNetwork, engine: Name | Literal["auto"], precision: Precision) -> Engine:
    names = available() if engine == "auto" else (engine,)
    if len(names) == 1:
        return build(names[0], network, precision)
    from subpixel.engines.choice import fastest  # noqa: PLC0415 (its imports take longer than all else)

    return fastest(network, names, precision)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
