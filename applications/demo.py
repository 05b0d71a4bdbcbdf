"""credit-like demo [FOLDER] [--quick]: the whole way from logs to a report, on simulated drives or on your logs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from applications._cli import parser, run
from applications._job import load_job
from applications._run import DEMO_MARK, REPORT, require_free, write_text
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


#: Two minutes on two cores.
FULL = Size(drives=12, seconds=60.0, overrides=())
#: Half a minute, at some cost in the figures.
QUICK = Size(drives=8, seconds=40.0, overrides=("trainer.epochs=4", "evaluation.bootstrap_rounds=200"))

#: Attack families of the simulated drives.
ATTACKS = ("dos", "fuzzing", "spoofing", "replay", "suspension", "masquerade")


def main(argv: list[str]) -> None:
    made = parser(
        "demo",
        "Logs -> graphs -> a trained GAT -> scores -> report. Without FOLDER drives are simulated and attacked.\n"
        "The run folder, and the simulated logs beside it, take the place of those of an earlier demo.",
    )
    made.add_argument("data", nargs="?", metavar="FOLDER", type=Path, help="a folder of logs with labelled attacks")
    made.add_argument("--out", metavar="RUN", type=Path, help="run folder (default: runs/demo, or runs/demo_FOLDER)")
    made.add_argument("--quick", action="store_true", help="less traffic and fewer epochs: half a minute")
    options = made.parse_args(argv)
    demo(options.data, options.out, quick=options.quick)


def demo(data: Path | None = None, out: Path | None = None, *, quick: bool = False) -> Path:
    """Run the demo; returns the report's path.

    Raises UserError when ``data`` is not there, or ``out`` (or the simulated logs' folder) holds anything but an
    earlier demo.
    """
    if data is not None and not data.exists():
        raise UserError(f"there is no {data}; name a log or a folder of logs, or nothing for simulated drives")
    size = QUICK if quick else FULL
    out = out or Path("runs") / (f"demo_{data.resolve().stem}" if data else "demo")
    _make_own(out)
    logs = data or _simulated_logs(out.with_name(f"{out.name}_logs"), size)
    changes = [f"data.path={json.dumps(str(logs))}", f"save_loc={json.dumps(str(out))}"]
    job, cls = load_job("gat", [*changes, *size.overrides])
    prepared = train(job, cls)
    evaluate_run(out, prepared)
    return out / REPORT


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
    require_free(folder)
    write_text(folder / DEMO_MARK, "Made by `credit-like demo`; the next demo replaces this folder.\n")


if __name__ == "__main__":
    sys.exit(run(main))
