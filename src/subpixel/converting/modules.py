"""PyTorch modules: a stack of convolutions and activations, read as an LR network and compared with it."""

import operator
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from subpixel.engines import create
from subpixel.extras import needing
from subpixel.geometry import axes
from subpixel.kernels import transposed_to_lr
from subpixel.network import LRConvolution, LRNetwork, Skip

with needing("torch"):
    import torch
    from torch import Tensor, fx, nn
    from torch.nn import functional

TOLERANCE = (
    1e-4  # of the largest value, at least of 1: float32 rounds differently in other orders of summation
)

_ADDITIONS = (operator.add, operator.iadd, torch.add)
_FUNCTIONS: dict[Any, type[nn.Module]] = {
    torch.tanh: nn.Tanh,
    functional.tanh: nn.Tanh,
    "tanh": nn.Tanh,
    torch.relu: nn.ReLU,
    functional.relu: nn.ReLU,
    "relu": nn.ReLU,
}
_INNER = (12, 17)  # LR pixels, height and width, that are compared


def from_torch(module: nn.Module, *, name: str = "converted") -> LRNetwork:
    """Return the LR network that equals a PyTorch module except near the borders.

    The module must be a chain of convolutions of stride 1 and odd square kernels, each with at most one
    activation (tanh, ReLU, leaky ReLU, PReLU), that ends in a pixel shuffle or in a transposed convolution of
    stride r. The image may be added at the end, enlarged by nearest or bicubic interpolation.

    A module pads the maps of each layer, mostly with zeros. An LR network pads the image once, by repeating
    its edge. So results differ within r*m pixels of a border, where m is the radius of the network, and
    nowhere else: both are run on a random image, and compared.

    Args:
        module: takes and gives (n, c, h, w) in 0..1; it is copied, not changed.
        name: the name in the network's metadata.

    Raises:
        ValueError: the module is of another kind, exceeds the bounds of `subpixel.network`, or does not
            compute what the network computes.
        ModuleNotFoundError: PyTorch is not installed; the message names the pip command.

    Example:
        >>> layers = nn.Conv2d(1, 8, 5, padding=2), nn.PReLU(), nn.ConvTranspose2d(8, 1, 9, 3, 4, 2)
        >>> network = from_torch(nn.Sequential(*layers))
        >>> network.upscale_factor, [c.weight.shape for c in network.convolutions]
        (3, [(8, 1, 5, 5), (9, 8, 5, 5)])

    References: Shi et al. 2016 (arXiv:1609.07009), section 2.
    """
    module = deepcopy(module).float().cpu().eval()
    layers, skip = _read(module)
    r, convolutions = _convolutions(layers)
    network = LRNetwork(r, tuple(convolutions), skip, {"name": name})
    _compare(module, network)
    return network


def _read(module: nn.Module) -> tuple[list[nn.Module], Skip | None]:
    """Return the layers of a module in their order, and how the image is added to the last one's output."""
    try:
        graph = fx.Tracer().trace(module)
    except Exception as error:  # whatever the module's own code raises
        raise ValueError(f"the module must compute the same for any input; {error}.") from error
    image, *others = (node for node in graph.nodes if node.op == "placeholder")
    _require(not others, f"the module must take one image; got {len(others)} more inputs.")
    node, skip = _without_skip(module, next(iter(reversed(graph.nodes))).args[0], image)
    layers = []
    while node is not image:
        layers.append(_layer(module, node))
        node = node.args[0]
    return [layer for layer in reversed(layers) if not isinstance(layer, nn.Identity)], skip


def _without_skip(module: nn.Module, result: Any, image: fx.Node) -> tuple[Any, Skip | None]:
    """Return the node that an enlarged image is added to, and the interpolation."""
    if isinstance(result, fx.Node) and result.target in _ADDITIONS:
        for skip, chain in (result.args[:2], result.args[1::-1]):
            mode = _interpolation(module, skip)
            if mode is not None and skip.args[:1] == (image,):  # type: ignore[union-attr]  # it is a node
                return chain, mode
    return result, None


def _interpolation(module: nn.Module, node: Any) -> Skip | None:
    """Return the mode of a node that is an interpolation which a skip may be."""
    if not isinstance(node, fx.Node):
        return None
    mode: Any = None
    if node.target is functional.interpolate:
        mode = node.kwargs.get("mode", "nearest")
    elif node.op == "call_module" and isinstance(
        layer := module.get_submodule(str(node.target)), nn.Upsample
    ):
        mode = layer.mode
    return mode if mode in ("nearest", "bicubic") else None


def _layer(module: nn.Module, node: Any) -> nn.Module:
    """Return what a node computes of its first argument, as a layer."""
    if isinstance(node, fx.Node) and node.args and isinstance(node.args[0], fx.Node):
        if node.op == "call_module":
            return module.get_submodule(str(node.target))
        if node.target in _FUNCTIONS:
            return _FUNCTIONS[node.target]()
        if node.target in (functional.pixel_shuffle, torch.pixel_shuffle) and len(node.args) == 2:
            return nn.PixelShuffle(node.args[1])  # type: ignore[arg-type]  # PyTorch takes nothing else
    raise ValueError(
        f"the module must be a chain of convolutions and activations that ends in a shuffle or a transposed "
        f"convolution, and may add the enlarged image; got {node} in it."
    )


def _convolutions(layers: list[nn.Module]) -> tuple[int, list[LRConvolution]]:
    """Return the upscale factor and the LR convolutions of a chain."""
    _require(bool(layers), "the module must have layers; got none.")
    *layers, last = layers
    if isinstance(last, nn.PixelShuffle):
        return last.upscale_factor, list(_activated(layers))
    _require(
        isinstance(last, nn.ConvTranspose2d),
        f"the last layer must be a pixel shuffle or a transposed convolution; got {last}.",
    )
    return last.stride[0], [*_activated(layers), _of_transposed(last)]  # type: ignore[return-value, arg-type, index]


def _activated(layers: list[nn.Module]) -> Iterator[LRConvolution]:
    """Yield each convolution with the activation that follows it."""
    waiting: nn.Conv2d | None = None
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            if waiting is not None:
                yield _of_convolution(waiting)
            waiting = layer
        else:
            _require(waiting is not None, f"a convolution must come before each activation; got {layer}.")
            assert waiting is not None
            yield _of_convolution(waiting, layer)
            waiting = None
    if waiting is not None:
        yield _of_convolution(waiting)


def _of_convolution(layer: nn.Conv2d, activation: nn.Module | None = None) -> LRConvolution:
    plain = layer.stride == (1, 1) and layer.dilation == (1, 1) and layer.groups == 1
    _require(plain, f"a convolution must have stride, dilation and groups 1; got {layer}.")
    outputs = layer.out_channels
    bias = np.zeros(outputs, np.float32) if layer.bias is None else _array(layer.bias)
    weight = _array(layer.weight)
    match activation:
        case None:
            return LRConvolution(weight, bias)
        case nn.Tanh():
            return LRConvolution(weight, bias, "tanh")
        case nn.ReLU():
            return LRConvolution(weight, bias, "relu")
        case nn.LeakyReLU(negative_slope=slope):
            return LRConvolution(weight, bias, "leaky_relu", np.array([slope], np.float32))
        case nn.PReLU(num_parameters=1):
            return LRConvolution(weight, bias, "leaky_relu", _array(activation.weight))
        case nn.PReLU():
            return LRConvolution(weight, bias, "prelu", _array(activation.weight))
    raise ValueError(
        "a layer must be a convolution, tanh, ReLU, leaky ReLU or PReLU, and only the last one may be a "
        f"shuffle or a transposed convolution; got {activation}."
    )


def _of_transposed(layer: nn.ConvTranspose2d) -> LRConvolution:
    """Return the LR convolution of a transposed one, its phase kernels centred by zeros."""
    _require(layer.groups == 1, f"the transposed convolution must have groups 1; got {layer}.")
    sizes = (layer.stride, layer.padding, layer.output_padding, layer.dilation)
    geometry = axes(layer.kernel_size, *sizes)  # type: ignore[arg-type]  # tuples of integers, says PyTorch
    _require(
        geometry[0] == geometry[1] and geometry[0].surplus == 0,
        "the transposed convolution must be square and give exactly stride times the size, which padding and "
        f"output_padding decide; got {layer}.",
    )
    lr, r = geometry[0].lr("aligned"), layer.stride[0]
    before, after = lr.pad[0], lr.taps - 1 - lr.pad[0]  # LR pixels that a pixel reads on each side
    radius = max(before, after)
    zeros = [(radius - before, radius - after)] * 2
    weight = transposed_to_lr(_array(layer.weight), geometry, form="aligned")
    bias = np.zeros(layer.out_channels, np.float32) if layer.bias is None else _array(layer.bias)
    return LRConvolution(np.pad(weight, [(0, 0), (0, 0), *zeros]), np.repeat(bias, r * r))


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().numpy().copy()


def _compare(module: nn.Module, network: LRNetwork) -> None:
    """Run both on a random image, and raise an error where they differ beyond the reach of a border."""
    m, r = network.radius, network.upscale_factor
    size = [inner + 2 * m for inner in _INNER]
    image = torch.rand(1, network.channels, *size, generator=torch.Generator().manual_seed(0))
    ours = create(network, "native")(image.numpy())
    try:
        with torch.inference_mode():
            whole = module(image).numpy()
    except RuntimeError as error:
        raise ValueError(
            f"the module must run on an image of {network.channels} channels; {error}."
        ) from error
    rows, columns = (
        (mine - theirs) // 2 for mine, theirs in zip(ours.shape[2:], whole.shape[2:], strict=True)
    )
    theirs = whole[..., -rows : whole.shape[2] + rows, -columns : whole.shape[3] + columns]
    _require(
        theirs.shape == ours.shape,
        f"the module must give {r} times the size of an image; got {whole.shape} from {tuple(image.shape)}.",
    )
    difference = float(np.abs(ours - theirs).max())
    _require(
        difference <= TOLERANCE * max(1, float(np.abs(theirs).max())),
        f"the module must compute what its layers compute; on a random image it differs by {difference:g}.",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(" ".join(message.split()))
