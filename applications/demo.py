"""credit-like demo [FOLDER] [--quick] [--benign]: from logs to reports, on simulated drives or on your logs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from applications import _arguments
from applications._cli import run
from applications._data import NothingToLearnError, load_data
from applications._job import load_job
from applications._run import DEMO_MARK, REPORT, nothing_left_behind, require_free, write_text
from applications._summary import data_summary
from applications.compare import compare_runs
from applications.evaluate import evaluate_run
from applications.train import train
from credit_like.can import write_simulated_dataset
from credit_like.config import UserError


@dataclass(frozen=True)
class Size:
    """How much a demo does: simulated drives and the seconds of each, and what it overrides in the configuration."""

    drives: int
    seconds: float
    overrides: tuple[str, ...]


#: What is trained, each by its configuration, in this order: the fusion learns from the two before it.
FUSION = "rl_fusion"
DETECTORS = ("gat", "dgi_ocgin", FUSION)
#: It needs benign traffic alone: logs that hold too little for it have nothing for the others either.
LAST_RESORT = "dgi_ocgin"
#: What the fusion calls the two before it.
EXPERTS = ("gat", "anomaly")

#: Three minutes on two cores.
FULL = Size(drives=12, seconds=60.0, overrides=())
#: A minute, at some cost in the figures.
QUICK = Size(drives=8, seconds=40.0, overrides=("trainer.epochs=4", "evaluation.bootstrap_rounds=200"))

#: Attack families of the simulated drives.
ATTACKS = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")


def main(argv: list[str]) -> None:
    options = _arguments.demo(argv)
    demo(options.data, options.out, quick=options.quick, benign=options.benign)


def demo(logs: Path | None = None, out: Path | None = None, *, quick: bool = False, benign: bool = False) -> Path:
    """Run the demo; returns the path of the report of all detectors, which has those of each beside it.

    ``benign`` takes unlabelled frames for normal traffic. Logs may hold too little for some detectors: one that needs
    attacks is left out where there are none. Where one detector is left, the report is its own.

    Raises UserError when ``logs`` is not there, when there is nothing to learn from for any detector, or when ``out``
    (or the simulated logs' folder) holds anything but an earlier demo.
    """
    if logs is not None and not logs.exists():
        raise UserError(f"there is no {logs}; name a log or a folder of logs, or nothing for simulated drives")
    size = QUICK if quick else FULL
    out = out or Path("runs") / (f"demo_{logs.resolve().stem}" if logs else "demo")
    _make_own(out)
    logs = logs or _simulated_logs(out.with_name(f"{out.name}-logs"), size)  # demo_logs: runs of a folder called logs
    changes = [f"data.path={json.dumps(str(logs))}", *size.overrides]
    changes += ["data.split.unlabelled=benign"] * benign
    runs: list[Path] = []
    with nothing_left_behind(out):
        data = load_data(load_job(DETECTORS[0], changes)[0].data)
        print(data_summary(data))
        for name in DETECTORS:
            if name == FUSION and len(runs) < len(EXPERTS):
                break
            print(f"\n== {name}")
            folder = out / name
            experts = [f"experts.{expert}={json.dumps(str(run))}" for expert, run in zip(EXPERTS, runs, strict=False)]
            given = [*changes, f"save_loc={json.dumps(str(folder))}", *(experts if name == FUSION else [])]
            job, cls = load_job(name, given)
            try:
                trained = train(job, cls, data=data)
            except NothingToLearnError as error:  # every other failure is one of the demo too
                if name == LAST_RESORT:
                    raise
                print(f"note: no {name}: {error}")
                continue
            evaluate_run(folder, trained)
            runs.append(folder)
    if len(runs) == 1:
        return runs[0] / REPORT
    print("\n== side by side")
    return compare_runs(runs, out / REPORT)


def _simulated_logs(folder: Path, size: Size) -> Path:
    """Drives of a simulated car with attacks, as log files in ``folder``; the same ones each time."""
    _make_own(folder)
    print(f"simulating {size.drives} drives of {size.seconds:g} s with attacks in {folder}")
    write_simulated_dataset(folder, drives=size.drives, seconds=size.seconds, attacks=ATTACKS)
    return folder


def _make_own(folder: Path) -> None:
    """An empty folder with the demo's mark; what an earlier demo left there goes. Raises UserError for another's."""
    if folder.is_dir() and (folder / DEMO_MARK).is_file():
        shutil.rmtree(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} holds something else than an earlier demo; name another folder with --out")
    require_free(folder)
    write_text(folder / DEMO_MARK, "Made by `credit-like demo`; the next demo replaces this folder.\n")


if __name__ == "__main__":
    sys.exit(run(main))
