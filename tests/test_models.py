"""Models to train: a registry that finds each file, own options as text, and a base that is enforced."""

from pathlib import Path
from typing import Literal

import pytest
import torch

from subpixel import models
from subpixel.models import MODELS
from subpixel.models.base import Model
from subpixel.models.espcn import ESPCN
from subpixel.network import LRNetwork, bicubic

CUBIC = """
from subpixel.models.base import Model
from subpixel.network import bicubic

class Cubic(Model):
    radius = 2
    identity = {}
    def forward(self, plane): ...
    def lr_network(self): return bicubic(self.upscale_factor)
    def start_from(self, network): ...

MODEL = Cubic
"""


def test_a_model_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside the others is a model under its name; nothing else is edited."""
    assert list(MODELS) == ["espcn", "plain"]
    (tmp_path / "cubic.py").write_text(CUBIC)
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path)])
    assert sorted(MODELS) == ["cubic", "espcn", "plain"]
    assert MODELS["cubic"](3).lr_network().upscale_factor == 3
    assert (MODELS["espcn"], len(MODELS)) == (ESPCN, 3)


@pytest.mark.parametrize("name", ["base", "os", "espcn.py", ""])
def test_what_is_no_model_is_no_key(name: str) -> None:
    assert name not in MODELS


class Configurable(Model):
    radius = 2
    identity = {}  # noqa: RUF012 (never written to)

    def __init__(
        self,
        upscale_factor: int,
        *,
        depth: int = 2,
        slope: float = 0.1,
        colour: Literal["luma", "rgb"] = "luma",
    ) -> None:
        super().__init__(upscale_factor)
        self.chosen = (depth, slope, colour)

    def forward(self, plane: torch.Tensor) -> torch.Tensor:
        return plane

    def lr_network(self) -> LRNetwork:
        return bicubic(self.upscale_factor)

    def start_from(self, network: LRNetwork) -> None:
        pass


def test_options_are_read_by_their_types() -> None:
    """What is not named keeps its default."""
    options = Configurable.parse_options({"depth": "5", "colour": "rgb"})
    assert options == {"depth": 5, "colour": "rgb"}
    assert Configurable(2, **options).chosen == (5, 0.1, "rgb")
    assert Configurable.parse_options({"slope": "1e-2"}) == {"slope": 0.01}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("depth", "2.5", r"depth must be an integer; got '2.5'"),
        ("slope", "steep", r"slope must be a number; got 'steep'"),
        ("colour", "yuv", r"colour must be one of luma, rgb; got 'yuv'"),
        ("upscale_factor", "2", r"must be one of depth, slope, colour; got 'upscale_factor'"),
    ],
)
def test_an_option_that_a_model_does_not_have_is_refused(name: str, text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Configurable.parse_options({name: text})


@pytest.mark.parametrize("missing", ["radius", "identity", "forward", "lr_network", "start_from"])
def test_a_model_without_one_of_its_parts_cannot_be_made(missing: str) -> None:
    """`abstractmethod` alone, without a class made for it, would enforce nothing."""
    parts = {name: each for name, each in vars(Configurable).items() if name != missing}
    for special in ("__dict__", "__weakref__", "__classcell__", "__init__"):
        parts.pop(special, None)
    with pytest.raises(TypeError, match=rf"abstract .*'?{missing}'?"):
        type("Incomplete", (Model,), parts)(2)
