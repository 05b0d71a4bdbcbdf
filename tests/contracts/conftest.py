"""What the contract sweeps share: a small store, and runs without the waits that a tiny model has no use for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from credit_like.graphs import GraphStore
from tests.graphs.conftest import SETTINGS, three_way_plan, two_captures


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> GraphStore:
    folder = tmp_path_factory.mktemp("stores") / "small"
    return GraphStore.build(folder, two_captures(), three_way_plan(), SETTINGS)


@pytest.fixture
def quick_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One thread, and no fsync: nobody pulls the plug here."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    yield
    torch.set_num_threads(threads)
