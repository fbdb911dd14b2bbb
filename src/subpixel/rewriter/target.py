"""The protocol of a model that can be timed, proven and rewritten."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from subpixel.measure.race import Run
from subpixel.rewriter.forms import KEPT, ORIGINAL, Choice, gathered
from subpixel.rewriter.layers import Chain, Shape, converted
from subpixel.rewriter.sites import Site

ModelT = TypeVar("ModelT")
Choices = Mapping[Site[Any], Choice]  # by site; a site that is missing is kept


class Differences(NamedTuple):
    """How far a rewritten model is from the original.

    Attributes:
        in_float64: the largest difference, relative to the largest output; None where it cannot be had.
        in_own_precision: the same in the precision of the model.
        notes: what the reader of the report should know of the proof.
        allowed: in the precision of an output that is coarser than the model, more than the target's bound.
    """

    in_float64: float | None
    in_own_precision: float
    notes: tuple[str, ...] = ()
    allowed: float = 0.0


class Target(Protocol[ModelT]):
    """A model with its example inputs, in the runtime that is to be timed.

    Attributes:
        runtime: its name, version, threads and processor.
        bound: largest difference allowed in the model's own precision, relative to the largest output.
        notes: what the reader of the report should know of the model.
    """

    runtime: str
    bound: float
    notes: tuple[str, ...]

    def sites(self) -> list[Site[Any]]:
        """Return all up-samplers of the model."""

    def shape(self, site: Site[Any]) -> Shape:
        """Return the shape of the site's input in the example."""

    def key(self, site: Site[Any]) -> str:
        """Return everything that a site's times depend on, as text."""

    def choices(self, site: Site[Any]) -> list[Choice]:
        """Return what the site may become."""

    def runs(self, site: Site[Any], choices: Sequence[Choice]) -> dict[Choice, Run]:
        """Return what to time: first the original as `KEPT`, then the choices that the runtime accepts."""

    def difference(self, site: Site[Any], choice: Choice) -> float | None:
        """Return the largest difference of a choice in float64, relative to the largest output.

        It is computed at several sizes; None where the site takes too few of them.
        """

    def rewritten(self, choices: Choices) -> ModelT:
        """Return the model with these choices put in."""

    def differences(self, model: ModelT, choices: Choices) -> Differences:
        """Return how far a rewritten model is from the original."""

    def whole(self, model: ModelT | None) -> Run:
        """Return a run of the whole model on the example inputs; None is the original."""


def chosen_chain(site: Site[Any], choice: Choice, convert: Callable[[Any], Any] | None = None) -> Chain:
    """Return what a site computes with this choice, its weights converted, for example to float64."""
    chain = site.chain if convert is None else converted(site.chain, convert)
    if choice == KEPT or site.rule is None:
        return chain
    forms = site.rule.rewrite(chain) | {ORIGINAL: gathered(chain)}
    return forms[choice.form]
