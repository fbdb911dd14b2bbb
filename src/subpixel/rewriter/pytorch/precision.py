"""Models in float64, where rounding is too small to hide a mistake; how far they may differ in their own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from subpixel.rewriter.pytorch.modules import computes_weight

# Largest difference, relative to the largest output: what rounding adds up to in deep models, with room.
BOUNDS = {
    torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1,
    torch.complex128: 1e-10, torch.complex64: 1e-4, torch.complex32: 2e-2,
}  # fmt: skip
EXACT = BOUNDS[torch.float64]
DOUBLE = {True: torch.complex128, False: torch.float64}


def bound(values: Any) -> float:
    """Return how far results may differ that are computed from these tensors: the bound of the coarsest."""
    tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
    return max((BOUNDS.get(tensor.dtype, 0.0) for tensor in tensors), default=0.0)


def doubled(value: Any) -> Any:
    """Return a tensor of fractions, or of complex numbers, in double precision, and all else as it is."""
    if not isinstance(value, Tensor) or not (value.is_floating_point() or value.is_complex()):
        return value
    return value.to(DOUBLE[value.is_complex()])


def double_model(model: nn.Module) -> nn.Module:
    """Bring the weights of a model to double precision in place, and return it."""
    model.double()  # which passes over complex numbers
    for parameter in model.parameters():
        parameter.data = doubled(parameter.data)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, doubled(buffer))
    return model


class DoubleOnly(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watch whether all that is computed with fractions is so in double precision."""

    double_only = True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what it gives."""
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.dtype in BOUNDS and value.dtype not in DOUBLE.values():
                self.double_only = False
        return result


def with_fixed_weights(module: nn.Module) -> nn.Module:
    """Fix the weights that a module computes from others at every call, as they are now, and return it."""
    for part in module.modules():
        if is_parametrized(part):
            names: Any = part.parametrizations
            weights = {name: getattr(part, name).detach() for name in names}
            # PyTorch's own way would change the class that all copies of the module share.
            part.__class__ = type(part).__bases__[0]
            del part.parametrizations
            for name, weight in weights.items():
                part.register_parameter(name, nn.Parameter(weight))
        if computes_weight(part):
            remove_weight_norm(part)
    return module
