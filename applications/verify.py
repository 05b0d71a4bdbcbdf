"""credit-like verify RUN [--data FOLDER]: hold every claim of a run against the raw logs, item by item."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

from applications._cli import EXIT_DONE, EXIT_FAILURE, parser, run
from applications._fusion import is_fusion
from applications._run import BEST, METRICS, SCORES, Run, open_run, read_json
from applications._scoring import make_trainer
from credit_like.can import read_dataset
from credit_like.config import UserError
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.training import load_weights, read_checkpoint
from credit_like.verification import (
    CHECKS,
    Check,
    Claims,
    PlainScaler,
    PlainVocabulary,
    read_scores_table,
    shortened,
    verify,
)


def main(argv: list[str]) -> int:
    made = parser(
        "verify",
        "Compute again from the raw logs what a run claims: its certificate, scores and metrics, by other code than\n"
        "that which made them (docs/verify.md). Exit code 0 when all of it holds, 1 when something is false.",
    )
    made.add_argument("run", metavar="RUN", type=Path, help="a folder that `credit-like evaluate` has judged")
    made.add_argument("--data", metavar="FOLDER", type=Path, help="where the logs are now (default: where they were)")
    made.add_argument("--sample", metavar="N", type=int, default=100, help="windows to score again (default: 100)")
    made.add_argument("--seed", metavar="N", type=int, default=0, help="which windows (default: 0)")
    made.add_argument("--trainer", metavar="module:Class", help="as given to train")
    made.add_argument(
        "--only", metavar="CHECK", action="append", choices=CHECKS, help=f"this check alone; of {', '.join(CHECKS)}"
    )
    options = made.parse_args(argv)
    if options.sample < 1:
        made.error(f"--sample must be at least 1; got {options.sample}")
    checks = verify_run(
        options.run,
        data=options.data,
        sample=options.sample,
        seed=options.seed,
        trainer=options.trainer,
        only=options.only or CHECKS,
    )
    return EXIT_DONE if all(check.holds for check in checks) else EXIT_FAILURE


def verify_run(
    folder: Path,
    *,
    data: Path | None = None,
    sample: int = 100,
    seed: int = 0,
    trainer: str | None = None,
    only: Collection[str] = CHECKS,
) -> list[Check]:
    """Verify the run in ``folder`` and print each check as it is done; returns all of them.

    Raises UserError when the folder is no judged run or a fusion of two, when its best checkpoint does not match its
    digest, or when the logs cannot be read. A damaged file of the run is such an error; one that says what is not so is
    a false check.
    """
    started = time.perf_counter()
    run = open_run(folder, trainer, [f"data.path={data}"] if data else [])
    if is_fusion(run.trainer):
        experts = " and ".join(str(job) for job in (run.job.experts.gat, run.job.experts.anomaly))  # type: ignore[attr-defined]
        raise UserError(
            f"{folder} fuses two runs and scores no graphs itself, which verify does not cover yet; verify those that "
            f"it fuses: {experts}"
        )
    claims, detector = claims_of(run), BestDetector(run)
    dataset = read_dataset(run.job.data.path)
    print(f"{run.folder} against {run.job.data.path}: logs read in {time.perf_counter() - started:.1f} s")
    checks = []
    for check in verify(claims, dataset.captures, dataset.duplicates, detector, sample=sample, seed=seed, only=only):
        print(described(check))
        checks.append(check)
    false = [check.name for check in checks if not check.holds]
    verdict = f"{len(false)} of {len(checks)} checks are FALSE: {', '.join(false)}" if false else "everything holds"
    print(f"{verdict} ({len(checks)} checks, {time.perf_counter() - started:.1f} s)")
    return checks


def claims_of(run: Run) -> Claims:
    """What the files of a run say. Raises UserError when one is missing or damaged."""
    metrics, scores = read_json(run.folder / METRICS), read_scores_table(run.folder / SCORES)
    return Claims(run.certificate, metrics, scores, run.job.data.model_dump(mode="json"))


def described(check: Check) -> str:
    """One line a check, and one more for each thing that is false."""
    line = f"{'ok' if check.holds else 'FALSE':<6}{check.name:<29}{check.seconds:5.1f} s  {check.compared}"
    return "\n".join([line, *(f"        {problem}" for problem in shortened(check.problems))])


class BestDetector:
    """The run's trainer with its best weights, around the plain vocabulary and scaler of ``credit_like.verification``.

    Nothing of the loaders, the stores and the compiled graph builder takes part; the network is that of the run, and
    its trainer's ``predict_step`` and ``validate`` score batches that PyG has made of single graphs. On the CPU,
    whatever the run was trained on.
    """

    def __init__(self, run: Run) -> None:
        path = run.folder / BEST
        state = read_checkpoint(path)
        keys = state["model"].get("vocabulary.keys")
        if keys is None:
            raise UserError(f"{path} holds no vocabulary: it is not the checkpoint of a detector")
        job = run.job.model_copy(update={"trainer": run.job.trainer.model_copy(update={"device": "cpu"})})
        vocabulary = PlainVocabulary(len(keys))
        scaler = PlainScaler(len(vocabulary), job.data.scaler)
        self._cls, self._settings, self._path = run.trainer, job.trainer, path
        self._size = job.loader.eval_batch_size
        self._trainer: Any = make_trainer(
            run.trainer, job, cast(Vocabulary, vocabulary), cast(FeatureScaler, scaler), folder=run.folder
        )
        load_weights(path, self._trainer.model)
        self.buffers: Mapping[str, Tensor] = self._trainer.model.state_dict()
        self.metric: str = self._trainer.training_metric
        rows: Sequence[Mapping[str, Any]] = state["rows"]
        self.value: float | None = rows[-1].get(self.metric) if rows else None

    def scores(self, graphs: Sequence[Data]) -> NDArray[np.float64]:
        """float64[n], by the trainer's ``predict_step``."""
        outputs = self._trainer.predict_on(self._batches(graphs), ckpt_path=self._path)
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)

    def validation(self, graphs: Sequence[Data], counts: Sequence[int]) -> float:
        """The metric that chose the best epoch, by the trainer's ``validate``."""
        self._trainer.valid_criterion = self._cls.build_loss(self._settings, torch.tensor(counts))
        row = self._trainer.test({"": self._batches(graphs)}, ckpt_path=self._path)
        return row[self.metric.replace("valid_", "test_", 1)]

    def _batches(self, graphs: Sequence[Data]) -> list[Batch]:
        return [Batch.from_data_list(list(graphs[i : i + self._size])) for i in range(0, len(graphs), self._size)]


if __name__ == "__main__":
    sys.exit(run(main))
