"""At which sizes a form is compared with the original."""

from collections.abc import Callable, Iterator

from subpixel.rewriter.decide import MismatchError

SIZES = ((3, 4, 5), (7, 6, 9), (12, 13, 16))  # pixels by axis
ENOUGH = 2  # of the sizes must be taken; a long kernel takes only larger ones
LARGEST = 2**12  # pixels along an axis


def largest_difference(difference: Callable[[tuple[int, ...]], float | None], ndim: int, path: str) -> float:
    """The largest one at all sizes that the original takes.

    Args:
        difference: at a size, relative to the largest output; None where the original takes none such.
        ndim: how many axes.
        path: of the site, for the error.

    Raises:
        MismatchError: it takes fewer than two sizes.

    Example:
        >>> largest_difference(lambda sizes: 0.5 if sizes[0] > 3 else None, 2, "up")
        0.5
    """
    for candidates in _growing():
        found = [difference(sizes[:ndim]) for sizes in candidates]
        known = [each for each in found if each is not None]
        if len(known) >= ENOUGH:
            return max(known)
    raise MismatchError(f"{path} must be proven at two sizes at least; it takes none up to {LARGEST}.")


def _growing() -> Iterator[list[tuple[int, ...]]]:
    scale = 1
    while scale * max(map(max, SIZES)) <= LARGEST:
        yield [tuple(scale * size for size in sizes) for sizes in SIZES]
        scale *= 4
