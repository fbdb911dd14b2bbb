"""Build the documentation site into site/ and check it: python docs/make_site.py.

A warning is an error. In what is built every link and every anchor must lead somewhere within the site, and
no page may fetch anything from another host: a link may lead there, a picture, script, style or font may not.
"""

import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from shutil import rmtree
from urllib.parse import unquote, urldefrag

ROOT = Path(__file__).parent.parent
ELSEWHERE = re.compile(r"(?:[a-z]+:)?//|mailto:")
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s;]+)""")


@dataclass
class Page(HTMLParser):
    """What a page links to, what it fetches, and the anchors that others may link to."""

    text: str
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()
        self.feed(self.text)
        self.fetched += IN_STYLES.findall(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the attributes that name an address or an anchor."""
        values = {name: value for name, value in attrs if value}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.fetched += [values[name] for name in ("src", "srcset", "poster", "data") if name in values]
        if "href" in values:
            (self.links if tag == "a" else self.fetched).append(values["href"])


def faults(site: Path) -> list[str]:
    """Return a line for each link of a built site that leads nowhere, and for each fetch from elsewhere."""
    pages = {path: Page(path.read_text()) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        name = path.relative_to(site)
        found += [f"{name} fetches {each}" for each in page.fetched if ELSEWHERE.match(each)]
        if path.name == "404.html":  # it is shown at any address, so its links begin at the root
            continue
        for link in {*page.links, *page.fetched}:
            if not ELSEWHERE.match(link) and not link.startswith("data:"):
                address, anchor = urldefrag(unquote(link))
                target = (path.parent / address).resolve() if address else path
                if site.resolve() not in target.parents or not target.is_file():
                    found.append(f"{name} links to {link}, which does not exist")
                elif anchor and target in pages and anchor not in pages[target].anchors:
                    found.append(f"{name} links to {link}, where there is no such anchor")
    styles = {path: IN_STYLES.findall(path.read_text()) for path in site.rglob("*.css")}
    found += [f"{path.relative_to(site)} fetches {each}" for path, urls in styles.items() for each in urls]
    return sorted(found)


def main() -> None:
    """Build, check, and end with status 1 if anything is wrong."""
    rmtree(ROOT / "site", ignore_errors=True)  # pages that no longer exist would be checked too
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if built.returncode or "griffe:" in built.stderr:  # Griffe's warnings are none to Zensical
        sys.exit(built.stdout + built.stderr)
    if found := faults(ROOT / "site"):
        sys.exit("\n".join(found))
    print("The site has no warning, no broken link, and fetches nothing from another host: site/index.html")


if __name__ == "__main__":
    main()
