"""What every network to train has, and how its own options are read."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from subpixel.extras import needing
from subpixel.network import LRNetwork

with needing("torch"):
    from torch import Tensor, nn


class Model(nn.Module, ABC):
    """A network to train: unpadded, (n, c, h + 2m, w + 2m) in 0..1 to (n, c, r*h, r*w).

    A model's own options are the keyword-only arguments of its constructor. Each is annotated as `int`,
    `float` or a `Literal` of words, and has a default.

    Args:
        upscale_factor: r.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    @classmethod
    def parse_options(cls, texts: Mapping[str, str]) -> dict[str, Any]:
        """Return the values of the model's own options, which a command line has as text.

        Raises:
            ValueError: the model has no such option, or the option has no such value.
        """
        known = _own_options(cls)
        for name in texts:
            if name not in known:
                which = f"one of {', '.join(known)}" if known else "left out, there are none"
                raise ValueError(f"an option of {cls.__name__} must be {which}; got {name!r}.")
        return {name: _parse(known[name], text) for name, text in texts.items()}

    @property
    @abstractmethod
    def radius(self) -> int:
        """LR pixels of context on each side: m."""

    @property
    @abstractmethod
    def identity(self) -> dict[str, str | int]:
        """What tells this network from others: its name and its arguments."""

    @abstractmethod
    def forward(self, plane: Tensor) -> Tensor:
        """Enlarge a batch."""

    @abstractmethod
    def lr_network(self) -> LRNetwork:
        """Return the same function as data, for the engines and for a file."""

    @abstractmethod
    def start_from(self, network: LRNetwork) -> None:
        """Copy the weights of a trained network, as far as they fit.

        Raises:
            ValueError: the network is not of this model's kind.
        """


def as_array(parameter: Tensor) -> NDArray[np.float32]:
    """Return a copy of a parameter, as the arrays of an `LRConvolution` are."""
    array: NDArray[np.float32] = parameter.detach().float().cpu().numpy().copy()
    return array


def _own_options(model: type[Model]) -> dict[str, Parameter]:
    parameters = signature(model, eval_str=True).parameters
    return {name: each for name, each in parameters.items() if each.kind is Parameter.KEYWORD_ONLY}


def _parse(option: Parameter, text: str) -> Any:
    """Return the value of an option, of the type that its annotation names."""
    words = get_args(option.annotation)
    if words:
        if text not in words:
            raise ValueError(f"{option.name} must be one of {', '.join(words)}; got {text!r}.")
        return text
    try:
        return option.annotation(text)
    except ValueError:
        wanted = {int: "an integer", float: "a number"}[option.annotation]
        raise ValueError(f"{option.name} must be {wanted}; got {text!r}.") from None
