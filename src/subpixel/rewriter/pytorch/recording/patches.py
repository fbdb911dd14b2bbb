"""What is replaced in Python and PyTorch while a forward is recorded, and put back whatever happens.

All of it is seen by the whole process, so each replacement asks first whether it is called by the thread that
records: in any other thread it does what was there before.
"""

import builtins
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import FunctionType
from typing import Any, Protocol

import torch
from torch import nn

from subpixel.rewriter.pytorch.recording.witness import Witness, has_witness

# Functions of PyTorch that take numbers or types, and do not ask them whether they are proxies.
OF_NUMBERS = (
    "arange", "as_tensor", "asarray", "empty", "eye", "finfo", "full", "iinfo", "linspace", "ones",
    "rand", "randn", "tensor", "zeros",
)  # fmt: skip


class Recorder(Protocol):
    """What is told of the calls that are caught."""

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what the call of a module gives; `forward` makes it as usual."""

    def attribute(self, value: Any) -> Any:
        """Return what a forward gets that reads an attribute of a module."""

    def is_size(self, value: Any) -> bool:
        """Say whether a number depends on a size of the input."""

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any) -> Any:
        """Return what a recorded call gives."""


@contextmanager
def temporary(place: Any, name: str, value: Any) -> Iterator[None]:
    """Put a value into an object, or into a dict of names, for a while."""
    former = place[name] if isinstance(place, dict) else getattr(place, name)
    put = place.__setitem__ if isinstance(place, dict) else partial(setattr, place)
    put(name, value)
    try:
        yield
    finally:
        put(name, former)


@contextmanager
def watched_parameters(read: Callable[[nn.Module], None]) -> Iterator[None]:
    """Call `read` with each module of which this thread looks at a parameter, as in `self.conv.weight`."""
    plain, thread = nn.Module.__getattr__, threading.get_ident()

    def watched(module: nn.Module, name: str) -> Any:
        if threading.get_ident() == thread and name in vars(module).get("_parameters", ()):
            read(module)
        return plain(module, name)

    with temporary(nn.Module, "__getattr__", watched):
        yield


@contextmanager
def patched(recorder: Recorder, names: dict[str, Any]) -> Iterator[None]:
    """Send the calls of modules, `isinstance`, and the functions of numbers to a recorder.

    Args:
        recorder: is told of the calls.
        names: the globals of the forward, which may have functions of `math` under names of their own.
    """
    plain_call, plain_getattr, thread = nn.Module.__call__, nn.Module.__getattr__, threading.get_ident()

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        def as_usual(*args: Any, **kwargs: Any) -> Any:
            return plain_call(module, *args, **kwargs)

        if threading.get_ident() != thread:
            return as_usual(*args, **kwargs)
        return recorder.call_module(module, as_usual, args, kwargs)

    def read(module: nn.Module, name: str) -> Any:
        value = plain_getattr(module, name)
        return value if threading.get_ident() != thread else recorder.attribute(value)

    with ExitStack() as patches:
        patches.enter_context(temporary(nn.Module, "__call__", call))
        patches.enter_context(temporary(nn.Module, "__getattr__", read))
        patches.enter_context(temporary(builtins, "isinstance", _seeing_through(builtins.isinstance)))
        # By identity, since `from math import ceil as up` gives another name.
        functions = {id(function) for function in vars(math).values() if callable(function)}
        for name in OF_NUMBERS:
            patches.enter_context(temporary(torch, name, _recorded(getattr(torch, name), recorder)))
        for place in (vars(math), names):
            for name, function in list(place.items()):
                if id(function) in functions:
                    patches.enter_context(temporary(place, name, _recorded(function, recorder)))
        yield


def with_recorded_int(forward: Any, recorder: Recorder) -> Any:
    """Return a forward that computes the same, and whose `int` is recorded; the same one where that may fail.

    The forward gets globals of its own, since other code may ask whether `type(x) is int`.
    """
    code = getattr(forward, "__code__", None)
    if code is None or hasattr(forward, "__wrapped__") or "type" in code.co_names:
        return forward
    names = {"int": _recorded(int, recorder)} | forward.__globals__
    copied = FunctionType(code, names, forward.__name__, forward.__defaults__, forward.__closure__)
    copied.__kwdefaults__ = forward.__kwdefaults__
    return copied


def _seeing_through(plain: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return an `isinstance` that asks what a proxy stands for; there are proxies in one thread alone.

    The proxy's `__class__` must not lie: C++ would take it for the tensor that it is not, and crash.
    """
    return lambda value, kinds: plain(value, kinds) or (type(value) is Witness and plain(value.value, kinds))


def _recorded(function: Any, recorder: Recorder) -> Callable[..., Any]:
    """Return a function that is recorded where a value of the forward is among its arguments."""

    def call(*args: Any, **kwargs: Any) -> Any:
        # Another integer, for example an argument, may be a key of a dict: it is fixed by a guard instead.
        if has_witness((args, kwargs)) and (function is not int or recorder.is_size(*args)):
            return recorder.create_proxy("call_function", function, args, kwargs)
        return function(*args, **kwargs)

    # `int` and `torch.finfo` are classes, which are also asked for instances and for methods.
    class Kind(type):
        """The class of what stands in for a class, of which others may ask what is an instance."""

        __call__ = staticmethod(call)

        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, function)

        def __getattr__(cls, name: str) -> Any:
            return getattr(function, name)

    return Kind(function.__name__, (), {}) if type(function) is type else call
