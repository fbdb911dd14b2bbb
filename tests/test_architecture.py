"""Imports go one way: `ARCHITECTURE.md` draws the house, these tests hold it up."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import subpixel

SOURCE = Path(subpixel.__file__).parent

# Who may know whom, by the first part of the name below `subpixel`; what is not listed may know nobody.
MAY_IMPORT = {
    "geometry": set(),
    "extras": set(),
    "files": set(),
    "measure": set(),
    "without_telemetry": set(),
    "colour": set(),
    "degradation": {"colour"},
    "raster": set(),
    "images": {"files", "raster"},
    "kernels": {"geometry"},
    "strips": set(),
    "functional": {"geometry", "kernels", "strips"},
    "nn": {"geometry", "kernels", "functional"},
    "network": {"kernels", "files"},
    "models": {"network", "kernels", "functional", "nn"},
    "engines": {"network", "kernels", "without_telemetry"},
    "rewriter": {"geometry", "kernels", "functional", "nn", "files", "measure", "without_telemetry"},
    "jobs": {"images"},
    "stage": {"network", "engines", "colour", "raster"},
    "tiles": {"colour", "raster", "stage"},
    "upscale": {"network", "engines", "images", "raster", "stage", "tiles"},
    "evaluation": {"images", "degradation"},
    "training": {"network", "models", "images", "degradation", "evaluation.metrics"},
}

# Outside packages with a format or a machine of their own: imported in one place each, or by one for each
# thing that is done with them.
HOME_OF = {
    "pyvips": {"images"},
    "openvino": {"without_telemetry.openvino"},
    "onnxruntime": {"without_telemetry.onnxruntime"},
    "onnx_ir": {"engines.onnxruntime", "rewriter.onnx"},
    "onnx": {"rewriter.onnx.files"},
    "safetensors": {"network"},
    "lightning_fabric": {"training.run"},
    "pytorch_optimizer": {"training.loop"},
    "typer": {"cli"},
    "rich": {"cli"},
    "PIL": {"upscale"},
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        yield name, ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[str]:
    """Every module imported anywhere in a file, but for type checking alone."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names
            if not all(name.removeprefix("subpixel.") in MODULES for name in names):
                yield node.module or ""


def within(name: str, allowed: set[str]) -> bool:
    return any(name == other or name.startswith(f"{other}.") for other in allowed)


MODULES = dict(modules())


@pytest.mark.parametrize(
    "name", [name for name in MODULES if not within(name, {"cli", "__init__", "__main__"})]
)
def test_imports_follow_the_directions(name: str) -> None:
    """A module imports only from its own part and from those that it may know."""
    part = name.partition(".")[0]
    allowed = MAY_IMPORT[part] | {part, "extras"}
    known = {f"subpixel.{other}" for other in MODULES}
    for imported in imports(MODULES[name]):
        if imported in known:
            below = imported.removeprefix("subpixel.")
            assert within(below, allowed) or any(other.startswith(f"{below}.") for other in allowed), (
                f"{name} imports {below}"
            )
        assert imported != "subpixel", f"{name} imports the package root"


@pytest.mark.parametrize("package", HOME_OF)
def test_outside_package_stays_at_home(package: str) -> None:
    """A package with a format of its own is imported where it belongs, and nowhere else."""
    importers = {name for name, tree in MODULES.items() if any(within(i, {package}) for i in imports(tree))}
    homes = HOME_OF[package]
    assert {next((home for home in homes if within(name, {home})), name) for name in importers} == homes


def test_a_forbidden_import_would_be_found() -> None:
    """The walk sees imports inside functions too."""
    tree = ast.parse("def f():\n    from subpixel.cli import app\n")
    assert "subpixel.cli" in set(imports(tree))


def test_import_is_light() -> None:
    """`import subpixel` loads neither an engine nor PyTorch nor the image library."""
    heavy = ("torch", "openvino", "onnxruntime", "pyvips", "typer", "rich")
    code = f"import sys, subpixel; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
