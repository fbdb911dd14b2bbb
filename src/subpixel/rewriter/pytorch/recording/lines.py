"""The line of the user's code that a recording has come to, for the report."""

import linecache
import traceback
from pathlib import Path
from types import FrameType

import torch

# Frames of these folders are ours or PyTorch's, not the user's.
FOREIGN = tuple(f"{folder}/" for folder in (Path(__file__).parents[1], Path(torch.__file__).parent))


def line_of_frame(frame: FrameType | None) -> str:
    """Return the innermost line of the user's code from a frame outwards, or nothing.

    Returns:
        For example "net.py, line 12: for row in range(x.shape[2]):".
    """
    while frame is not None:
        if not frame.f_code.co_filename.startswith(FOREIGN):
            return _line(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return ""


def line_of_error(error: BaseException) -> str:
    """Return the innermost line of the user's code that an error went through, or nothing."""
    lines = [(frame.f_code.co_filename, number) for frame, number in traceback.walk_tb(error.__traceback__)]
    users = [line for line in lines if not line[0].startswith(FOREIGN)]
    return _line(*users[-1]) if users else ""


def _line(file: str, number: int) -> str:
    code = linecache.getline(file, number).strip()
    return f"{Path(file).name}, line {number}" + (f": {code}" if code else "")
