"""How large an image may be."""

MAX_PIXELS = 2**28  # an input with more is taken for a decompression bomb
MAX_OUTPUT_PIXELS = 16 * MAX_PIXELS  # the largest input enlarged by four


def check_size(width: int, height: int, limit: int, what: str = "an image") -> None:
    """Raise a ValueError that calls the image `what` if it has more pixels than the limit."""
    if width * height > limit:
        raise ValueError(
            f"{what} must have at most {limit / 1e6:.0f} megapixels; got {width}x{height}, "
            f"{width * height / 1e6:.0f} megapixels."
        )
