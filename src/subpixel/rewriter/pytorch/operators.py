"""PyTorch's modules and functions as layers: what each computes of its data input, or why it is unknown."""

import inspect
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload

from subpixel.geometry import axes
from subpixel.kernels import Interpolation
from subpixel.rewriter.layers import (
    Chain,
    Convolution,
    Opaque,
    Pad,
    PadMode,
    Pads,
    Pointwise,
    Resize,
    Shuffle,
    Transposed,
)
from subpixel.rewriter.pytorch.modules import has_hooks, own_forward

Arguments = dict[str, Any]


def function_of(node: fx.Node) -> tuple[str, Arguments]:
    """Return the name of the function that a node calls, without its overload, and the arguments by name."""
    target: Any = node.target
    if node.op == "call_method":
        return str(target), {str(index): value for index, value in enumerate(node.args)} | node.kwargs
    # `F.conv2d` is a builtin, which has no signature; the operator of the same name has one.
    if isinstance(target, BuiltinFunctionType) and hasattr(torch.ops.aten, target.__name__):
        overloads = getattr(torch.ops.aten, target.__name__)
        target = getattr(overloads, overloads.overloads()[0])
    if not isinstance(target, OpOverload):
        return target.__name__, _bound(target, node)
    schema = target._schema  # noqa: SLF001 (nothing else has the names of the arguments)
    names = [argument.name for argument in schema.arguments]
    return schema.name.partition("::")[2], dict(zip(names, node.args, strict=False)) | node.kwargs


def _bound(function: Callable[..., Any], node: fx.Node) -> Arguments:
    try:
        return inspect.signature(function).bind(*node.args, **node.kwargs).arguments
    except (TypeError, ValueError):  # a builtin, or a wrong call
        return {}


def own_kind(module: nn.Module) -> type[nn.Module] | None:
    """Return the class of PyTorch's own whose forward a module runs, or None.

    A subclass that does not override the forward runs it too.
    """
    found = (cls for cls in MODULES if isinstance(module, cls) and own_forward(module) is cls.forward)
    return next(found, None)


def read_module(module: nn.Module, x: Tensor, node: fx.Node) -> Chain:
    """Return the layers of a module of PyTorch's own, and none of any other module."""
    if (kind := own_kind(module)) is None:
        return ()
    layers = MODULES[kind](module, x, node)
    if layers and has_hooks(module):
        return (Opaque("it has hooks"),) if isinstance(layers[0], IN_THE_REPORT) else ()
    return layers


def _convolution_module(module: Any, x: Tensor, _node: fx.Node) -> Chain:
    options = {name: getattr(module, name) for name in ("weight", "bias", "stride", "dilation", "groups")}
    pads = _pairs(vars(module)["_reversed_padding_repeated_twice"])  # of "same" too, unlike module.padding
    if module.padding_mode == "zeros":
        return _convolution(options | {"padding": pads}, x, _node)
    if module.padding_mode not in get_args(PadMode):
        return ()
    convolution = _convolution(options, x, _node)
    return (Pad(pads, module.padding_mode), *convolution) if convolution else ()


def _convolution(arguments: Arguments, x: Tensor, _node: fx.Node) -> Chain:
    weight, ndim = arguments["weight"], arguments["weight"].ndim - 2
    if x.ndim != weight.ndim:
        return ()
    stride, dilation = (_integers(arguments.get(name, 1), ndim) for name in ("stride", "dilation"))
    pads = _pads(arguments.get("padding", 0), weight, dilation)
    bias, groups = arguments.get("bias"), arguments.get("groups", 1)
    return (Convolution(_detached(weight), _detached(bias), stride, pads, dilation, groups),)


def _transposed_module(module: Any, x: Tensor, node: fx.Node) -> Chain:
    names = ("weight", "bias", "stride", "padding", "output_padding", "dilation", "groups")
    if len(node.args) > 1 or "output_size" in node.kwargs:
        return (Opaque("its output_size is given at run time"),)
    return _transposed({name: getattr(module, name) for name in names}, x, node)


def _transposed(arguments: Arguments, x: Tensor, _node: fx.Node) -> Chain:
    weight = arguments["weight"]
    if x.ndim != weight.ndim:
        return (Opaque("its input has no batch"),)
    options = {
        name: arguments[name]
        for name in ("stride", "padding", "output_padding", "dilation")
        if name in arguments
    }
    geometry = axes(
        tuple(weight.shape[2:]), **{name: _integers(n, weight.ndim - 2) for name, n in options.items()}
    )
    return (
        Transposed(_detached(weight), _detached(arguments.get("bias")), geometry, arguments.get("groups", 1)),
    )


def _resize_module(module: Any, x: Tensor, node: fx.Node) -> Chain:
    names = ("size", "scale_factor", "mode", "align_corners")
    return _resize({name: getattr(module, name) for name in names}, x, node)


def _upsample(arguments: Arguments, x: Tensor, node: fx.Node) -> Chain:
    """Read an operator of aten's, which has the mode in its name."""
    name = function_of(node)[0]
    mode = next(mode for mode in ("nearest", "linear", "cubic") if mode in name)
    options = {"size": arguments.get("output_size"), "scale_factor": arguments.get("scale_factors")}
    return _resize({"mode": mode, "antialias": name.endswith("_aa"), **options, **arguments}, x, node)


def _resize(arguments: Arguments, x: Tensor, _node: fx.Node) -> Chain:
    mode, factors = MODES.get(arguments.get("mode", "nearest")), arguments.get("scale_factor")
    if mode is None:
        return (Opaque(f"no rule for mode {arguments['mode']}"),)
    if factors is None:
        return (Opaque("its output size is not proven to be a multiple of its input size"),)
    values = tuple(factors) if isinstance(factors, list | tuple) else (factors,) * (x.ndim - 2)
    if reason := _irregular(arguments, mode, values):
        return (Opaque(reason),)
    return (Resize(mode, tuple(map(int, values)), x.shape[1]),)


def _irregular(arguments: Arguments, mode: Interpolation, factors: tuple[float, ...]) -> str | None:
    """Return why a resize does not have the same kernels at every LR pixel, or None."""
    if any(factor != int(factor) or factor < 1 for factor in factors):
        return f"its factors {factors} are no integers"
    # The output pixel i is the input pixel floor(i * float32(1 / factor)), so for i = factor it must be 1.
    if mode == "nearest" and any(np.float32(factor) * np.float32(1 / factor) < 1 for factor in factors):
        return f"with the factors {factors} PyTorch's rounding does not repeat each pixel alike"
    if arguments.get("align_corners") and mode != "nearest":
        return "with aligned corners no two pixels have the same kernel"
    return "it is antialiased" if arguments.get("antialias") else None


def _shuffle_module(module: Any, x: Tensor, _node: fx.Node) -> Chain:
    return (Shuffle((module.upscale_factor,) * 2),) if x.ndim == 4 else ()


def _shuffle(arguments: Arguments, x: Tensor, _node: fx.Node) -> Chain:
    return (Shuffle((arguments["upscale_factor"],) * 2),) if x.ndim == 4 else ()


def _pad_module(module: Any, x: Tensor, node: fx.Node) -> Chain:
    mode = next(mode for name, mode in PADDINGS.items() if name in type(module).__name__)
    return _pad({"pad": module.padding, "mode": mode}, x, node)


def _pad(arguments: Arguments, x: Tensor, _node: fx.Node) -> Chain:
    mode: Any = {"constant": "zeros"}.get(name := arguments.get("mode", "constant"), name)
    flat, ndim = list(arguments["pad"]), x.ndim - 2
    if mode not in get_args(PadMode) or arguments.get("value") or len(flat) > 2 * ndim:
        return ()
    return (Pad(_pairs([*flat, *[0] * (2 * ndim - len(flat))]), mode),)


def _norm_module(module: Any, _x: Tensor, node: fx.Node) -> Chain:
    return () if module.training or module.running_mean is None else (Pointwise(node, per_channel=True),)


def _norm(arguments: Arguments, _x: Tensor, node: fx.Node) -> Chain:
    fixed = not arguments.get("training", False) and arguments.get("running_mean") is not None
    return (Pointwise(node, per_channel=True),) if fixed else ()


def _prelu_module(module: Any, _x: Tensor, node: fx.Node) -> Chain:
    return (Pointwise(node, per_channel=module.weight.numel() > 1),)


def _pointwise_module(_module: Any, _x: Tensor, node: fx.Node) -> Chain:
    return (Pointwise(node),)


def _dropout_module(module: Any, _x: Tensor, node: fx.Node) -> Chain:
    return () if module.training else (Pointwise(node),)


def _dropout(arguments: Arguments, _x: Tensor, node: fx.Node) -> Chain:
    return () if arguments.get("training", arguments.get("train", True)) else (Pointwise(node),)


def _pads(padding: Any, weight: Tensor, dilation: tuple[int, ...]) -> Pads:
    """Return the zeros (low, high) of each axis; "same" puts the odd one after the pixels."""
    if padding == "same":
        reach = [step * (taps - 1) for step, taps in zip(dilation, weight.shape[2:], strict=True)]
        return tuple((n // 2, n - n // 2) for n in reach)
    values = _integers(0 if padding == "valid" else padding, weight.ndim - 2)
    return tuple(value if isinstance(value, tuple) else (value, value) for value in values)


def _pairs(flat: Sequence[int]) -> Pads:
    """Return PyTorch's flat list of pads, which starts with the last axis, as (low, high) of each axis."""
    return tuple((flat[i], flat[i + 1]) for i in reversed(range(0, len(flat), 2)))


def _integers(value: Any, ndim: int) -> tuple[Any, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,)
    return values * ndim if len(values) == 1 else values


def _detached(weight: Tensor | None) -> Tensor | None:
    return None if weight is None else weight.detach()


Reader = Callable[[Any, Tensor, fx.Node], Chain]
IN_THE_REPORT = (Transposed, Resize, Shuffle, Opaque)
PADDINGS = {"Zero": "zeros", "Replication": "replicate", "Reflection": "reflect"}
MODES: dict[str, Interpolation] = {
    "nearest": "nearest", "nearest-exact": "nearest", "linear": "linear", "bilinear": "linear",
    "trilinear": "linear", "cubic": "cubic", "bicubic": "cubic",
}  # fmt: skip

READERS: dict[str, Reader] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    **dict.fromkeys(("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d"), _upsample),
    **dict.fromkeys(
        ("_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d"), _upsample
    ),
    **dict.fromkeys(("upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d"), _upsample),
    **dict.fromkeys(("upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"), _upsample),
    **dict.fromkeys(("interpolate", "upsample"), _resize),
    "pixel_shuffle": _shuffle,
    "pad": _pad,
    "batch_norm": _norm,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout"), _dropout),
}
UP_SAMPLERS = {
    name for name, reader in READERS.items() if reader in (_transposed, _upsample, _resize, _shuffle)
}
POINTWISE_NAMES = {
    "celu", "clamp", "clip", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "leaky_relu",
    "leaky_relu_", "mish", "relu", "relu6", "relu_", "selu", "sigmoid", "silu", "silu_", "softplus", "tanh",
}  # fmt: skip

POINTWISE_MODULES = (
    nn.CELU, nn.ELU, nn.GELU, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.Mish,
    nn.ReLU, nn.ReLU6, nn.SELU, nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
)  # fmt: skip
MODULES: dict[type[nn.Module], Reader] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution_module),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _transposed_module),
    **dict.fromkeys((nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d), _pad_module),
    **dict.fromkeys((nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d), _pad_module),
    **dict.fromkeys((nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d), _pad_module),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _norm_module),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout), _dropout_module),
    **dict.fromkeys(POINTWISE_MODULES, _pointwise_module),
    nn.PReLU: _prelu_module,
    nn.Upsample: _resize_module,
    nn.PixelShuffle: _shuffle_module,
}
