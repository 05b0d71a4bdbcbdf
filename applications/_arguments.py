"""The arguments of the verbs that need torch, apart from what they do: help and wrong usage must not wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from applications._cli import add_conf, parse_conf, parser
from applications._folder import run_folder
from applications._output import add_output
from applications._reading import add_reading
from applications._values import SEED, Number

#: What retrains the controls of an evaluation, or leaves that out.
CHEAP, ALL = "cheap", "all"

#: The checks of ``verify``: ``credit_like.verification.CHECKS``, which cannot be imported without torch.
CHECKS = (
    *("certificate", "settings", "logs", "row intervals", "rows and counts", "disjointness", "hold-outs", "groups"),
    *("frame runs", "experts", "vocabulary", "scaler", "policy", "windows of scores", "scores", "raw scores"),
    *("scores of ids", "controls", "best epoch", "metrics"),
)


def prepare(argv: list[str]) -> tuple[argparse.Namespace, str, list[str]]:
    made = parser(
        "prepare",
        "Read the logs, plan the splits, build the graph store, and show what is in it. Many jobs can build it in\n"
        "shards, each of which reads the logs; --merge puts them together, byte for byte what one job would build.",
        "example:\n  credit-like prepare gat data.path=logs",
    )
    add_conf(made)
    made.add_argument("--trainer", metavar="module:Class", help="a trainer class of yours, as for train")
    parts = made.add_mutually_exclusive_group()
    parts.add_argument("--shard", metavar="I/N", help="build only the I-th of N parts, I from 1")
    parts.add_argument("--merge", action="store_true", help="make the store of its parts; the logs are not read")
    return parse_conf(made, argv)


def train(argv: list[str]) -> tuple[argparse.Namespace, str, list[str]]:
    made = parser(
        "train",
        "Train a detector and judge it on held-out traffic. The run folder, save_loc, gets config.yml,\n"
        "training_log.csv, checkpoints, tensorboard, certificate.json, scores.parquet, metrics.json,\n"
        "report.html, model_card.md and model.safetensors.",
        "example:\n  credit-like train gat data.path=logs save_loc=runs/mine trainer.epochs=20",
    )
    add_conf(made)
    made.add_argument("--resume", action="store_true", help="go on with the run in save_loc")
    made.add_argument(
        "--trainer", metavar="module:Class", help="a BaseTrainer subclass of yours; its module is imported"
    )
    made.add_argument("--no-evaluate", action="store_true", help="train only; `credit-like evaluate RUN` does the rest")
    _add_controls(made)
    return parse_conf(made, argv)


def tune(argv: list[str]) -> tuple[argparse.Namespace, str, list[str]]:
    made = parser(
        "tune",
        "Search the settings that the configuration's hpo.space names, by Optuna. Trials are compared by the best\n"
        "value of trainer.training_metric on validation windows; test windows are never looked at. The folder NAME\n"
        "beside the configuration's save_loc gets each trial's log and checkpoints, best.yml and study.html.\n"
        "Called again it goes on where it stopped, or was killed.",
        "example:\n  credit-like tune gat --study first --trials 20 data.path=logs",
    )
    add_conf(made)
    made.add_argument("--study", required=True, metavar="NAME", help="its name, and that of its folder")
    some = Number(int, least=1)
    made.add_argument("--trials", type=some, metavar="N", help="trials of the whole study (default: hpo.trials)")
    made.add_argument("--workers", type=some, default=1, metavar="W", help="processes that search at once (default: 1)")
    made.add_argument(
        "--storage",
        default="",
        metavar="URL",
        help="a database that workers on other machines reach too (default: a file)",
    )
    made.add_argument("--trainer", metavar="module:Class", help="a BaseTrainer subclass of yours; it is imported")
    return parse_conf(made, argv)


def evaluate(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "evaluate", "Score the validation and test windows of a run with its best checkpoint, and judge them."
    )
    _add_run(made, "`credit-like train` made")
    made.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="where the logs are now (data.path=FOLDER), or how to judge (evaluation.target_fpr=0.001)",
    )
    made.add_argument("--dbc", metavar="FILE", type=Path, help="a DBC file, to name ids and signals in the report")
    _add_controls(made)
    return made.parse_intermixed_args(argv)


def predict(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "predict",
        "Score every window of new logs. The table has one row a window: capture, bus, rows, start and end (seconds\n"
        "of the log's clock), score, and whether it alarms, by the threshold and the alarm stage of RUN/metrics.json.",
        "example:\n  credit-like predict runs/mine drive.log -o alarms.csv",
    )
    _add_run(made, "`credit-like train` made")
    made.add_argument("log", metavar="LOG", type=Path, help="a log, or a folder of logs")
    add_output(made, "FILE", "the table to write, such as alarms.csv or alarms.parquet")
    add_reading(made)
    return made.parse_args(argv)


def explain(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "explain",
        "Score the window at a time again without each of its ids and transitions: what the score loses is what they\n"
        "carried. Shown beside it: whether the first ids carried it more than random ones, and the frames around it.",
        "example:\n  credit-like explain runs/mine --capture drive.log --time 1478196131.94",
    )
    _add_run(made, "`credit-like train` made")
    made.add_argument("--capture", metavar="C", required=True, help="the name of a capture, as in the report")
    seconds = Number(float, unit="seconds")
    made.add_argument(
        "--time", metavar="T", type=seconds, required=True, help="seconds of the capture's clock, as in the report"
    )
    made.add_argument("--attention", action="store_true", help="also shows what a GAT attends to")
    made.add_argument("--dbc", metavar="FILE", type=Path, help="a DBC file, to name ids and signals")
    add_output(made, "FILE", "writes the explanation as JSON too", required=False)
    made.add_argument(
        "overrides", nargs="*", default=[], metavar="key=value", help="data.path=FOLDER, where the logs are now"
    )
    return made.parse_intermixed_args(argv)


def report(argv: list[str]) -> argparse.Namespace:
    made = parser("report", "Write RUN/report.html from the run's metrics, scores, certificate and training log.")
    _add_run(made, "`credit-like evaluate` has judged")
    return made.parse_args(argv)


def compare(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "compare",
        "Hold finished runs against each other on the test windows that they share: the differences of AUROC, attacks\n"
        "found, F1, recall and false alarms, each with an interval. No logs and no checkpoints are needed.",
        "example:\n  credit-like compare runs/gat runs/dgi_ocgin -o comparison.html",
    )
    made.add_argument(
        "runs", nargs="+", metavar="RUN", type=run_folder, help="folders that `credit-like evaluate` has judged"
    )
    page = Path("comparison.html")
    add_output(made, "FILE", f"the page to write (default: {page})", required=False, default=page)
    return made.parse_args(argv)


def verify(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "verify",
        "Compute again from the raw logs what a run claims: its certificate, scores and metrics, by other code than\n"
        "that which made them (docs/verify.md). Exit code 0 when all of it holds, 1 when something is false.",
    )
    _add_run(made, "`credit-like evaluate` has judged")
    made.add_argument("--data", metavar="FOLDER", type=Path, help="where the logs are now (default: where they were)")
    some = Number(int, least=1)
    made.add_argument("--sample", metavar="N", type=some, default=100, help="windows to score again (default: 100)")
    made.add_argument("--seed", metavar="N", type=SEED, default=0, help="chooses those windows (default: 0)")
    made.add_argument(
        "--only",
        metavar="CHECK",
        action="append",
        choices=CHECKS,
        help=f"this check alone; may be repeated; of {', '.join(CHECKS)}",
    )
    made.add_argument(
        "overrides",
        nargs="*",
        default=[],
        metavar="key=value",
        help="experts.gat, experts.anomaly: where a fusion's experts are now",
    )
    return made.parse_intermixed_args(argv)


def demo(argv: list[str]) -> argparse.Namespace:
    made = parser(
        "demo",
        "Logs -> graphs -> a GAT, an anomaly detector, their fusion -> scores -> reports, and one of all three.\n"
        "Without FOLDER drives are simulated and attacked. The folder of the runs, and the simulated logs beside it,\n"
        "take the place of those of an earlier demo.",
    )
    made.add_argument("data", nargs="?", metavar="FOLDER", type=Path, help="a log or a folder of logs")
    made.add_argument(
        "--benign", action="store_true", help="unlabelled frames are normal traffic: data.split.unlabelled=benign"
    )
    made.add_argument(
        "--out", metavar="OUT", type=Path, help="folder of the runs (default: runs/demo, or runs/demo_FOLDER)"
    )
    made.add_argument(
        "--quick", action="store_true", help="less traffic and fewer epochs: a minute in place of two or three"
    )
    return made.parse_args(argv)


def _add_run(made: argparse.ArgumentParser, by: str) -> None:
    """Give a verb the RUN that it is about, and the trainer of that run."""
    made.add_argument("run", metavar="RUN", type=run_folder, help=f"a folder that {by}")
    made.add_argument("--trainer", metavar="module:Class", help="a trainer class of yours, as given to train")


def _add_controls(made: argparse.ArgumentParser) -> None:
    """Give a verb ``--controls cheap|all``."""
    made.add_argument(
        "--controls",
        choices=(CHEAP, ALL),
        default=CHEAP,
        help="cheap (the default): simple detectors on the same windows, to compare with; all: also the same model, "
        "trained without edges and with rewired edges (as long as training, twice)",
    )
