"""What the contract sweeps share: a store, a configuration, and runs without waits that a tiny model does not need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from applications.__main__ import main
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


@pytest.fixture
def gat_config(capsys: pytest.CaptureFixture[str]) -> str:
    """The shipped GAT's configuration, as a run folder has it."""
    assert main(["config", "show", "gat"]) == 0
    return capsys.readouterr().out
