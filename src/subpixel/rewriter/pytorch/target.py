"""PyTorch models as what `decide` works on: sites, runs, proofs, and the rewritten model."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from subpixel.functional import CHANNELS_LAST, memory_format
from subpixel.measure.machine import processor
from subpixel.measure.race import Run
from subpixel.rewriter.cache import Cache
from subpixel.rewriter.decide import Settings, decide
from subpixel.rewriter.forms import KEPT, ORIGINAL, PRODUCTS, Choice, MemoryFormat, gathered
from subpixel.rewriter.layers import Chain, Layer, Pointwise, Shape, signature
from subpixel.rewriter.proof import largest_difference
from subpixel.rewriter.pytorch.comparison import copied, difference, run_model
from subpixel.rewriter.pytorch.graph import Scope, Values, data_input
from subpixel.rewriter.pytorch.guards import OtherBranchError
from subpixel.rewriter.pytorch.installed import RewrittenSite
from subpixel.rewriter.pytorch.loading import Recipe
from subpixel.rewriter.pytorch.lower import lower
from subpixel.rewriter.pytorch.modules import computes_weight, without_sizes
from subpixel.rewriter.pytorch.operators import own_kind
from subpixel.rewriter.pytorch.recording import as_module, autocast, export_like, record, record_program
from subpixel.rewriter.pytorch.surgery import Replacement, exchanges_modules, fragment, install, replaced
from subpixel.rewriter.report import Report
from subpixel.rewriter.sites import Site
from subpixel.rewriter.target import Choices, Differences, Target, chosen_chain

Search = Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], list[Scope]]
BOUNDS = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}
NO_OTHER_SIZE = "the whole model takes no other size than the example's; each site was proven at more"
FORMATS: dict[torch.memory_format, MemoryFormat] = {
    torch.contiguous_format: "contiguous",
    torch.channels_last: "channels last",
    torch.channels_last_3d: "channels last",
}


def rewrite_pytorch(model: Any, example_inputs: Any, settings: Settings, cache: Cache) -> tuple[Any, Report]:
    """See `subpixel.rewrite`."""
    if isinstance(model, ExportedProgram):
        return _rewrite_program(model, example_inputs, settings, cache)
    if not isinstance(model, nn.Module):
        raise TypeError(
            "model must be a torch.nn.Module, a torch.export.ExportedProgram, an ONNX model or the path of "
            f"one; got {type(model).__name__}."
        )
    compiled = any("_orig_mod" in dict(part.named_children()) for part in model.modules())
    if isinstance(model, torch.jit.ScriptModule) or compiled:
        raise TypeError(
            f"model must run Python; got a scripted or compiled {type(model).__name__}, "
            "or one of which a part is compiled. "
            "Rewrite the module that it was made of, then script or compile it again."
        )
    if model.training:
        raise ValueError("the model must be in eval mode; got one in training. Call model.eval() first.")
    if (lazy := without_sizes(model)) is not None:
        raise ValueError(
            f"each weight of the model must have its size; got {lazy}, a lazy module without one. "
            "Run the model once, then rewrite it."
        )
    if any(switched_on for switched_on, _ in autocast()):
        raise ValueError("a model must be rewritten in a precision of its own; got autocast. Switch it off.")
    with torch.no_grad():
        args, kwargs = copied(_arguments(example_inputs))
        layer_alone = own_kind(model) is not None  # no forward to search; a row of one has
        given = nn.Sequential(model) if layer_alone else model
        own = _copy(given, args, kwargs)
        target: Target[nn.Module] = ModuleTarget(own, args, kwargs, settings.seed)
        found = decide(target, settings, cache)
        rewritten, report = found
        result: Any = own if rewritten is None else rewritten
        _take_buffers(result, given)
    return result[0] if layer_alone else result, report


def _rewrite_program(
    program: ExportedProgram, example_inputs: Any, settings: Settings, cache: Cache
) -> tuple[ExportedProgram, Report]:
    own = None if example_inputs is not None else program.example_inputs
    with torch.no_grad():
        args, kwargs = copied(own or _arguments(example_inputs))
        target: Target[nn.Module] = ModuleTarget(
            as_module(program), args, kwargs, settings.seed, record_program
        )
        found = decide(target, settings, cache)
        rewritten, report = found
        return (program if rewritten is None else export_like(program, rewritten, args, kwargs)), report


class Located(NamedTuple):
    """Where a site is, and what goes in and out in the example."""

    scope: Scope
    given: Tensor
    result: Tensor


class ModuleTarget:
    """A module; see `target.Target`."""

    def __init__(
        self,
        model: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        seed: int,
        search: Search = record,
    ) -> None:
        self.model, self.seed, self._search = model, seed, search
        self.args, self.kwargs = args, kwargs
        self._located: dict[Site[Any], Located] = {}
        for scope in search(model, *copied((args, kwargs))):
            for site in scope.sites():
                self._located[site] = _located(scope, site)
            scope.values = Values()  # activations of the whole forward
        tensors = [*model.parameters(), *model.buffers(), *tree_leaves((args, dict(kwargs)))]
        self.bound = max(
            (BOUNDS.get(value.dtype, 0) for value in tensors if isinstance(value, Tensor)), default=0
        )
        self.notes: tuple[str, ...] = ()
        device = next((value.device for value in model.parameters()), torch.device("cpu"))
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
        self.runtime = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {name}"

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
            materialised(copy.deepcopy(module)).double()  # pointwise modules are the model's own
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
        model = _copied(self.model, {parameter: parameter for parameter in self.model.parameters()})
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
        return Differences(exact, max(found), notes)

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
        return run_model(self.model, args, kwargs, self.seed)

    def _difference(self, model: nn.Module, args: Any, kwargs: Any, expected: Any) -> float:
        """Compare with the original; what rounding may turn over is left to the proof in float64."""
        result = run_model(model, args, kwargs, self.seed)
        return difference(result, expected, ignore_integers=self.bound != BOUNDS[torch.float64])

    def whole(self, model: nn.Module | None) -> Run:
        """See `Target`."""
        return _run_on(model or self.model, *self.args, **self.kwargs)

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
        if self.bound == BOUNDS[torch.float64]:
            return None  # it is its own precision
        # Parameter by parameter: a copy that is then converted would hold the largest one three times.
        model = _copied(self.model, {each: _doubled(each) for each in self.model.parameters()}).double()
        args, kwargs = tree_map(_doubled, (args, kwargs))
        with _DoubleOnly() as seen:  # type: ignore[no-untyped-call]
            try:
                expected = run_model(model, args, kwargs, self.seed)
            except RuntimeError:  # it mixes precisions
                return None
        if not seen.double_only:
            return None
        target = ModuleTarget(model, args, kwargs, self.seed, self._search)
        if [site.path for site in target.sites()] != [site.path for site in self.sites()]:
            return None  # Python branches on the precision
        pairs = zip(self.sites(), target.sites(), strict=True)
        same = {theirs: choices[ours] for ours, theirs in pairs if ours in choices}
        return difference(run_model(target.rewritten(same), args, kwargs, self.seed), expected)


class _DoubleOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Whether all that is computed with fractions is so in float64."""

    double_only = True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64:
                self.double_only = False
        return result


def _arguments(example_inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example_inputs, Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, tuple | list) and example_inputs:
        return tuple(example_inputs), {}
    raise TypeError(
        "example_inputs must be a tensor, the tuple of the model's arguments, or a dict of them by name; "
        f"got {type(example_inputs).__name__}."
    )


def _copy(model: nn.Module, args: Any, kwargs: Any) -> nn.Module:
    """Return a copy to work on: running the model itself may change it."""
    try:
        return _copied(model)
    except RuntimeError:  # an old hook has computed a weight, with a graph behind it; now without
        model(*args, **kwargs)
        return _copied(model)


def _take_buffers(model: nn.Module, original: nn.Module) -> None:
    """Undo what runs have changed, for example the statistics of a part in training."""
    before = dict(original.named_buffers())
    for name, buffer in model.named_buffers():
        if name in before and before[name].shape == buffer.shape:
            buffer.copy_(before[name])


def materialised(module: nn.Module) -> nn.Module:
    """Fix the weights that a module computes from others at every call, as they are now."""
    for part in module.modules():
        if is_parametrized(part):
            names: Any = part.parametrizations
            weights = {name: getattr(part, name).detach() for name in names}
            part.__class__ = type(part).__bases__[0]  # not removed by PyTorch's way, which changes all copies
            del part.parametrizations
            for name, weight in weights.items():
                part.register_parameter(name, nn.Parameter(weight))
        if computes_weight(part):
            remove_weight_norm(part)
    return module


def _copied(model: nn.Module, parameters: Mapping[nn.Parameter, nn.Parameter] | None = None) -> nn.Module:
    """Return a copy of a model that has these parameters in the place of its own."""
    given: dict[int, Any] = {id(own): other for own, other in (parameters or {}).items()}
    with warnings.catch_warnings():
        # PyTorch's own, about a copied program's tree of arguments.
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(model, given)


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


def _doubled(value: Any) -> Any:
    """Return a tensor of fractions in float64, a parameter as a parameter, and all else as it is."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    double = value.double()
    return nn.Parameter(double, value.requires_grad) if isinstance(value, nn.Parameter) else double


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
