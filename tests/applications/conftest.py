"""One small job on simulated drives, trained and judged once for all tests that look at what it left."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from applications import _compiling
from applications.__main__ import main
from applications._run import open_run
from applications.verify import BestDetector, claims_of
from credit_like.can import read_dataset, write_simulated_dataset
from tests.applications.tampering import Evidence

# What a test expects on stderr must not depend on what had to be compiled before it.
_compiling._listener.said = True

#: A network and a schedule that train in a second; they come after ``gat`` on the command line.
SMALL = (
    "model.width=8",
    "model.heads=2",
    "model.fc=[8]",
    "model.id_dim=4",
    "trainer.epochs=2",
    "trainer.use_tensorboard=false",
    "loader.batch_size=64",
    "optimizer.lr=1e-2",
    "evaluation.bootstrap_rounds=100",
)


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five simulated drives, one of them attack-free; no two share traffic."""
    folder = tmp_path_factory.mktemp("logs")
    write_simulated_dataset(
        folder, drives=5, seconds=14, attacks=("dos", "fuzzing", "suspension"), seed=3, progress=False
    )
    return folder


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all jobs of the tests keep their graph stores, so that each is built once."""
    return tmp_path_factory.mktemp("stores")


@pytest.fixture(scope="session")
def job(logs: Path, store: Path) -> list[str]:
    """``gat`` and its overrides, all but ``save_loc``."""
    return ["gat", f"data.path={logs}", f"data.store={store}", *SMALL]


@pytest.fixture
def leaky_job(job: list[str], tmp_path: Path) -> list[str]:
    """The job of the finished run, short, with a store of its own."""
    kept = [word for word in job if not word.startswith(("data.store=", "trainer.epochs="))]
    return [*kept, f"data.store={tmp_path / 'stores'}", "trainer.epochs=1"]


@pytest.fixture(scope="session")
def finished(job: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained and judged; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", *job, f"save_loc={folder}", "trainer.use_tensorboard=true"]) == 0
    return folder


@pytest.fixture(scope="session")
def anomaly(logs: Path, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a judged anomaly detector that averages its weights; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "anomaly"
    sizes = [setting for setting in SMALL if not setting.startswith(("model.fc", "model.id_dim"))]
    given = [f"data.path={logs}", f"data.store={store}", *sizes, "trainer.use_ema=true", "trainer.ema_decay=0.9"]
    assert main(["train", "dgi_ocgin", *given, f"save_loc={folder}"]) == 0
    return folder


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run that a test may damage."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture(scope="module")
def evidence(finished: Path) -> Evidence:
    """What the run ``finished`` claims, its logs, and its detector, read once."""
    run = open_run(finished)
    return claims_of(run), read_dataset(run.job.data.path), BestDetector(run)
