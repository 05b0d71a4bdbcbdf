"""The run folder: what a run leaves behind, and how a later verb finds it again."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from applications._folder import CONFIG, run_folder
from applications._job import Job, load_job
from applications._registry import JobTrainer
from credit_like.config import ConfigError, UserError, dump_config, flat
from credit_like.config.files import replacing
from credit_like.evaluation import SCHEMA_VERSION, Metrics
from credit_like.evaluation.report.words import plural

CERTIFICATE, FACTS = "certificate.json", "run.json"
SCORES, METRICS, LOG, REPORT = "scores.parquet", "metrics.json", "training_log.csv", "report.html"
EXPLANATIONS = "explanations.json"
BEST = "best_checkpoint.pt"
WEIGHTS, CARD = "model.safetensors", "model_card.md"

#: This file says that a folder is a demo's, which the next demo may replace.
DEMO_MARK = ".made-by-demo"

#: Keys that a resumed run may change, by how they begin: how long to train, what to keep, how to judge; nothing of what
#: is learnt.
FREE_ON_RESUME = (
    "save_loc",
    "data.store",
    "loader.eval_batch_size",
    "evaluation.",
    "hpo.",
    "trainer.epochs",
    "trainer.num_epoch",
    "trainer.stop_after_epoch",
    "trainer.stopping_patience",
    "trainer.time_limit_minutes",
    "trainer.checkpoint_every_",
    "trainer.save_every_epoch",
    "trainer.load_weights",
    "trainer.device",
    "trainer.mode",
    "experts.",
)

#: Keys that `evaluate RUN key=value` may change, by how they begin.
FREE_AFTER_TRAINING = (
    "data.path=",
    "data.store=",
    "loader.eval_batch_size=",
    "evaluation.",
    "experts.gat=",
    "experts.anomaly=",
)


@dataclass(frozen=True)
class Run:
    """A folder that ``train`` made: its resolved job, the trainer's class and the split certificate."""

    folder: Path
    job: Job
    trainer: type[JobTrainer]
    certificate: dict[str, Any]


def require_free(folder: Path) -> None:
    """Raises UserError when ``folder`` holds anything, or cannot be written: before data is read for minutes."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"save_loc {folder} is a file; name a folder")
    if folder.is_dir() and any(path.name != DEMO_MARK for path in folder.iterdir()):
        remedy = (
            "go on with --resume, or choose another save_loc"
            if (folder / CONFIG).is_file()
            else "choose another save_loc"
        )
        what = "holds a run already" if (folder / CONFIG).is_file() else "holds files that are no run of this program"
        raise UserError(f"save_loc {folder} {what}; {remedy}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"save_loc {folder} cannot be made: {error.strerror}; choose another save_loc") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"save_loc {folder} is read-only; choose another save_loc")


@contextmanager
def nothing_left_behind(folder: Path) -> Iterator[None]:
    """When what is done inside fails, a ``folder`` with nothing in it, or just the demo's mark, goes: a wrong path to
    the data must not leave run folders.
    """
    try:
        yield
    except BaseException:
        if folder.is_dir() and all(path.name == DEMO_MARK for path in folder.iterdir()):
            shutil.rmtree(folder)
        raise


def require_same_job(job: Job) -> None:
    """Raises UserError when the folder of ``job`` was begun with settings under which its training cannot go on."""
    path = job.save_loc / CONFIG
    if not path.is_file():
        raise UserError(f"--resume: there is no run at {job.save_loc} (no {CONFIG}); leave --resume out to begin one")
    begun, _ = load_job(path, trainer=job.trainer.type if ":" in job.trainer.type else None)
    before, now = flat(begun.model_dump(mode="json")), flat(job.model_dump(mode="json"))
    changed = [n for n in before if before[n] != now.get(n) and not n.startswith(FREE_ON_RESUME)]
    if changed:
        lines = [f"  {name}: begun with {before[name]!r}, now {now.get(name)!r}" for name in changed]
        raise UserError(
            f"--resume: the run at {job.save_loc} was begun with other settings:\n" + "\n".join(lines) + "\n"
            f"Take its own configuration ({path}), or choose another save_loc"
        )


def require_same_data(job: Job, certificate: dict[str, Any]) -> None:
    """Raises UserError when a resumed run would go on with other windows than it was begun with."""
    path = job.save_loc / CERTIFICATE
    if path.is_file() and read_json(path) != certificate:
        raise UserError(
            f"--resume: the logs, or their split, changed since the run at {job.save_loc} was begun (its certificate "
            f"{path} differs). Restore the logs, or begin a new run in another save_loc"
        )


def write_run(job: Job, certificate: dict[str, Any]) -> None:
    """Write the resolved configuration and the certificate into the run folder."""
    write_text(job.save_loc / CONFIG, dump_config(job))  # first: with it alone the run can be resumed
    write_text(job.save_loc / CERTIFICATE, to_json(certificate))
    forget_evaluation(job.save_loc)


def forget_evaluation(folder: Path) -> None:
    """Remove what an earlier evaluation left: it is not about the weights that come next."""
    for name in (METRICS, REPORT, SCORES, EXPLANATIONS, WEIGHTS, CARD):
        (folder / name).unlink(missing_ok=True)


def open_run(folder: Path, trainer: str | None = None, overrides: Sequence[str] = ()) -> Run:
    """The run in ``folder``. Raises UserError when there is none, or its first files are not whole.

    ``overrides`` may say where the logs are now, and how to judge; what the detector was made with is settled.
    """
    for override in overrides:
        if "=" not in override:
            raise ConfigError(f"{override!r}: name one RUN; what follows it is key=value")
        if not override.startswith(FREE_AFTER_TRAINING):
            raise ConfigError(
                f"{override!r} cannot be changed after training; what can: {', '.join(FREE_AFTER_TRAINING)}..."
            )
    folder = run_folder(folder)
    job, cls = load_job(folder / CONFIG, list(overrides), trainer)
    return Run(folder, job, cls, read_json(folder / CERTIFICATE))


def environment() -> dict[str, str]:
    """What a figure may depend on besides data and configuration."""
    threads = torch.get_num_threads()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    packages = ("credit-like", "torch", "torch-geometric", "numpy", "polars", "scikit-learn")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "system": platform.platform(),
        "processor": f"{platform.machine()}, {plural(os.cpu_count() or 1, 'core')}, {plural(threads, 'thread')}",
        "gpu": device,
    }


def write_text(path: Path, text: str) -> None:
    """The whole file or nothing. Raises UserError when it cannot be written."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def to_json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Raises UserError when the file is missing or is not a JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        verb = "train CONF --resume" if path.name in (CERTIFICATE, FACTS) else f"evaluate {path.parent}"
        raise UserError(f"{path} is missing; this run did not get so far: `credit-like {verb}` writes it") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}. Restore it from a copy, or run again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} must hold a JSON object; it holds a {type(data).__name__}")
    return data


def read_metrics(folder: Path) -> dict[str, Any]:
    """The metrics of a run. Raises UserError when they are missing, not whole, or of another schema."""
    metrics = claimed_metrics(folder)
    try:
        Metrics.model_validate(metrics)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            f"{folder / METRICS} is not as it was written: {'.'.join(map(str, first['loc']))}: {first['msg']}. "
            f"Write it anew with `credit-like evaluate {folder}`"
        ) from error
    return metrics


def claimed_metrics(folder: Path) -> dict[str, Any]:
    """The same, whole or not. Raises UserError when they are missing or of another schema."""
    metrics = read_json(folder / METRICS)
    if metrics.get("schema_version") != SCHEMA_VERSION:
        raise UserError(
            f"{folder / METRICS}: metrics of schema {SCHEMA_VERSION} are needed; found "
            f"{metrics.get('schema_version', 'none')}. Write them anew with `credit-like evaluate {folder}`"
        )
    return metrics
