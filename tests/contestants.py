"""Engines that are missing, broken, fast or slow at will."""

import ctypes
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from subpixel.engines import Engine
from subpixel.network import LRNetwork


def hide(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make an engine look as if its package or its library were not installed."""

    def missing(path: str) -> None:
        raise OSError(f"{path}: no such file")

    if name == "native":
        monkeypatch.setattr(ctypes, "CDLL", missing)
    else:
        monkeypatch.setitem(sys.modules, name, None)
    for module in (f"engines.{name}", f"without_telemetry.{name}", "engines.library"):
        monkeypatch.delitem(sys.modules, f"subpixel.{module}", raising=False)


class Contestant(Engine):
    """An engine whose runs take a time of a clock that only contestants move."""

    def __init__(self, clock: "Clock", name: Any, precision: Any) -> None:
        self.clock, self.name, self.precision = clock, name, precision

    def __call__(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        self.clock.now += self.clock.seconds[self.name, self.precision]
        self.clock.runs += 1
        return planes


class Clock:
    """A clock, and the engines that run by it.

    Attributes:
        seconds: the time of a run, by engine and precision; it says which there are.
        broken: why engines do not start.
        built: what was started.
        runs: how many runs there were.
    """

    def __init__(self, seconds: dict[tuple[str, str], float]) -> None:
        self.now, self.runs, self.seconds = 0.0, 0, seconds
        self.broken: dict[str, Exception] = {}
        self.built: list[tuple[str, str]] = []

    def available(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _ in self.seconds))

    def precisions(self, name: str) -> tuple[str, ...]:
        return tuple(precision for other, precision in self.seconds if other == name)

    def build(self, name: str, _network: LRNetwork, precision: str) -> Contestant:
        if name in self.broken:
            raise self.broken[name]
        self.built.append((name, precision))
        return Contestant(self, name, precision)
