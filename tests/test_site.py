"""The check of the built site finds what would be broken, or fetched from elsewhere."""

import re
import runpy
from pathlib import Path
from types import ModuleType

import pytest

import subpixel
from subpixel.studies import NAMES

ROOT = Path(__file__).parent.parent
faults = runpy.run_path(str(ROOT / "docs" / "make_site.py"))["faults"]


def site(folder: Path, body: str) -> Path:
    """Write a site of two pages, a picture and a style."""
    (folder / "api").mkdir()
    (folder / "index.html").write_text(f"<h1 id=top>One</h1> {body}")
    (folder / "api" / "page.html").write_text("<a href='../index.html#top'>back</a> <h2 id='a.b'>b</h2>")
    (folder / "a.png").touch()
    (folder / "a.css").write_text("p { background: url(a.png) }")
    return folder


def test_a_whole_site_has_no_faults(tmp_path: Path) -> None:
    """Links to pages, anchors, files and other hosts; pictures of its own."""
    links = "#top api/page.html api/page.html#a.b https://example.org/ //example.org a.png mailto:a@b.org"
    body = "".join(f"<a href='{link}'>x</a>" for link in links.split())
    body += "<img src=a.png> <link href=a.css rel=stylesheet> <img src='data:image/gif;base64,'>"
    assert faults(site(tmp_path, body)) == []


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<a href=none.html>", "index.html links to none.html, which does not exist"),
        ("<a href=../outside.html>", "index.html links to ../outside.html, which does not exist"),
        ("<img src=none.png>", "index.html links to none.png, which does not exist"),
        ("<a href=#none>", "index.html links to #none, where there is no such anchor"),
        ("<a href=api/page.html#x>", "index.html links to api/page.html#x, where there is no such anchor"),
        ("<img src=https://example.org/a.png>", "index.html fetches https://example.org/a.png"),
        ("<script src=//example.org/a.js></script>", "index.html fetches //example.org/a.js"),
        ("<link href=https://example.org/a.css>", "index.html fetches https://example.org/a.css"),
        ("<style>@import 'https://example.org/'</style>", "index.html fetches https://example.org/"),
    ],
)
def test_each_fault_is_found(tmp_path: Path, body: str, fault: str) -> None:
    (tmp_path.parent / "outside.html").touch()
    assert faults(site(tmp_path, body)) == [fault]


def test_a_style_that_fetches_is_found(tmp_path: Path) -> None:
    folder = site(tmp_path, "")
    (folder / "a.css").write_text("@font-face { src: url('https://example.org/a.woff2') }")
    assert faults(folder) == ["a.css fetches https://example.org/a.woff2"]


def test_every_page_is_in_the_navigation() -> None:
    """A page that is added stands in `nav` of mkdocs.yml, or nobody finds it."""
    listed = re.findall(r"^ +- (?:.*: )?(\S+\.(?:md|html))$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [path for suffix in ("md", "html") for path in (ROOT / "docs").rglob(f"*.{suffix}")]
    published = {str(page.relative_to(ROOT / "docs")) for page in pages} - {"interactive/template.html"}
    assert published - set(listed) == set()
    assert len(listed) == len(set(listed))
    studies = [page.split("/")[1] for page in listed if page.startswith("studies/") and page.count("/") == 2]
    assert studies == [name for name in NAMES if name in studies]


def test_every_public_module_has_its_docstrings_on_the_site() -> None:
    """The root's modules, and those that the how-tos use."""
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
    modules = {name for name in subpixel.__all__ if isinstance(getattr(subpixel, name), ModuleType)}
    assert len(modules) == 7
    modules |= {"upscale", "engines", "training.run", "training.recipe", "evaluation.protocol", "degradation"}
    assert [name for name in sorted(modules) if f"\n::: subpixel.{name}\n" not in pages] == []
