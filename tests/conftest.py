"""How hypothesis searches: the same few examples every time, or, on request, many new ones."""

import os

from hypothesis import HealthCheck, settings

# Both: no deadline and no complaint about slow generation, since a loaded machine must not fail a test.
settings.register_profile(
    "default",
    derandomize=True,
    max_examples=60,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    derandomize=False,
    max_examples=int(os.environ.get("MOXLIB_FUZZ_EXAMPLES", "5000")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
