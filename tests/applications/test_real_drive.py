"""The main job on a recorded drive: a flood is found in time blocks that the detector never saw."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from applications.__main__ import main


@pytest.fixture
def flooded_drive(real_data: Path, tmp_path: Path) -> Path:
    """The Volvo V40 drive of daga_v40: as it was recorded, and with a flood injected by its authors."""
    folder = tmp_path / "logs"
    for name in ("clean/V40_03.can.zip", "infected/DenialOfService/lowestID_V40_03.can.zip"):
        log = folder / name
        log.parent.mkdir(parents=True)
        log.symlink_to((real_data / "daga_v40" / name).resolve())
    return folder


def test_a_flood_on_a_real_drive_is_found_in_unseen_time_blocks(flooded_drive: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    paths = [f"data.path={flooded_drive}", f"data.store={tmp_path / 'stores'}", f"save_loc={run}"]
    quick = ["trainer.epochs=5", "trainer.use_tensorboard=false", "evaluation.bootstrap_rounds=100"]
    assert main(["train", "gat", *paths, *quick]) == 0
    certificate = json.loads((run / "certificate.json").read_text())
    assert certificate["policy"] == "time_blocks"  # both files hold the same recorded traffic
    metrics = json.loads((run / "metrics.json").read_text())
    flood = metrics["overall"]["families"]["dos"]["windows"]
    assert flood["auroc"] > 0.99
    assert flood["recall"] > 0.9
    assert metrics["overall"]["windows"]["fpr"] < 0.05
