"""Networks to train, one file each; the file's name is the model's name, and its `MODEL` is the class."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from subpixel.models.base import Model

_BASE = "base"


class _Models(Mapping[str, "type[Model]"]):
    """The models by name; a model's file, which needs PyTorch, is imported when the model is asked for."""

    def __getitem__(self, name: str) -> "type[Model]":
        if name not in self:
            raise KeyError(name)
        return cast("type[Model]", import_module(f"{__name__}.{name}").MODEL)

    def __contains__(self, name: object) -> bool:
        return name in set(self)  # without an import, which `Mapping` would try

    def __iter__(self) -> Iterator[str]:
        return (module.name for module in iter_modules(__path__) if module.name != _BASE)

    def __len__(self) -> int:
        return sum(1 for _ in self)


MODELS: Mapping[str, "type[Model]"] = _Models()
