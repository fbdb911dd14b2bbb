import os
from collections.abc import Callable
from pathlib import Path

import pytest

from subpixel.jobs.plan import Naming, plan

IS_INPUT = "the output must not be an input; got a.jpg"
X2 = Naming("-x2")
Make = Callable[..., None]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Make empty files in the folder where the test runs."""
    monkeypatch.chdir(tmp_path)

    def touch(*names: str) -> None:
        for name in names:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            Path(name).touch()

    return touch


def planned(inputs: str, out: str | None = None, naming: Naming = X2, **options: bool) -> dict[str, str]:
    """What is written where, or why not."""
    jobs = plan(
        [Path(name) for name in inputs.split()], None if out is None else Path(out), naming, **options
    )
    return {str(job.source): job.problem or str(job.destination) for job in jobs}


def test_outputs_go_beside_files(make: Make) -> None:
    make("a.jpg", "d/b.c.png")
    assert planned("a.jpg d/b.c.png") == {"a.jpg": "a-x2.jpg", "d/b.c.png": "d/b.c-x2.png"}
    assert planned("a.jpg", naming=Naming("-x2", ".webp")) == {"a.jpg": "a-x2.webp"}


def test_out_is_a_file_or_a_folder(make: Make) -> None:
    make("a.jpg", "b.jpg", "folder.png/x")
    assert planned("a.jpg", "o.png") == {"a.jpg": "o.png"}
    assert planned("a.jpg", "new") == {"a.jpg": "new/a.jpg"}
    assert planned("a.jpg", "folder.png") == {"a.jpg": "folder.png/a.jpg"}
    assert planned("a.jpg b.jpg", "new") == {"a.jpg": "new/a.jpg", "b.jpg": "new/b.jpg"}


def test_a_file_cannot_take_several_images(make: Make) -> None:
    make("d/a.jpg", "b.jpg")
    for inputs in ("d", "d/a.jpg b.jpg"):
        with pytest.raises(ValueError, match=r"of several images must be a folder; got o\.png"):
            planned(inputs, "o.png")


def test_a_folders_outputs_go_into_a_folder_beside_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("d/a.jpg", "d/text.txt", "d/e/b.png", "d/.hidden.png", "d/.subpixel-1.partial.png")
    assert planned("d") == {"d/a.jpg": "d-x2/a.jpg"}
    assert planned("d", recursive=True) == {"d/a.jpg": "d-x2/a.jpg", "d/e/b.png": "d-x2/e/b.png"}
    assert planned("d", "o", recursive=True) == {"d/a.jpg": "o/a.jpg", "d/e/b.png": "o/e/b.png"}
    monkeypatch.chdir("d")
    assert planned(".") == {"a.jpg": str(Path("../d-x2/a.jpg").resolve())}


def test_several_folders_stay_apart(make: Make) -> None:
    make("d/a.jpg", "e/a.jpg", "b.jpg")
    assert planned("d e b.jpg", "o") == {"d/a.jpg": "o/d/a.jpg", "e/a.jpg": "o/e/a.jpg", "b.jpg": "o/b.jpg"}


def test_outputs_of_an_earlier_run_are_no_inputs(make: Make) -> None:
    make("d/a.jpg", "d/out/a.jpg", "d/out/sub/a.jpg")
    assert planned("d", "d/out", recursive=True) == {"d/a.jpg": "d/out/a.jpg"}


def test_names_that_would_be_the_same_keep_their_suffixes(make: Make) -> None:
    """All of them, so that a name never comes to mean another image when one is added."""
    make("d/a.jpg", "d/a.png", "d/b.jpg")
    webp = Naming("-x2", ".webp")
    expected = {"d/a.jpg": "o/a.jpg.webp", "d/a.png": "o/a.png.webp", "d/b.jpg": "o/b.webp"}
    assert planned("d", "o", webp) == expected
    assert planned("d/a.jpg d/a.png", naming=webp) == {
        "d/a.jpg": "d/a.jpg-x2.webp",
        "d/a.png": "d/a.png-x2.webp",
    }


def test_names_that_stay_the_same_are_refused(make: Make) -> None:
    make("d/a.jpg", "e/a.jpg")
    problem = "each output must have a name of its own; another input goes to o/a.jpg.jpg too"
    assert planned("d/a.jpg e/a.jpg", "o") == {"d/a.jpg": problem, "e/a.jpg": problem}


def test_an_input_is_never_overwritten(make: Make) -> None:
    make("a.jpg", "a-x2.jpg")
    for overwrite in (False, True):
        assert planned("a.jpg", ".", overwrite=overwrite) == {"a.jpg": IS_INPUT}
        assert planned(".", ".", overwrite=overwrite)["a.jpg"] == IS_INPUT
        assert planned("a.jpg", "a.jpg", overwrite=overwrite) == {"a.jpg": IS_INPUT}
    assert planned("a.jpg a-x2.jpg")["a.jpg"] == "a-x2.jpg"  # which exists, and so is skipped
    assert planned("a.jpg a-x2.jpg", overwrite=True)["a.jpg"] == IS_INPUT.replace("a.jpg", "a-x2.jpg")


def test_a_link_to_an_input_is_an_input(make: Make) -> None:
    make("a.jpg", "o/x")
    Path("o/a.jpg").symlink_to(Path("a.jpg").resolve())
    assert planned("a.jpg", "o", overwrite=True) == {"a.jpg": IS_INPUT.replace("a.jpg", "o/a.jpg")}


def test_links_lead_nowhere_out_of_the_output_folder(make: Make) -> None:
    make("d/a.jpg", "d/sub/b.jpg", "elsewhere/x", "o/x")
    Path("o/sub").symlink_to(Path("elsewhere").resolve())
    problem = "the output must stay in o; a link, o/sub, leads out of it"
    assert planned("d", "o", recursive=True) == {"d/a.jpg": "o/a.jpg", "d/sub/b.jpg": problem}


def test_linked_images_are_images_of_their_own(make: Make) -> None:
    make("d/a.jpg", "elsewhere/b.jpg")
    Path("d/link.jpg").symlink_to("a.jpg")
    Path("d/linked").symlink_to(Path("elsewhere").resolve())  # a folder that is not entered
    assert planned("d", recursive=True) == {"d/a.jpg": "d-x2/a.jpg", "d/link.jpg": "d-x2/link.jpg"}


def test_a_folder_without_images_is_a_problem(make: Make) -> None:
    make("d/text.txt", "d/e/a.png", "empty/x.txt", "f/a.png")
    assert planned("d f") == {
        "d": "holds no images; --recursive searches the folders in it",
        "f/a.png": "f-x2/a.png",
    }
    assert planned("empty d", "o", recursive=True) == {"empty": "holds no images", "d/e/a.png": "o/d/e/a.png"}


def test_images_of_other_kinds_in_a_folder_are_named(make: Make) -> None:
    make("d/a.HEIC", "d/b.heic", "d/c.nef", "d/e/d.bmp", "d/text.txt")
    problem = "holds no images that can be read: 2 HEIC, 1 RAW are not supported"
    assert planned("d") == {"d": f"{problem}; --recursive searches the folders in it"}
    assert planned("d", recursive=True) == {"d": problem.replace("2 HEIC", "1 BMP, 2 HEIC")}


def test_a_folder_that_cannot_be_read_is_a_problem(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    make("d/a.png")

    def denied(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    assert planned("d") == {"d": "Permission denied"}


def test_links_in_circles_and_folders_that_cannot_be_read_are_named_and_the_rest_is_done(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make("d/a.png", "d/locked/b.png", "d/sub/c.png")
    Path("d/circle.png").symlink_to("circle.png")
    Path("d/sub/up").symlink_to("..")
    scandir = os.scandir

    def denied(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    assert planned("d", recursive=True) == {
        "d/a.png": "d-x2/a.png",
        "d/circle.png": "d-x2/circle.png",
        "d/sub/c.png": "d-x2/sub/c.png",
        "d/locked": "Permission denied",
    }
    assert planned("d/circle.png") == {"d/circle.png": "d/circle-x2.png"}


@pytest.mark.parametrize(
    ("suffix", "name"), [("bmp", "BMP"), ("heic", "HEIC"), ("DNG", "RAW"), ("svg", "SVG")]
)
def test_an_output_that_cannot_be_written_is_no_folder(make: Make, suffix: str, name: str) -> None:
    make("a.png", f"folder.{suffix}/x")
    with pytest.raises(
        ValueError, match=rf"must end in one of .*; got '\.{suffix}': {name} is not supported"
    ):
        planned("a.png", f"out.{suffix}")
    assert planned("a.png", f"folder.{suffix}") == {"a.png": f"folder.{suffix}/a.png"}
    assert planned("a.png", "photos.2024") == {"a.png": "photos.2024/a.png"}
