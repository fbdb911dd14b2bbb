"""Decisions in a file, so that the same model is decided alike the next time."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from subpixel.files import replacing

VERSION = 2  # of the file; decisions of another version are forgotten


@dataclass
class Cache:
    """Decisions that were made before; kept in a JSON file where a path is given.

    Attributes:
        path: the file, or None.
        sites: what a site becomes, by everything that its times depend on.
        models: whether a whole model is faster rewritten, by its changed sites.

    Raises:
        ValueError: the file is not one of these.
    """

    path: Path | None = None
    sites: dict[str, str] = field(default_factory=dict)
    models: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        try:
            content = json.loads(self.path.read_text())
        except ValueError:
            content = None
        if not _valid(content):
            raise ValueError(f"the cache must be a JSON file of decisions; got {self.path}. Delete it.")
        if content["version"] == VERSION:
            self.sites, self.models = content["sites"], content["models"]

    def save(self) -> None:
        """Write the file, if there is to be one."""
        if self.path is not None:
            content = {"version": VERSION, "sites": self.sites, "models": self.models}
            with replacing(self.path) as temporary:
                temporary.write_text(json.dumps(content, indent=1, sort_keys=True))


def _valid(content: Any) -> bool:
    """Return whether this is what `Cache.save` writes: the file may come from anywhere."""
    if not isinstance(content, dict) or not isinstance(content.get("version"), int):
        return False
    kinds = {"sites": str, "models": bool}
    return content["version"] != VERSION or all(
        isinstance(content.get(name), dict)
        and all(isinstance(value, kind) for value in content[name].values())
        for name, kind in kinds.items()
    )
