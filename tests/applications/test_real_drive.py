"""The main job on a recorded drive with published attacks, in time blocks that the detector never saw."""

from __future__ import annotations

import json
from pathlib import Path

from applications.__main__ import main


def test_attacks_on_a_real_drive_are_found_in_unseen_time_blocks(real_data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    paths = [f"data.path={real_data / 'daga_v40'}", f"data.store={tmp_path / 'stores'}", f"save_loc={run}"]
    quick = ["trainer.epochs=8", "trainer.use_tensorboard=false", "model.width=32", "evaluation.bootstrap_rounds=100"]
    assert main(["train", "gat", *paths, *quick]) == 0
    certificate = json.loads((run / "certificate.json").read_text())
    assert certificate["policy"] == "time_blocks"  # all six files hold the same recorded traffic
    metrics = json.loads((run / "metrics.json").read_text())
    auroc = {name: part["windows"]["auroc"] for name, part in metrics["overall"]["families"].items()}
    assert auroc["dos"] > 0.99
    assert sum(auroc.values()) / len(auroc) > 0.98
    assert metrics["overall"]["windows"]["fpr"] < 0.05
