"""How the tests draw: Hypothesis without a clock, since machines are busy; every test from the same seed."""

import os
import random
import sys
import tempfile

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

without_a_clock = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", without_a_clock)
settings.register_profile(
    "ci", without_a_clock, derandomize=True, print_blob=True
)  # the same examples each time
settings.load_profile("ci" if os.environ.get("CI") else "local")


# What tests find out about the speed of engines is for them and the processes that they start alone.
CACHE = tempfile.TemporaryDirectory(prefix="subpixel-tests-")
os.environ["SUBPIXEL_CACHE"] = CACHE.name


@pytest.fixture(autouse=True)
def seed() -> None:
    """Seed every global generator, so that a test draws the same numbers alone and among others."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 (what libraries under test may draw from)
    if (torch := sys.modules.get("torch")) is not None:  # tests without PyTorch do not wait for its import
        torch.manual_seed(0)
