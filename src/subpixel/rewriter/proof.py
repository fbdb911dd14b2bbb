"""The sizes at which a form is compared with the original."""

from collections.abc import Callable, Iterator

SIZES = ((3, 4, 5), (7, 6, 9), (12, 13, 16))  # pixels by axis: odd and even, one shorter than most kernels
ENOUGH = 2  # sizes that the original must take; a long kernel takes only larger ones
LARGEST = 2**12  # pixels along an axis


def largest_difference(difference: Callable[[tuple[int, ...]], float | None], ndim: int) -> float | None:
    """Return the largest difference among all sizes that the original takes.

    Args:
        difference: called with a size; it returns the difference relative to the largest output, or None
            where the original does not take the size.
        ndim: how many axes a size has.

    Returns:
        The difference, or None where fewer than two sizes up to 4096 pixels are taken.

    Example:
        >>> largest_difference(lambda sizes: 0.5 if sizes[0] > 3 else None, 2)
        0.5
    """
    for candidates in _growing():
        found = [difference(sizes[:ndim]) for sizes in candidates]
        known = [each for each in found if each is not None]
        if len(known) >= ENOUGH:
            return max(known)
    return None


def _growing() -> Iterator[list[tuple[int, ...]]]:
    scale = 1
    while scale * max(map(max, SIZES)) <= LARGEST:
        yield [tuple(scale * size for size in sizes) for sizes in SIZES]
        scale *= 4
