"""A worker in a process of its own: python searching.py FOLDER TRIALS NUMBER [STORAGE].

From trial NUMBER on it dies, unless that is -1; from trial -NUMBER on it waits until the other one has died.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_like.hpo import Parameter, SearchSettings, Worker, open_study

SPACE = {
    "x": Parameter(type="float", low=-1.0, high=1.0),
    "n": Parameter(type="int", low=1, high=4),
    "kind": Parameter(type="categorical", choices=["a", [1, 2], None]),
}


def settings(trials: int, **others: Any) -> SearchSettings:
    return SearchSettings(space=SPACE, trials=trials, **others)


def value(values: Mapping[str, Any]) -> float:
    return float(values["x"] ** 2 + values["n"])


def main(folder: Path, trials: int, dies_at: int, storage: str) -> None:
    search = settings(trials)
    study = open_study("made", folder, search, "min", {"what": "a parabola"}, storage)

    def objective(trial: Any, values: Mapping[str, Any], begun: bool) -> float:
        progress = folder / f"progress_{trial.number}"
        assert progress.exists() == begun
        progress.write_text(f"{progress.read_text() if begun else ''}{os.getpid()}\n")
        if trial.number >= dies_at >= 0:
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        while trial.number >= -dies_at > 1 and not (folder / "died").exists():
            time.sleep(0.01)
        for step in range(3):
            trial.report(value(values) + 1 / (step + 1), step)
        return value(values)

    Worker(study, folder, search, objective).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else "")
