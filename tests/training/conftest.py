"""One thread for torch: these models are tiny, and the workers of the test run share the cores."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fsync: it matters when the power fails, which no test here does."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
