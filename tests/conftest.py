"""How Hypothesis draws: without a clock, since machines are busy, and in CI the same examples each time."""

import os

from hypothesis import HealthCheck, settings

without_a_clock = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("local", without_a_clock)
settings.register_profile("ci", without_a_clock, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
