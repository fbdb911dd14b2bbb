"""Every up-sampler is a convolution in low-resolution space.

The names below are loaded when first used, so that `import subpixel` stays as light as NumPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from subpixel.network import LRNetwork, load
    from subpixel.rewriter import rewrite
    from subpixel.upscale import Upscaler

__version__ = "0.1.0"
__all__ = ["LRNetwork", "Upscaler", "load", "rewrite"]

_HOMES = {
    "LRNetwork": "subpixel.network",
    "Upscaler": "subpixel.upscale",
    "load": "subpixel.network",
    "rewrite": "subpixel.rewriter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'subpixel' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
