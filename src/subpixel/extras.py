"""Packages that only some users need: a missing one is an error that names the pip command."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Name the extra in the error about a package that is missing when the block imports it.

    Args:
        extra: the extra of `subpixel` that installs what the block imports.

    Raises:
        ModuleNotFoundError: a package is not installed; the message names the pip command.

    Example:
        >>> with needing("torch"):
        ...     import no_such_package
        Traceback (most recent call last):
        ModuleNotFoundError: no_such_package must be installed for this. Run: pip install 'subpixel[torch]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} must be installed for this. Run: pip install 'subpixel[{extra}]'",
            name=error.name,
        ) from error
