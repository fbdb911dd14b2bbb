"""A proxy that knows its value in the example, so that Python may compute, branch and count with it."""

import math
import operator
from typing import TYPE_CHECKING, Any

from torch import fx

from subpixel.rewriter.pytorch.graph import Value

if TYPE_CHECKING:
    from subpixel.rewriter.pytorch.recording.tracer import Tracer


class Witness(fx.Proxy):
    """A value of a forward that is being recorded: a node of the graph, and what the node gives.

    Python demands a plain number of some methods, for example of `__index__`: such a number is fixed by a
    guard. The rounding functions may give what they like, so they are recorded.
    """

    tracer: "Tracer"

    @property
    def value(self) -> Value:
        """Return the value in the example."""
        return self.tracer.values[self.node]

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(self.value, name)):
            return super().__getattr__(name)  # a method, to be called
        return self._record(getattr, name)

    def __setitem__(self, index: Any, value: Any) -> None:
        arguments: Any = self.tracer.create_arg((self, index, value))
        self.tracer.create_node("call_function", operator.setitem, arguments, {})

    def __len__(self) -> int:
        length: int = self.tracer.fixed(self._record(len))
        return length

    def __contains__(self, item: object) -> bool:
        found: bool = self._record(operator.contains, item)
        return found

    def __index__(self) -> int:
        return operator.index(self.tracer.fixed(self))

    def __int__(self) -> int:
        return int(self.tracer.fixed(self))

    def __float__(self) -> float:
        return float(self.tracer.fixed(self))

    def __complex__(self) -> complex:
        return complex(self.tracer.fixed(self))

    def __format__(self, spec: str) -> str:
        return format(self.tracer.fixed(self), spec)

    def __str__(self) -> str:
        return format(self)

    def __round__(self, digits: int | None = None) -> Any:
        return self._record(round, *(() if digits is None else (digits,)))

    def __ceil__(self) -> Any:
        return self._record(math.ceil)

    def __floor__(self) -> Any:
        return self._record(math.floor)

    def __trunc__(self) -> Any:
        return self._record(math.trunc)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def _record(self, function: Any, *others: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, *others), {})


def has_witness(arguments: Any) -> bool:
    """Say whether a value of the forward is among arguments, or in their lists and dicts."""
    if type(arguments) is Witness:  # asked first: to `isinstance` it is what it stands for
        return True
    if isinstance(arguments, dict):
        return any(map(has_witness, arguments.values()))
    return isinstance(arguments, list | tuple | set) and any(map(has_witness, arguments))
