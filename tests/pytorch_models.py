"""Rewriting PyTorch models without a clock, and comparing what they give."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from subpixel.measure.race import ROUNDS
from subpixel.rewriter import Report, decide, rewrite

Choose = Callable[[Sequence[str]], str]


@contextmanager
def forced(choose: Choose) -> Iterator[None]:
    """A race that the form wins that is chosen among the names; each of them is run once."""

    def race(runs: Any, _seconds: float, _seed: int, **_options: Any) -> dict[Any, list[float]]:
        for run in runs.values():
            run()
        _, *forms = map(str, runs)
        best = forms[0] if len(forms) == 1 else choose(forms)
        return {choice: [1.0 if str(choice) == best else 2.0] * ROUNDS for choice in runs}

    with patch.object(decide, "race", race):
        yield


def form(name: str) -> Choose:
    """The form of this name, or the first where there is none."""
    return lambda forms: name if name in forms else forms[0]


def any_form(seed: int) -> Choose:
    """One at random, another at each site."""
    return random.Random(seed).choice


def forcibly(model: Any, example: Any, choose: Choose | None = None, **options: Any) -> tuple[Any, Report]:
    """Rewrite with a form forced on each site, compact if none is asked for."""
    with forced(choose or form("compact")):
        return rewrite(model, example, **options)


def seeded(model: nn.Module, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Module:
    """The model in eval mode with random parameters, and random statistics in its batch norms."""
    generator = torch.Generator().manual_seed(seed)
    model = model.to(dtype).eval()
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if value.is_floating_point():
                noise = torch.rand(value.shape, generator=generator, dtype=torch.float64)
                value.copy_(noise + 0.5 if "running_var" in name else noise - 0.5)
    return model


def noise(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def assert_equal(actual: Any, expected: Any, tolerance: float = 1e-10) -> None:
    """The same structure, shapes and dtypes; tensors differ by `tolerance` of the largest value at most."""
    (found, actual_structure), (wanted, structure) = tree_flatten(actual), tree_flatten(expected)
    assert actual_structure == structure
    for a, b in zip(found, wanted, strict=True):
        if not isinstance(b, Tensor):
            assert a == b
            continue
        assert (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device)
        assert not b.numel() or (a - b).abs().max() <= tolerance * b.abs().max()


def called(model: Any, example: Any) -> Any:
    with torch.no_grad():
        return model(**example) if isinstance(example, dict) else model(*example)


def assert_same_function(changed: Any, model: Any, *examples: Any, tolerance: float = 1e-10) -> None:
    for example in examples:
        assert_equal(called(changed, example), called(model, example), tolerance)


def became(report: Report) -> dict[str, str]:
    return {record.path: record.became for record in report.sites}


def reasons(report: Report) -> dict[str, str]:
    return {record.path: record.reason for record in report.sites if not record.changed}
