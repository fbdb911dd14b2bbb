"""Resize to the same size = nothing: y[h] = x[h]."""

from subpixel.rewriter.layers import Chain
from subpixel.rewriter.rules import Rule


def check(_chain: Chain) -> str | None:
    """Accept every one."""
    return None


def rewrite(_chain: Chain) -> dict[str, Chain]:
    """Return the chain of no layer."""
    return {"dropped": ()}


RULE = Rule("resize to the same size", "Unchanged", check, rewrite)
