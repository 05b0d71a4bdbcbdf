"""credit-like predict RUN LOG -o alarms.csv: score new, unlabelled logs with a trained detector."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import nn

from applications import _arguments
from applications._cli import run
from applications._compiling import say_when_compiling
from applications._fusion import is_fusion, predict_by_fusion
from applications._logs import print_notes
from applications._output import require_writable
from applications._reading import reading_of
from applications._run import open_run, read_metrics
from applications._scoring import restored_trainer, scores_frame, window_scores
from credit_like.can import Capture, ReadSettings, read_dataset
from credit_like.config import ConfigError, UserError
from credit_like.config.files import replacing
from credit_like.evaluation import AlarmRule, window_set
from credit_like.graphs import GraphStore, Segment, SplitPlan
from credit_like.graphs.plan import TEST

#: Above this share of frames with unknown ids a warning is due. The busiest id does not count: it may be a flood, of an
#: id that is unknown on a bus that is not, or the other way round.
STRANGE_SHARE = 0.5

COLUMNS = ("capture", "bus", "row_start", "row_stop", "t_start", "t_end", "score", "alarm")


def main(argv: list[str]) -> None:
    options = _arguments.predict(argv)
    reading = reading_of(options)
    table = predict_log(options.run, options.log, options.output, options.trainer, reading, force=options.force)
    for name, part in sorted(table.group_by("capture"), key=lambda group: str(group[0][0])):
        print(f"{name[0]}: {part.height:,} windows, {int(part['alarm'].sum()):,} alarms")
    print(f"{table.height:,} windows, {int(table['alarm'].sum()):,} alarms -> {options.output}")


def predict_log(
    folder: Path,
    log: Path,
    output: Path,
    trainer: str | None = None,
    reading: ReadSettings | None = None,
    *,
    force: bool = False,
) -> pl.DataFrame:
    """Score ``log`` with the run in ``folder``, write the table to ``output`` and return it.

    Labels, where the log has them, are not read. Frames of an incomplete last window are not scored. Raises
    ConfigError for an output that is neither .csv nor .parquet, UserError when it cannot be written or must not be
    replaced (``force``), when the run has no threshold yet, when the log cannot be read, or when it is shorter than one
    window.
    """
    if output.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--output must end in .csv or .parquet; got {output}")
    require_writable(output, [folder, log], force=force, is_result=is_table)
    run = open_run(folder, trainer)
    rule = AlarmRule.of(read_metrics(run.folder))
    say_when_compiling()
    dataset = read_dataset(log, **(reading or ReadSettings()).model_dump())
    print_notes(dataset.notes)
    captures = dataset.captures
    window, longest = run.job.data.window.window, max(len(capture.frames) for capture in captures)
    if longest < window:
        raise UserError(
            f"{log}: its longest capture has {longest} frames, and this detector looks at windows of {window}; "
            "record a longer log"
        )
    plan = SplitPlan(tuple(Segment(c.name, TEST, 0, len(c.frames)) for c in captures), "predict", ())
    with tempfile.TemporaryDirectory(prefix="credit-like-") as scratch:
        store = GraphStore.build(Path(scratch) / "store", captures, plan, run.job.data.window)
        rows = np.arange(len(store))
        if is_fusion(run.trainer):
            score, known = predict_by_fusion(run, store, rows)
        else:
            detector = restored_trainer(run)
            score, _ = window_scores(detector, store, rows, run.job.loader.eval_batch_size)
            known = known_keys(detector.model)
        table = scores_frame(store, rows, score, captures)
    warn_of_strangers(captures, known)
    table = table.with_columns(alarm=pl.Series(window_set(table, (), rule).alarm)).select(COLUMNS)
    with replacing(output) as temporary:
        if output.suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_parquet(temporary)
    return table


def is_table(path: Path) -> bool:
    """Whether ``path`` is a table that ``predict`` wrote."""
    try:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8") as lines:
                return lines.readline(1000).rstrip() == ",".join(COLUMNS)
        return tuple(pl.read_parquet_schema(path)) == COLUMNS
    except (UnicodeDecodeError, pl.exceptions.ComputeError):  # some other file
        return False


def known_keys(model: nn.Module) -> NDArray[np.int64]:
    """int64[V] keys of the ids that the detector saw in training."""
    vocabulary = model.get_submodule("vocabulary")
    return vocabulary.get_buffer("keys").cpu().numpy()


def warn_of_strangers(captures: Sequence[Capture], known: NDArray[np.int64]) -> None:
    """Say of which captures the detector knows too little: no alarm there means nothing, and neither does an alarm."""
    for capture in captures:
        keys, frames = np.unique(capture.frames.key, return_counts=True)
        if len(keys) > 1:
            frames[frames.argmax()] = 0
        unknown = float(frames[~np.isin(keys, known)].sum() / frames.sum())
        if unknown > STRANGE_SHARE:
            print(
                f"warning: {capture.name}: {unknown:.0%} of its frames, but for the busiest id's, have ids that the "
                "detector never saw in training (another vehicle?); its scores mean nothing there",
                file=sys.stderr,
            )


if __name__ == "__main__":
    sys.exit(run(main))
