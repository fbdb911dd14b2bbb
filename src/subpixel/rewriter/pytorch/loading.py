"""Weights of the original, loaded into a rewritten model: mapped as they were when it was rewritten."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from subpixel.rewriter.forms import ORIGINAL
from subpixel.rewriter.layers import Chain, Convolution, Pointwise, Transposed
from subpixel.rewriter.pytorch.graph import Scope
from subpixel.rewriter.pytorch.installed import RewrittenSite
from subpixel.rewriter.pytorch.lower import lower
from subpixel.rewriter.pytorch.operators import function_of
from subpixel.rewriter.sites import RULES, Site

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Recipe:
    """How the layers of a rewritten site come from the weights of the original; it can be pickled.

    Attributes:
        rule: its name.
        chain: the site, without weights and without nodes of a graph.
        shape: of the weight.
        form: the one that was chosen.
        formats: the names of the memory formats of the input, to compute in, and of the result.
    """

    rule: str
    chain: Chain
    shape: tuple[int, ...]
    form: str
    formats: tuple[str, str, str]

    @classmethod
    def of(cls, rule: str, chain: Chain, form: str, formats: tuple[torch.memory_format, ...]) -> "Recipe":
        """Write down how a site was rewritten."""
        weighted: list[Any] = [layer for layer in chain if _is_weighted(layer)]
        shape = tuple(weighted[0].weight.shape) if weighted else ()
        given, inner, result = (str(each).removeprefix("torch.") for each in formats)
        return cls(rule, tuple(map(_emptied, chain)), shape, form, (given, inner, result))

    def weights(self, weight: Tensor, bias: Tensor | None, like: Tensor) -> Tensors:
        """Return the state_dict of the layers that equal the original with these weights.

        Raises:
            ValueError: the weights are not of the original's shape, or of values that the rule does not take.
        """
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"the weight must have the shape {self.shape}; got {tuple(weight.shape)}")
        layers: Any = self.chain
        chain: Chain = tuple(
            replace(layer, weight=weight, bias=bias) if _is_weighted(layer) else layer for layer in layers
        )
        rule = next(rule for rule in RULES if rule.name == self.rule)
        if reason := rule.check(chain):
            raise ValueError(f"with these weights {reason}")
        form = (rule.rewrite(chain) | {ORIGINAL: chain})[self.form]
        plain = [layer for layer in form if not isinstance(layer, Pointwise)]
        given, inner, result = (getattr(torch, name) for name in self.formats)
        found: Tensors = lower(plain, like, (given, inner, result)).state_dict()
        return found


@dataclass(frozen=True)
class Origin:
    """Where the original of a rewritten site has its weights, by names below the module that has the hook.

    Attributes:
        place: of the rewritten site; empty where the site has the hook itself.
        keys: of the weight and of the bias in the original's state_dict; none where they are computed.
        read: all keys in the original's state_dict that they are computed from; none where they are constant.
    """

    place: str
    keys: Mapping[str, str]
    read: frozenset[str]

    def mapped(self, site: RewrittenSite, given: Tensors) -> Tensors:
        """Return the state_dict of a site's layers for the original's, both without a prefix.

        Raises:
            ValueError: the original's weights arrive and cannot be mapped.
        """
        if not self.read:
            return site.layers.state_dict()
        if self.read.isdisjoint(given):
            return {}  # the state_dict is of other parts of the model
        missing = [key for key in self.keys.values() if key not in given]
        if missing or not self.keys:
            raise ValueError(f"{missing} are missing" if missing else "they were computed from others")
        weights = {name: given[key] for name, key in self.keys.items()}
        like = next(site.layers.parameters())
        return site.recipe.weights(weights["weight"], weights.get("bias"), like)


def load_original_weights(owner: nn.Module, *origins: Origin) -> None:
    """Have `owner.load_state_dict`, and that of any module that holds it, take the original's weights too."""
    register: Any = owner.register_load_state_dict_pre_hook
    register(_OriginalWeights(origins))


class _OriginalWeights:
    """A hook of `load_state_dict` that maps the original's weights to those of rewritten sites.

    Without it the weights of the original would find no place, and `strict=False` would say nothing of it.
    """

    def __init__(self, origins: tuple[Origin, ...]) -> None:
        self.origins = origins

    def __call__(
        self,
        owner: nn.Module,
        state_dict: dict[str, Any],
        prefix: str,
        _metadata: object,
        _strict: bool,
        _missing: list[str],
        _unexpected: list[str],
        errors: list[str],
    ) -> None:
        """Add what the rewritten sites need to a state_dict of the original."""
        given = {key.removeprefix(prefix): state_dict[key] for key in state_dict if key.startswith(prefix)}
        for origin in self.origins:
            site, layers = owner.get_submodule(origin.place), ".".join(filter(None, [origin.place, "layers"]))
            assert isinstance(site, RewrittenSite)
            if any(key.startswith(f"{layers}.") for key in given):
                continue  # the state_dict is one of the rewritten model
            try:
                found = origin.mapped(site, given)
            except ValueError as error:
                name = (prefix + origin.place).removesuffix(".")
                errors.append(
                    f"{name} was rewritten, and takes only weights of the original that can be mapped; "
                    f"{error}. Load them into the original and rewrite that."
                )
                continue
            state_dict.update({f"{prefix}{layers}.{name}": value for name, value in found.items()})
        # What the rewritten model has no place for would be called unexpected; sites may share a weight, so
        # that it goes when all are mapped.
        used = {key for origin in self.origins for key in origin.keys.values()}
        for key in used - owner.state_dict().keys():
            state_dict.pop(f"{prefix}{key}", None)


def _is_weighted(layer: object) -> bool:
    return isinstance(layer, Convolution | Transposed)


def _emptied(layer: Any) -> Any:
    if isinstance(layer, Pointwise):
        return replace(layer, node=None)
    return replace(layer, weight=None, bias=None) if _is_weighted(layer) else layer


def weight_keys(scope: Scope, site: Site[Any]) -> tuple[dict[str, str], frozenset[str]]:
    """Return the keys of an original's weight and bias below the scope's owner, and all that they depend on.

    The first are none where a weight is computed from others; see `Origin`.
    """
    pairs = zip(site.nodes, site.layers, strict=True)
    node = next((node for node, layers in pairs if any(map(_is_weighted, layers))), None)
    if node is None:
        return {}, frozenset()
    if node.op == "call_module":
        return _keys_of_module(scope.owner.get_submodule(str(node.target)), str(node.target))
    return _keys_of_arguments(function_of(node)[1], scope.owner.state_dict().keys())


def _keys_of_module(module: nn.Module, name: str) -> tuple[dict[str, str], frozenset[str]]:
    own = dict(module.named_parameters(recurse=False))
    keys = {key: f"{name}.{key}" for key in ("weight", "bias") if getattr(module, key) is not None}
    read = frozenset(f"{name}.{key}" for key in module.state_dict())
    return (keys if own.keys() >= keys.keys() else {}), read


def _keys_of_arguments(
    arguments: Mapping[str, Any], known: AbstractSet[str]
) -> tuple[dict[str, str], frozenset[str]]:
    given = {key: arguments[key] for key in ("weight", "bias") if arguments.get(key) is not None}
    keys = {key: str(node.target) for key, node in given.items() if node.op == "get_attr"}
    read = frozenset(known & {name for node in given.values() for name in _attributes(node)})
    return (keys if len(keys) == len(given) and read == {*keys.values()} else {}), read


def _attributes(node: fx.Node) -> set[str]:
    """Return the names of the attributes that a node is computed from."""
    if node.op == "get_attr":
        return {str(node.target)}
    return {name for source in node.all_input_nodes for name in _attributes(source)}
