"""What was chosen earlier, in a small file of the user's cache folder.

The file maps hashes to names of engines, and holds nothing else. Where it is missing, broken
or read-only, the choice is measured again.
"""

import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from subpixel.files import replacing

VARIABLE = "SUBPIXEL_CACHE"  # a folder to use instead; "off" for none

NAME = "engines.json"
_MOST_ENTRIES = 256
_MOST_BYTES = 2**16  # of a file that is read: what `_MOST_ENTRIES` need, three times over

_known: dict[str, str] = {}  # in this process


def recall(key: str) -> str | None:
    """Return what was chosen for a key, or None."""
    if key not in _known:
        _known.update(_read() | _known)  # within a process a choice stays as it is
    return _known.get(key)


def remember(key: str, name: str) -> None:
    """Keep a choice, for this process and as far as possible for later ones."""
    _known[key] = name
    path = _path()
    if path is None:
        return
    entries = list((_read() | {key: name}).items())[-_MOST_ENTRIES:]
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(dict(entries), indent=1))


def _read() -> dict[str, str]:
    path = _path()
    try:
        if path is None or path.stat().st_size > _MOST_BYTES:
            return {}
        entries = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    valid = isinstance(entries, dict) and all(isinstance(value, str) for value in entries.values())
    return entries if valid else {}


def _path() -> Path | None:
    """Return the path of the file, or None for none."""
    chosen = os.environ.get(VARIABLE)
    if chosen == "off":
        return None
    try:
        return (Path(chosen) if chosen else _folder()) / NAME
    except RuntimeError:  # there is no home
        return None


def _folder() -> Path:
    """Return the folder that each system has for caches."""
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "subpixel"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "subpixel"
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "subpixel"
