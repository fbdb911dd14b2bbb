"""Every up-sampler is a convolution in low-resolution space.

The names below are loaded when first used, so that `import subpixel` stays as light as the standard library.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from subpixel import functional, geometry, kernels, models, network, nn, rewriter
    from subpixel.network import LRNetwork, load
    from subpixel.rewriter import rewrite
    from subpixel.upscale import Upscaler

__version__ = "0.1.0"
__all__ = [
    "LRNetwork",
    "Upscaler",
    "functional",
    "geometry",
    "kernels",
    "load",
    "models",
    "network",
    "nn",
    "rewrite",
    "rewriter",
]

_HOMES = {"LRNetwork": "network", "Upscaler": "upscale", "load": "network", "rewrite": "rewriter"}

if not TYPE_CHECKING:  # a type checker that saw `__getattr__` would take every name, and find no typing error

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'subpixel' has no attribute {name!r}")
        if name in _HOMES:
            return getattr(import_module(f"subpixel.{_HOMES[name]}"), name)
        return import_module(f"subpixel.{name}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
