"""The build hook: a wheel holds the native engine's library, and its name says for which machines.

The environment variable SUBPIXEL_TARGET names the target of a wheel for another machine. Where there is no
target for a machine, the wheel is without the library, and the other engines work.
"""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
from build import ENGINES, TARGETS, ZIGLANG, BuildError, build, system_compiler, this_machine


class NativeHook(BuildHookInterface[Any]):
    """Builds the library and puts it into the wheel; an editable install has it among its sources."""

    def dependencies(self) -> list[str]:
        """Return the compiler out of a package, where this machine has none of its own."""
        target = _target()
        return [ZIGLANG] if target in TARGETS and not system_compiler(target) else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library; the folder that holds it is removed with the hook."""
        target = _target()
        if target is None:
            self.app.display_warning("The native engine is not built: there is none for this machine.")
            return
        self._folder = TemporaryDirectory()
        try:
            library = build(ENGINES if version == "editable" else Path(self._folder.name), target)
        except BuildError as error:
            sys.exit(str(error))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{TARGETS[target].tag}"
        if version != "editable":
            build_data["force_include"][str(library)] = f"subpixel/engines/{library.name}"


def _target() -> str | None:
    return os.environ.get("SUBPIXEL_TARGET") or this_machine()
