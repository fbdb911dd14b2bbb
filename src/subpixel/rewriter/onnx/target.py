"""ONNX models as targets of `decide`: their sites, what is timed, and how results are compared."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from subpixel.measure.difference import relative
from subpixel.measure.race import Run
from subpixel.rewriter.forms import KEPT, UNSHUFFLED, Choice
from subpixel.rewriter.layers import (
    Convolution,
    Layer,
    Pointwise,
    Shape,
    Transposed,
    signature,
)
from subpixel.rewriter.onnx.examples import Feeds, other_feeds, random_feeds
from subpixel.rewriter.onnx.graph import OnnxGraph
from subpixel.rewriter.onnx.observe import observe, with_inferred_shapes, with_outputs
from subpixel.rewriter.onnx.quantised import BYTES
from subpixel.rewriter.onnx.runtimes import Runtime, Session, session
from subpixel.rewriter.onnx.surgery import install, timed
from subpixel.rewriter.proof import largest_difference
from subpixel.rewriter.reference import compute
from subpixel.rewriter.sites import Site, find
from subpixel.rewriter.target import Choices, Differences, chosen_chain

BOUNDS = {
    ir.DataType.FLOAT: 1e-4,
    ir.DataType.FLOAT16: 2e-2,
    ir.DataType.BFLOAT16: 1e-1,
    ir.DataType.DOUBLE: 1e-4,  # OpenVINO computes it in float32
}
# Where a sum lies halfway between two integers, the last digit of a float32 decides which one it becomes: a
# difference of one step of 255, which later layers may enlarge.
QUANTISED_BOUND = 5e-2
UP_SAMPLING_OPERATORS = {"ConvTranspose", "DepthToSpace", "Resize"}


class OnnxTarget:
    """An ONNX model that can be timed, proven and rewritten; see `target.Target`.

    Args:
        model: the model as it came.
        example: inputs by name.
        runtime: the runtime that is timed.
        seed: the seed of random inputs.
    """

    def __init__(self, model: ir.Model, example: Feeds, runtime: Runtime, seed: int) -> None:
        self.model, self.example, self._runtime, self.seed = model, example, runtime, seed
        self._original: Session | None = None
        self._last: tuple[ir.Model, Session] | None = None
        read = with_inferred_shapes(model)
        self.graph = OnnxGraph(read, *observe(read, example, runtime))
        self._sites = [self._with_onnx_reason(site) for site in find(self.graph)]
        self.runtime = runtime.name
        self.bound = max((BOUNDS.get(self._dtype(site), 0.0) for site in self._sites), default=0.0)
        if any(node.op_type == "QuantizeLinear" for node in read.graph):
            self.bound = QUANTISED_BOUND
        self.notes: tuple[str, ...] = ()
        if hidden := _hidden_up_samplers(model):
            self.notes = (f"up-samplers in branches, loops and functions, which are left alone: {hidden}",)

    def sites(self) -> list[Site[Any]]:
        """See `Target`."""
        return self._sites

    def shape(self, site: Site[Any]) -> Shape:
        """See `Target`."""
        return self.graph.shapes[self._data_value(site).name or ""]

    def key(self, site: Site[Any]) -> str:
        """See `Target`."""
        layers = "; ".join(map(_signature, site.chain))
        return f"{layers} at {self.shape(site)} {self._dtype(site).name} {site.shared_prefix}"

    def choices(self, site: Site[Any]) -> list[Choice]:
        """See `Target`."""
        return list(map(Choice, site.names))

    def runs(self, site: Site[Any], choices: Sequence[Choice]) -> dict[Choice, Run]:
        """See `Target`."""
        runs = {KEPT: self._run(timed(self.graph, site, None))}
        for choice in choices:
            with suppress(ValueError):  # a form that the runtime refuses is none to choose
                runs[choice] = self._run(timed(self.graph, site, choice.form))
        return runs

    def difference(self, site: Site[Any], choice: Choice) -> float | None:
        """See `Target`."""
        chain, changed = (chosen_chain(site, each, _doubled) for each in (KEPT, choice))
        _, channels, *sizes = self.shape(site)
        random = np.random.default_rng(self.seed)

        def at(sizes: tuple[int, ...]) -> float | None:
            x = random.standard_normal((1, channels, *sizes))
            try:
                expected = compute(chain, x)
            except ValueError:  # too small for the padding, or for the kernel
                return None
            return relative(compute(changed, x), expected)

        return largest_difference(at, len(sizes))

    def rewritten(self, choices: Choices) -> ir.Model:
        """See `Target`."""
        return install(self.model, self.graph, choices)

    def differences(self, model: ir.Model, choices: Choices) -> Differences:
        """See `Target`; values at the ends of the sites are compared too: later layers may hide a difference.

        Runtimes have no convolution in float64.
        """
        ends = [name for site in choices for name in self.graph.ends(site.nodes[-1])]
        others = other_feeds(self.model, self.example, self.seed)
        run = session(self._runtime, with_outputs(self.model, ends))
        expected = [_outputs(run, feeds) for feeds in others]
        del run  # what is compiled holds weights of its own, so one model less at a time
        run = session(self._runtime, with_outputs(model, ends))
        found: list[float] = []
        for feeds, outputs in zip(others, expected, strict=True):
            found += [] if outputs is None else map(self._relative, run(feeds), outputs)
        del run
        found += map(self._relative, self._whole(model)(self.example), self._whole(None)(self.example))
        return Differences(None, max(found))

    def whole(self, model: ir.Model | None) -> Run:
        """See `Target`."""
        run = self._whole(model)
        return lambda: run(self.example)

    def _whole(self, model: ir.Model | None) -> Session:
        """Compile the original (None) or another model, each once as long as it is the same."""
        if model is None:
            self._original = self._original or session(self._runtime, self.model)
            return self._original
        if self._last is None or self._last[0] is not model:
            self._last = None  # frees it first
            self._last = model, session(self._runtime, model)
        return self._last[1]

    def _with_onnx_reason(self, site: Site[Any]) -> Site[Any]:
        """Return the site, with the reason to keep it in ONNX if there is one."""
        reason = self._reason(site) if site.names else None
        return site if reason is None else replace(site, reason=reason, names=())

    def _reason(self, site: Site[Any]) -> str | None:
        if self._dtype(site) not in BOUNDS:
            return f"its pixels are {self._dtype(site).name}"
        if UNSHUFFLED in site.names and not _of_fixed_sizes(self._data_value(site)):
            return "the sizes of its input are symbolic"
        if self.graph.quantised(site.nodes[0]) is None and any(map(self.graph.reads_integers, site.nodes)):
            return "its weights are quantised, and would have to be quantised anew"
        if self.graph.rounds_quantised_sums(site.nodes):
            return "its rounding would move to a layer of quantised weights, which then computes in integers"
        weighted = (layer for layer in site.chain if isinstance(layer, Convolution | Transposed))
        if not all(np.isfinite(layer.weight).all() for layer in weighted):
            return "its weights are not all finite, and times an added zero they are no numbers"
        return None

    def _relative(self, result: NDArray[Any], expected: NDArray[Any]) -> float:
        """Return the largest difference of an output, in steps of 1 / 255 where it holds quantised pixels.

        Other integers, such as classes, count as equal: what they are made from is compared at the sites.
        """
        if self.bound == QUANTISED_BOUND and expected.dtype in BYTES and result.shape == expected.shape:
            steps = np.abs(result.astype(np.int16) - expected.astype(np.int16))
            return float(steps.max(initial=0)) / 255
        return relative(result, expected, ignore_integers=True)

    def _run(self, model: ir.Model) -> Run:
        run, feeds = session(self._runtime, model), random_feeds(model, {}, self.seed)
        return lambda: run(feeds)

    def _data_value(self, site: Site[Any]) -> ir.Value:
        return self.graph.data_value(site.nodes[0])

    def _dtype(self, site: Site[Any]) -> ir.DataType:
        return self._data_value(site).dtype or ir.DataType.FLOAT


def _outputs(run: Session, feeds: Feeds) -> list[NDArray[Any]] | None:
    """Return the outputs of a model; None for a size that it does not take."""
    try:
        return run(feeds)
    except ValueError:
        return None


def _hidden_up_samplers(model: ir.Model) -> int:
    nodes = [
        *model.graph.all_nodes(),
        *(node for each in model.functions.values() for node in each.all_nodes()),
    ]
    return sum(node.op_type in UP_SAMPLING_OPERATORS and node.graph is not model.graph for node in nodes)


def _of_fixed_sizes(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape[2:])


def _doubled(array: Any) -> NDArray[np.float64]:
    return np.asarray(array, np.float64)


def _signature(layer: Layer) -> str:
    """Return a layer as text, with the operator of a pointwise function."""
    return f"{signature(layer)} {layer.node.op_type}" if isinstance(layer, Pointwise) else signature(layer)
