"""Example inputs from a file of a stranger's."""

import zipfile
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LARGEST = 2**30  # bytes of all arrays: as much as random inputs may have


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an .npz file by name.

    Nothing in the file is run as code, and no array takes more memory than the file says it has.

    Raises:
        ValueError: the file is not an .npz file of arrays of numbers, or is too large.
    """
    wrong = f"the example inputs must be an .npz file of arrays of numbers; got {path}"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > LARGEST:
                raise ValueError(f"the example inputs must have at most {LARGEST} bytes; got more in {path}.")
            return {member.filename.removesuffix(".npy"): _read(archive, member) for member in members}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zipfile.LargeZipFile) as error:
        raise ValueError(f"{wrong} ({error}). Write one with numpy.savez.") from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        size = _size(file)
    if size > member.file_size:  # NumPy would allocate what the header says
        raise ValueError(f"{member.filename} must hold the {size} bytes that it announces; it is cut off.")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _size(file: IO[bytes]) -> int:
    """Return how many bytes the header of an array announces."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"an array must have a header of version 1.0 or 2.0; got {version}.")
    shape, _, dtype = read_header(file)
    return int(prod(shape) * dtype.itemsize)
