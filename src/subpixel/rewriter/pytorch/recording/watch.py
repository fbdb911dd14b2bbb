"""A run of a model on the example: which forwards up-sample, and who uses which module."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from subpixel.rewriter.pytorch.comparison import clone_arguments
from subpixel.rewriter.pytorch.modules import asks_for_classes
from subpixel.rewriter.pytorch.operators import UP_SAMPLERS, own_kind
from subpixel.rewriter.pytorch.recording.moves import Moves
from subpixel.rewriter.pytorch.recording.patches import watched_parameters

PAIRED = (nn.Upsample, nn.PixelShuffle)  # what makes a site together with its neighbours
ALONE = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d, *PAIRED)


@dataclass
class Seen:
    """What a run shows, in the order of the run.

    Attributes:
        callers: modules whose own forward must be recorded, as it up-samples, pairs or looks at layers; and
            whether that is certain: an assignment to a part of a tensor may insert zeros or not.
        users: by module, the modules whose forward calls it; None if something looks at its weights.
        moves: modules that up-sample by moving pixels, and how.
    """

    callers: dict[nn.Module, bool] = field(default_factory=dict)
    users: dict[nn.Module, set[nn.Module | None]] = field(default_factory=dict)
    moves: dict[tuple[nn.Module, str], None] = field(default_factory=dict)


def watch(model: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Seen:
    """Run a model and return what the run shows."""
    args, kwargs = clone_arguments((args, dict(kwargs)))  # the model may write to them
    seen, stack = Seen(), list[nn.Module]()

    def entered(module: nn.Module, *_: Any) -> None:
        if stack and (
            isinstance(module, PAIRED) or (isinstance(module, ALONE) and asks_for_classes(stack[-1]))
        ):
            seen.callers[stack[-1]] = True
        seen.users.setdefault(module, set()).update(stack[-1:])  # nobody calls the model itself
        stack.append(module)

    def left(*_: Any) -> None:
        stack.pop()

    def read(module: nn.Module) -> None:
        if stack and stack[-1] is not module:
            seen.users.setdefault(module, set()).add(None)

    with hooked(model.modules(), entered, left), watched_parameters(read), _Functions(seen, stack):
        model(*args, **kwargs)
    return seen


class _Functions(TorchFunctionMode):
    """Sees the functions that forwards call; `stack` has the module that runs last."""

    def __init__(self, seen: Seen, stack: list[nn.Module]) -> None:
        super().__init__()
        self._seen, self._stack, self._moves = seen, stack, Moves()

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        result = function(*args, **kwargs)
        if self._stack:
            caller, certain = self._stack[-1], name in UP_SAMPLERS
            if (certain or _may_insert_zeros(name, args)) and own_kind(caller) is None:
                self._seen.callers[caller] = certain or self._seen.callers.get(caller, False)
            if kind := self._moves.kind(name, args, kwargs, result):
                self._seen.moves[caller, kind] = None
        return result


def _may_insert_zeros(name: str, args: tuple[Any, ...]) -> bool:
    """Say whether a call may put zeros between pixels, by an assignment or by padding cells of one pixel."""
    cells = name == "pad" and isinstance(args[0], Tensor) and args[0].ndim > 5
    return name == "__setitem__" or cells


@contextmanager
def hooked(
    modules: Iterable[nn.Module], entered: Callable[..., None], left: Callable[..., None]
) -> Iterator[None]:
    """Call `entered` and `left` around each call of these modules, for a while."""
    with ExitStack() as handles:
        for module in modules:
            if isinstance(module, torch.jit.ScriptModule):
                continue  # it has no hooks, and no Python to see
            handles.enter_context(module.register_forward_pre_hook(entered, prepend=True, with_kwargs=True))
            handles.enter_context(module.register_forward_hook(left, always_call=True))
        yield
