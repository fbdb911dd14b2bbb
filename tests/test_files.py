import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from subpixel import files
from subpixel.files import replacing


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """The temporary file is hidden, and has the suffix that encoders go by."""
    path = tmp_path / "a.png"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert (temporary.name[0], temporary.suffix, temporary.parent) == (".", ".png", tmp_path)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def fail_in_the_middle(path: Path, error: type[BaseException]) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_on_failure_all_is_as_before(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    with pytest.raises(error):
        fail_in_the_middle(path, error)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


class Termination(BaseException):
    """As the handler of a signal raises it, wherever the program is."""


def terminated_after(lines: int, path: Path) -> bool:
    """Write a file, and raise after so many lines of `subpixel.files`; return whether that came to pass."""
    left = lines

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if frame.f_code.co_filename != files.__file__:
            return None
        left -= event == "line"
        if left < 0:
            raise Termination
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with replacing(path) as temporary:
            temporary.write_text("new")
    except Termination:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_termination_at_any_line_leaves_nothing_half_done(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    lines = 0
    while terminated_after(lines, path):
        assert [file.name for file in tmp_path.iterdir()] in ([], ["a.png"]), f"after {lines} lines"
        assert not path.exists() or path.read_text() == "new"
        path.unlink(missing_ok=True)
        lines += 1
    assert lines > 20
    assert path.read_text() == "new"


def test_an_error_names_the_output_not_the_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error, replacing(tmp_path / "none" / "a.png"):
        pass
    assert error.value.filename == str(tmp_path / "none" / "a.png")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 125 + ".png")
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_link_is_replaced_and_what_it_leads_to_kept(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    with replacing(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "target").read_text() == "old"
    assert (tmp_path / "link").read_text() == "new"


HOLD = """if True:
    import sys
    from pathlib import Path
    from subpixel.files import replacing
    with replacing(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        print(temporary, flush=True)
        sys.stdin.read()
"""


def holder(path: Path) -> "tuple[subprocess.Popen[str], Path]":
    """A process that is writing an output, and its temporary file."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], text=True, **pipes)  # type: ignore[call-overload]
    return process, Path(process.stdout.readline().rstrip())


def test_what_a_killed_process_left_goes_with_the_next_write_of_the_same_output(tmp_path: Path) -> None:
    """What it left of another output stays: it may be on its way there again."""
    same, other = tmp_path / "a.png", tmp_path / "b.png"
    left = []
    for path in (same, other):
        process, temporary = holder(path)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert temporary.read_text() == "half"
        left.append(temporary)
    with replacing(same) as temporary:
        temporary.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([same, left[1]])


def test_two_processes_that_write_the_same_output_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Nor do two threads of one: the last to end wins."""
    path = tmp_path / "a.png"
    process, theirs = holder(path)
    with replacing(path) as outer:
        outer.write_text("outer")
        with replacing(path) as inner:
            inner.write_text("inner")
        assert (theirs.exists(), outer.exists()) == (True, True)
    assert path.read_text() == "outer"
    process.communicate("")
    assert process.returncode == 0
    assert path.read_text() == "half"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk full"), (errno.EFBIG, "the output is larger than files may be here")],
)
def test_a_full_disk_is_named(tmp_path: Path, number: int, message: str) -> None:
    with pytest.raises(OSError, match=message) as error, replacing(tmp_path / "a.png"):
        raise OSError(number, os.strerror(number))
    assert (error.value.errno, error.value.filename) == (number, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
