"""PyTorch models: modules, whatever Python their forward runs, and exported programs."""

from subpixel.extras import needing

with needing("torch"):
    from subpixel.rewriter.pytorch.entry import rewrite_pytorch

__all__ = ["rewrite_pytorch"]
