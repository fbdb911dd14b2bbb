"""Imports go one way: `ARCHITECTURE.md` draws the house, these tests hold it up."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import subpixel

SOURCE = Path(subpixel.__file__).parent

# The rooms of the house, from the cellar up, by module name below `subpixel`, and which others each may know.
# A module belongs to the room with the longest name that fits; all may know `extras`; "root" is `subpixel`.
ROOMS = """
extras:
files:
geometry:
kernels: geometry
strips:
functional: geometry kernels strips
nn: functional geometry
measure:
without_telemetry:
rewriter.layers: geometry kernels
rewriter.reference: rewriter.layers
rewriter.rules: geometry kernels rewriter.layers
rewriter.sites: rewriter.layers rewriter.rules
rewriter.report:
rewriter.forms: rewriter.layers
rewriter.target: measure rewriter.forms rewriter.layers rewriter.sites
rewriter.cache: files
rewriter.decide: measure rewriter.cache rewriter.forms rewriter.layers rewriter.report rewriter.sites
  rewriter.target
rewriter.proof:
rewriter.pytorch.modules:
rewriter.pytorch.precision: rewriter.pytorch.modules
rewriter.pytorch.comparison: measure rewriter.pytorch.precision
rewriter.pytorch.guards:
rewriter.pytorch.operators: geometry kernels rewriter.layers rewriter.pytorch.modules
rewriter.pytorch.insertion: rewriter.layers
rewriter.pytorch.graph: rewriter.layers rewriter.pytorch.insertion rewriter.pytorch.operators
  rewriter.sites
rewriter.pytorch.recording: rewriter.layers rewriter.pytorch.comparison rewriter.pytorch.graph
  rewriter.pytorch.guards
  rewriter.pytorch.modules rewriter.pytorch.operators rewriter.rules rewriter.sites
rewriter.pytorch: functional geometry kernels measure nn rewriter.cache rewriter.decide rewriter.forms
  rewriter.layers rewriter.proof rewriter.target
  rewriter.pytorch.comparison rewriter.pytorch.graph rewriter.pytorch.guards rewriter.pytorch.modules
  rewriter.pytorch.operators rewriter.pytorch.precision rewriter.pytorch.recording rewriter.report
  rewriter.sites
rewriter.onnx: files geometry kernels measure rewriter.cache rewriter.decide rewriter.forms rewriter.layers
  rewriter.proof rewriter.reference rewriter.report rewriter.sites rewriter.target without_telemetry
rewriter: rewriter.cache rewriter.decide rewriter.onnx rewriter.pytorch rewriter.report
network: files kernels
exporting: files network root
codes:
engines.engine: codes network
engines.cache: files
engines.library:
engines.workers:
engines.native: engines.engine engines.library engines.workers measure network
engines.choice: engines.cache engines.engine engines.native measure network
engines.openvino: engines.engine kernels network without_telemetry
engines.onnxruntime: engines.engine exporting network without_telemetry
engines.torch: engines.engine network
engines: engines.choice engines.engine network
converting: engines geometry kernels network
raster:
colour: network
stage: codes colour engines network raster
tiles: raster stage
images.formats:
images.limits:
images.xmp:
images.iptc:
images.tags:
images.folders: images.formats
images.containers: images.formats images.tags
images.libvips: images.formats images.tags
images.reader: images.containers images.formats images.libvips images.limits images.tags raster
images.pixels: images.formats images.libvips raster
images.carry: images.containers images.formats images.iptc images.libvips images.pixels images.reader
  images.tags images.xmp
images.spool: files images.libvips images.tags raster
images.writer: files images.carry images.containers images.formats images.libvips images.limits
  images.pixels images.reader images.spool images.tags raster
images: images.folders images.formats images.reader images.writer
jobs: images
upscale: engines images network raster stage tiles
models: kernels network
degradation: colour
evaluation.metrics:
evaluation: degradation evaluation.metrics images
training: degradation evaluation.metrics images models network
studies.lab: degradation evaluation.metrics files functional images kernels measure nn training
studies.figures: functional geometry kernels studies.lab
studies.kernels: degradation evaluation.metrics kernels network studies.lab training
studies.cost: engines geometry measure network studies.lab
studies.representation: measure studies.lab
studies.training: geometry kernels nn studies.lab training
studies.autoencoder: kernels measure nn studies.lab
studies.checkerboard: geometry kernels nn studies.lab
studies.skip: kernels studies.lab
studies.when: studies.lab
studies.residual: studies.lab
studies:
cli: converting engines evaluation exporting files images jobs models network rewriter rewriter.decide
  rewriter.onnx root studies studies.lab training upscale
__main__: cli
root:
"""
MAY_IMPORT = {
    name.strip(): set(others.split())
    for name, others in (line.split(":") for line in ROOMS.replace("\n  ", " ").strip().splitlines())
}

# Outside packages with a format or a machine of their own: imported in one place each, or in one for each
# thing that is done with them.
HOME_OF = {
    "pyvips": {"images.libvips", "images.pixels", "images.writer"},
    "openvino": {"without_telemetry.openvino"},
    "onnxruntime": {"without_telemetry.onnxruntime"},
    "onnx_ir": {"rewriter.onnx"},
    "onnx": {"exporting.onnx", "rewriter.onnx.files"},
    "safetensors": {"converting.states", "network"},
    "lightning_fabric": {"training.run"},
    "pytorch_optimizer": {"training.loop"},
    "typer": {"cli"},
    "rich": {"cli"},
    "PIL": {"upscale"},
    "ctypes": {"engines.library"},
    "matplotlib": {"studies"},
}

Modules = Mapping[str, ast.Module]


def read(source: Path) -> Modules:
    """Return the syntax trees of a package by module name below it, "root" for its `__init__`."""
    names = {path: ".".join(path.relative_to(source).with_suffix("").parts) for path in source.rglob("*.py")}
    return {
        "root" if name == "__init__" else name.removesuffix(".__init__"): ast.parse(path.read_text())
        for path, name in sorted(names.items())
    }


def imports(tree: ast.Module, modules: Modules) -> Iterator[str]:
    """Return every module imported anywhere in a file, except for type checking alone."""
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name.removeprefix("subpixel.") in modules else node.module or ""


def room(module: str, rooms: Mapping[str, set[str]]) -> str:
    """Return the room with the longest name that a module's name begins with."""
    return max((name for name in rooms if within(module, {name})), key=len, default=module)


def within(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


def known_rooms(modules: Modules, rooms: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the other rooms that the modules of each room import from."""
    known: dict[str, set[str]] = {name: set() for name in rooms}
    for module, tree in modules.items():
        here = room(module, rooms)
        for imported in imports(tree, modules):
            if within(imported, {"subpixel"}):
                there = room(imported.partition(".")[2] or "root", rooms)
                known.setdefault(here, set()).update({there} - {here, "extras"})
    return known


MODULES = read(SOURCE)


def test_rooms_know_those_that_they_may_and_no_others() -> None:
    """What is imported is what the list says: nothing that is forbidden, and no leave that is not used."""
    assert known_rooms(MODULES, MAY_IMPORT) == MAY_IMPORT


def test_no_way_leads_back() -> None:
    """The rooms can be put in an order in which each knows only earlier ones."""
    assert list(TopologicalSorter(MAY_IMPORT).static_order())


@pytest.mark.parametrize("package", HOME_OF)
def test_outside_package_stays_at_home(package: str) -> None:
    """A package with a format of its own is imported where it belongs, and nowhere else."""
    importers = {
        name for name, tree in MODULES.items() if any(within(i, {package}) for i in imports(tree, MODULES))
    }
    homes = HOME_OF[package]
    assert {next((home for home in homes if within(name, {home})), name) for name in importers} == homes


HOUSE = {"cellar": "", "hall": "from house.cellar import coal", "hall.stairs": "", "hall.door": ""}
LEAVES: dict[str, set[str]] = {"cellar": set(), "hall": {"cellar"}, "hall.stairs": set(), "hall.door": set()}


@pytest.mark.parametrize(
    ("module", "code", "wrong"),
    [
        ("cellar", "import subpixel.hall", "hall"),
        ("cellar", "def deep():\n    from subpixel.hall import lamp", "hall"),
        ("hall.stairs", "from subpixel.hall import door", "hall.door"),
        ("hall.stairs", "from subpixel.hall.door import knob", "hall.door"),
        ("hall.door", "import subpixel", "root"),
    ],
)
def test_a_wrong_house_falls(module: str, code: str, wrong: str) -> None:
    """An import against the direction is found: at either level, inside a function, in any spelling."""
    modules = {name: ast.parse(text.replace("house", "subpixel")) for name, text in HOUSE.items()}
    assert known_rooms(modules, LEAVES) == LEAVES
    assert known_rooms(modules | {module: ast.parse(code)}, LEAVES) == LEAVES | {module: {wrong}}


def test_a_circle_falls() -> None:
    """Two rooms that may know each other are an error of the list itself."""
    with pytest.raises(CycleError):
        list(TopologicalSorter({"a": {"b"}, "b": {"a"}}).static_order())


def test_type_checking_alone_may_know_more() -> None:
    """An import that only a type checker sees does not count; the other branch does."""
    code = "if TYPE_CHECKING:\n    import subpixel.b\nelse:\n    import subpixel.c\n"
    modules = {name: ast.parse("") for name in "bc"} | {"a": ast.parse(code)}
    assert known_rooms(modules, {name: set() for name in "abc"})["a"] == {"c"}


def test_import_is_light() -> None:
    """`import subpixel` loads neither an engine nor PyTorch nor the image library."""
    heavy = ("torch", "openvino", "onnxruntime", "pyvips", "typer", "rich")
    code = f"import sys, subpixel; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
