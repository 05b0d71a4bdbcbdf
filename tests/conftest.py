"""Shared fixtures: where the real captures are, and how hypothesis runs (derandomised, so that nothing is flaky)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "project", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("project")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real captures (``CREDIT_LIKE_DATA``, or ``../shared/data`` beside the project)."""
    folder = Path(os.environ.get("CREDIT_LIKE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real captures at {folder}; set CREDIT_LIKE_DATA to the folder that holds them")
    return folder
