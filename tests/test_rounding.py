from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from networks import evaluate, random_network
from numpy.typing import NDArray

from subpixel.network import LRNetwork, bicubic
from subpixel.training.rounding import round_weights

NETWORKS = {
    "tanh": random_network(widths=(32, 16)),
    "relu": random_network(2, widths=(32, 16), activations=("relu", "relu", None)),
    "prelu, RGB, skip": random_network(
        2, 3, widths=(32, 16), activations=("prelu", "leaky_relu", None), skip="bicubic"
    ),
}


def smooth_planes(network: LRNetwork, n: int, seed: int) -> NDArray[np.float32]:
    """Pictures are smooth, and that is what the rounding makes use of."""
    noise = np.random.default_rng(seed).random((n, 1, 12, 12))
    planes = evaluate(bicubic(4), noise).astype(np.float32)
    return np.repeat(planes, network.channels, axis=1)


def to_bfloat16(array: NDArray[np.float32]) -> NDArray[np.float32]:
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_rounded_weights_are_bfloat16_and_the_rest_is_as_it_was(network: LRNetwork) -> None:
    rounded = round_weights(network, smooth_planes(network, 4, 0))
    for before, after in zip(network.convolutions, rounded.convolutions, strict=True):
        np.testing.assert_array_equal(after.weight, to_bfloat16(after.weight))
        assert np.abs(after.weight - before.weight).max() < 0.1
        assert (after.activation, after.slope is before.slope) == (before.activation, True)
    assert (rounded.skip, rounded.metadata) == (network.skip, network.metadata)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_errors_of_rounded_weights_cancel(network: LRNetwork) -> None:
    """On planes that were not rounded on, the output moves a quarter as far as with each weight by itself."""
    nearest = replace(
        network, convolutions=tuple(replace(c, weight=to_bfloat16(c.weight)) for c in network.convolutions)
    )
    rounded = round_weights(network, smooth_planes(network, 4, 0))
    planes = smooth_planes(network, 2, 1)
    exact = evaluate(network, planes)
    by_itself, together = (np.std(evaluate(other, planes) - exact) for other in (nearest, rounded))
    assert together < by_itself / 4


def test_weights_that_are_bfloat16_already_stay() -> None:
    network = random_network()
    network = replace(
        network, convolutions=tuple(replace(c, weight=to_bfloat16(c.weight)) for c in network.convolutions)
    )
    rounded = round_weights(network, smooth_planes(network, 2, 0))
    for before, after in zip(network.convolutions, rounded.convolutions, strict=True):
        np.testing.assert_array_equal(after.weight, before.weight)
        np.testing.assert_array_equal(after.bias, before.bias)
