"""PyTorch models as what `decide` works on: sites, runs, proofs, and the rewritten model."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.functional import CHANNELS_LAST, memory_format
from subpixel.measure.machine import processor
from subpixel.measure.race import Run
from subpixel.rewriter.forms import KEPT, ORIGINAL, PRODUCTS, Choice, MemoryFormat, gathered
from subpixel.rewriter.layers import Chain, Layer, Pointwise, Shape, signature
from subpixel.rewriter.proof import largest_difference
from subpixel.rewriter.pytorch.comparison import clone_arguments, difference, differences, run_model
from subpixel.rewriter.pytorch.copies import copy_model, first_copy, share_weights
from subpixel.rewriter.pytorch.graph import Scope, Values, data_input
from subpixel.rewriter.pytorch.guards import OtherBranchError
from subpixel.rewriter.pytorch.installed import RewrittenSite
from subpixel.rewriter.pytorch.loading import Recipe
from subpixel.rewriter.pytorch.lower import lower
from subpixel.rewriter.pytorch.precision import (
    EXACT,
    DoubleOnly,
    bound,
    double_model,
    doubled,
    with_fixed_weights,
)
from subpixel.rewriter.pytorch.recording import record
from subpixel.rewriter.pytorch.surgery import Replacement, exchanges_modules, fragment, install, replaced
from subpixel.rewriter.sites import Site
from subpixel.rewriter.target import Choices, Differences, chosen_chain

Search = Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], list[Scope]]
NO_OTHER_SIZE = "the whole model takes no other size than the example's; each site was proven at more"
FORMATS: dict[torch.memory_format, MemoryFormat] = {
    torch.contiguous_format: "contiguous",
    torch.channels_last: "channels last",
    torch.channels_last_3d: "channels last",
}


class Located(NamedTuple):
    """Where a site is, and what goes in and out in the example."""

    scope: Scope
    given: Tensor
    result: Tensor


class ModuleTarget:
    """A module; see `target.Target`.

    Copies of the module run, which share its parameters: a run may change what it holds. The module itself
    runs only where PyTorch cannot copy it before, once; see `first_copy`.

    Args:
        model: the module.
        args: of the call in the example.
        kwargs: of the call in the example.
        seed: of random inputs, and of what the module draws.
        search: finds the forwards that hold up-samplers.
        share: whether copies may share parameters, where that is known.
    """

    def __init__(
        self,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        seed: int,
        search: Search = record,
        share: bool | None = None,
    ) -> None:
        self.model, self.args, self.kwargs, self.seed, self._search = model, args, kwargs, seed, search
        self._located: dict[Site[Any], Located] = {}
        recorded = first_copy(model, args, kwargs, share=bool(share))
        scopes = search(recorded, *clone_arguments((args, kwargs)))
        self._share = share_weights(recorded, model) if share is None else share
        for scope in scopes:
            for site in scope.sites():
                self._located[site] = _located(scope, site)
            scope.values = Values()  # activations of the whole forward
        self.bound = bound((list(model.parameters()), list(model.buffers()), args, dict(kwargs)))
        self.notes: tuple[str, ...] = ()
        device = next((value.device for value in model.parameters()), torch.device("cpu"))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
        self.runtime = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {name}"

    def _copy(self, model: nn.Module) -> nn.Module:
        return copy_model(model, share=self._share)

    def sites(self) -> list[Site[Any]]:
        """See `Target`."""
        return list(self._located)

    def shape(self, site: Site[Any]) -> Shape:
        """See `Target`."""
        return tuple(self._located[site].given.shape)

    def key(self, site: Site[Any]) -> str:
        """See `Target`."""
        _, given, result = self._located[site]
        formats = FORMATS[memory_format(given)], FORMATS[memory_format(result)]
        layers = "; ".join(map(signature, site.chain))
        return f"{layers} at {tuple(given.shape)} {given.dtype} {formats} {site.shared_prefix}"

    def choices(self, site: Site[Any]) -> list[Choice]:
        """See `Target`: each form in the memory format that the input has, and in the other one."""
        given = self._located[site].given
        if given.ndim not in CHANNELS_LAST:
            return list(map(Choice, site.names))
        other = FORMATS[_other_format(given)]
        both = (form for form in (ORIGINAL, *site.names) if form != PRODUCTS)
        return [*map(Choice, site.names), *(Choice(form, other) for form in both)]

    def runs(self, site: Site[Any], choices: Sequence[Choice]) -> dict[Choice, Run]:
        """See `Target`."""
        scope, given, _ = self._located[site]
        start = fragment(scope, site.nodes[: site.shared_prefix])(given) if site.shared_prefix else given
        runs = {KEPT: _run_on(fragment(scope, site.nodes[site.shared_prefix :]), start)}
        forms = site.forms() | {ORIGINAL: gathered(site.chain)}
        for choice in choices:
            replacement = self._replacement(site, choice, forms[choice.form], given.dtype)
            runs[choice] = _run_on(replaced(scope, replacement), given)
        return runs

    def difference(self, site: Site[Any], choice: Choice) -> float | None:
        """See `Target`."""
        scope, given, _ = self._located[site]
        chain = chosen_chain(site, choice, torch.Tensor.double)
        original, changed = (
            with_fixed_weights(copy.deepcopy(module)).double()  # pointwise modules are the model's own
            for module in (
                fragment(scope, site.nodes),
                replaced(scope, self._replacement(site, choice, chain, torch.float64)),
            )
        )
        generator = torch.Generator().manual_seed(self.seed)

        def at(sizes: tuple[int, ...]) -> float | None:
            x = torch.randn(1, given.shape[1], *sizes, generator=generator, dtype=torch.float64)
            x = x.to(given.device)
            try:
                expected = original(x)
            except RuntimeError:  # too small for the padding, or for the kernel
                return None
            return difference(changed(x), expected)

        return largest_difference(at, given.ndim - 2)

    def rewritten(self, choices: Choices) -> nn.Module:
        """See `Target`; the weights that do not change are shared with the target's model."""
        model = self._copy(self.model)
        for scope, changed in self._by_scope(choices).items():
            install(model, scope, {site: self._chosen(site, choices[site]) for site in changed})
        return model

    def differences(self, model: nn.Module, choices: Choices) -> Differences:
        """See `Target`.

        The original and the rewritten model run twice each, on the example and on another size. The proof in
        float64 records the model anew; it takes the smaller of the two sizes if it can, to save time.
        """
        own = self.args, self.kwargs
        found = [self._difference(model, *own, self._expected(*own))]
        notes, proven = self._fixed_sizes(choices), [own]
        for args, kwargs, expected in self._other_sizes():
            with suppress(OtherBranchError):
                found.append(self._difference(model, args, kwargs, expected))
                proven.append((args, kwargs))
                break
        else:
            notes = (*notes, NO_OTHER_SIZE)
        in_double = (self._difference_in_double(choices, *each) for each in sorted(proven, key=_elements))
        exact = next((each for each in in_double if each is not None), None)
        error, allowed = max(found, key=_in_bounds)
        return Differences(exact, error, notes, allowed)

    def _fixed_sizes(self, choices: Choices) -> tuple[str, ...]:
        """Return notes on the numbers that the rewritten forwards have as constants."""
        notes = (
            f"the rewritten {type(scope.owner).__name__} requires a number that depends on the size of the "
            f"input to be as in the example: {fixed}"
            for scope, sites in self._by_scope(choices).items()
            if not exchanges_modules(self.model, scope, sites)  # else the forward stays the owner's
            for fixed in scope.fixed_sizes
        )
        return tuple(dict.fromkeys(notes))

    def _by_scope(self, choices: Choices) -> dict[Scope, list[Site[Any]]]:
        by_scope: dict[Scope, list[Site[Any]]] = {}
        for site in choices:
            by_scope.setdefault(self._located[site].scope, []).append(site)
        return by_scope

    def _expected(self, args: Any, kwargs: Any) -> Any:
        # A program's module keeps no state, and its copies lose the hook that refuses other sizes.
        original = self.model if isinstance(self.model, fx.GraphModule) else self._copy(self.model)
        return run_model(original, args, kwargs, self.seed)

    def _difference(self, model: nn.Module, args: Any, kwargs: Any, expected: Any) -> tuple[float, float]:
        """Return the difference from the original that is worst for its bound, and the bound.

        Integers that rounding may turn over are left to the proof in float64.
        """
        result = run_model(self._copy(model), args, kwargs, self.seed)
        pairs = differences(result, expected, ignore_integers=self.bound != EXACT)
        allowed = ((error, max(allowed, self.bound)) for error, allowed in pairs)
        return max(allowed, key=_in_bounds, default=(0.0, self.bound))

    def whole(self, model: nn.Module | None) -> Run:
        """See `Target`."""
        return _run_on(self._copy(model or self.model), *self.args, **self.kwargs)

    def _chosen(self, site: Site[Any], choice: Choice) -> Replacement:
        return self._replacement(site, choice, chosen_chain(site, choice), self._located[site].given.dtype)

    def _replacement(self, site: Site[Any], choice: Choice, chain: Chain, dtype: torch.dtype) -> Replacement:
        """Lower a chain to a module, and pointwise nodes before and after it."""
        _, given, result = self._located[site]
        before = tuple(takewhile(_is_pointwise, chain))
        after = tuple(dropwhile(lambda layer: not _is_pointwise(layer), chain[len(before) :]))
        plain = chain[len(before) : len(chain) - len(after)]
        assert all(map(_is_pointwise, after))  # no rule gives a form with functions in between
        inner = memory_format(given) if choice.memory_format is None else _other_format(given)
        formats = memory_format(given), inner, memory_format(result)
        module = lower(plain, torch.empty(0, dtype=dtype, device=given.device), formats)
        recipe = Recipe.of(site.was, site.chain, choice.form, formats)
        return Replacement(_nodes(before), RewrittenSite(module, given.ndim, recipe), _nodes(after))

    def _other_sizes(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield random inputs of other sizes, and what the model makes of them, where it takes them."""
        generator = torch.Generator().manual_seed(self.seed)
        for axes in ((2, 3, 4), (1,), (0,)):
            args, kwargs = tree_map(lambda value: _resized(value, axes, generator), (self.args, self.kwargs))  # noqa: B023
            try:
                expected = self._expected(args, kwargs)
            except Exception:  # noqa: BLE001, S112 (whatever a stranger's model raises at a size it does not take)
                continue
            yield args, kwargs, expected

    def _difference_in_double(self, choices: Choices, args: Any, kwargs: Any) -> float | None:
        """Compare in float64; None where the model computes parts of itself in another precision."""
        if self.bound == EXACT:
            return None  # it is its own precision
        model = double_model(self._copy(self.model))
        args, kwargs = tree_map(doubled, (args, kwargs))
        original = self._copy(model)
        with DoubleOnly() as seen:  # type: ignore[no-untyped-call]
            try:
                expected = run_model(original, args, kwargs, self.seed)
            except RuntimeError:  # it mixes precisions
                return None
        if not seen.double_only:
            return None
        target = ModuleTarget(model, args, kwargs, self.seed, self._search, self._share)
        if [site.path for site in target.sites()] != [site.path for site in self.sites()]:
            return None  # Python branches on the precision
        pairs = zip(self.sites(), target.sites(), strict=True)
        same = {theirs: choices[ours] for ours, theirs in pairs if ours in choices}
        return difference(run_model(target.rewritten(same), args, kwargs, self.seed), expected)


def _located(scope: Scope, site: Site[Any]) -> Located:
    nothing = torch.empty(0)
    source = data_input(site.nodes[0]) if site.nodes else None
    given = nothing if source is None else scope.values.get(source, nothing)
    return Located(scope, given, scope.values.get(site.nodes[-1], nothing) if site.nodes else nothing)


def _is_pointwise(layer: Layer) -> bool:
    return isinstance(layer, Pointwise)


def _nodes(pointwise: Sequence[Layer]) -> tuple[fx.Node, ...]:
    return tuple(layer.node for layer in pointwise if isinstance(layer, Pointwise))


def _other_format(x: Tensor) -> torch.memory_format:
    last = CHANNELS_LAST[x.ndim]
    return last if memory_format(x) != last else torch.contiguous_format


def _run_on(module: nn.Module, *args: Any, **kwargs: Any) -> Run:
    on_gpu = torch.cuda.is_available()  # asked here, not in what is timed

    def run() -> None:
        with torch.inference_mode():
            given, named = tree_map(lambda leaf: leaf, (args, kwargs))  # the module may change a list
            module(*given, **named)
            if on_gpu:
                torch.cuda.synchronize()

    return run


def _in_bounds(pair: tuple[float, float]) -> float:
    """Return a difference as a part of its bound; where none is allowed, one is the worst of all."""
    error, allowed = pair
    return error / max(allowed, 1e-300)


def _elements(arguments: Any) -> int:
    return sum(value.numel() for value in tree_leaves(arguments) if isinstance(value, Tensor))


def _resized(value: Any, axes: tuple[int, ...], generator: torch.Generator) -> Any:
    """Return noise, the given axes half as long or, where they are short, twice as long."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.ndim < 3:
        return value
    shape = list(value.shape)
    for axis in axes:
        if axis < value.ndim:
            shape[axis] = shape[axis] // 2 if shape[axis] >= 16 and shape[axis] % 2 == 0 else shape[axis] * 2
    return torch.randn(shape, generator=generator).to(value)
