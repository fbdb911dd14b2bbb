from pathlib import Path

import pytest

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
