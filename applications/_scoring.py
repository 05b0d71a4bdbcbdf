"""Windows to scores: a trained detector and the controls over a graph store."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn
from torch_geometric.data import Batch, Data
from tqdm import tqdm

from applications._job import Job
from applications._registry import JobTrainer
from applications._run import BEST, CONFIG, Run
from credit_like.can import Capture
from credit_like.config import UserError
from credit_like.evaluation.explanations import AttentionOf
from credit_like.evaluation.occlusion import ScoreGraphs
from credit_like.evaluation.scores import COLUMNS
from credit_like.graphs import ChangeEdges, FeatureScaler, GraphStore, PackedLoader, Vocabulary
from credit_like.training import BaseTrainer, load_weights, read_checkpoint, seed_everything
from credit_like.training.device import environment_rank
from credit_like.training.inference import run_predict

#: The methods of a trainer that score single ids, and that say what its model attends to, where it has them.
NODES_STEP, ATTENTION_STEP = "predict_nodes_step", "attention_step"


def best_checkpoint(run: Run) -> Path:
    """Where the run's best weights are. Raises UserError when there are none."""
    path = run.folder / BEST
    if not path.is_file():
        raise UserError(
            f"{run.folder} has no {BEST}: no epoch has ended yet with a finite value of its training metric. "
            f"Go on with `credit-like train {run.folder / CONFIG} --resume`"
        )
    return path


def restored_trainer(run: Run) -> BaseTrainer:
    """The run's trainer around an empty detector of the right size; ``window_scores`` fills it from the checkpoint.

    Nothing but the run folder is needed: the checkpoint, verified before it is parsed, holds vocabulary and scaler too.
    """
    path = best_checkpoint(run)
    keys = read_checkpoint(path)["model"].get("vocabulary.keys")
    if keys is None:
        raise UserError(f"{path} holds no vocabulary: it is not the checkpoint of a detector")
    vocabulary = Vocabulary.empty(len(keys))
    scaler = FeatureScaler.empty(len(vocabulary), run.job.data.scaler)
    return make_trainer(run.trainer, run.job, vocabulary, scaler, folder=run.folder)


def make_trainer(
    cls: type[JobTrainer],
    job: Job,
    vocabulary: Vocabulary,
    scaler: FeatureScaler,
    *,
    folder: Path | None = None,
    resume: bool = False,
    together: bool = False,
) -> BaseTrainer:
    """The job's trainer around an untrained detector.

    ``folder`` is where the run lies now, if it was moved since; ``resume`` lets ``fit`` take up what the folder holds;
    ``together`` trains with the other processes that ``trainer.mode`` is about, where the default is to score alone.
    """
    return trainer_around(
        cls,
        job,
        lambda: cls.build_model(job.model, vocabulary, scaler),
        folder=folder,
        resume=resume,
        together=together,
    )


def trainer_around(
    cls: type[JobTrainer],
    job: Job,
    build: Callable[[], nn.Module],
    *,
    folder: Path | None = None,
    resume: bool = False,
    together: bool = False,
) -> BaseTrainer:
    """The job's trainer around what ``build`` makes, its random weights those of the job's seed; else as above."""
    seed_everything(job.trainer.seed)
    model = build()
    conf = job.model_dump(mode="json")
    conf["trainer"]["load_weights"] = resume
    if not together:
        conf["trainer"]["mode"] = "none"
    if folder is not None:
        conf["save_loc"] = str(folder)
    return cls(model, rank=environment_rank(), conf=conf)


def window_scores(
    trainer: BaseTrainer,
    store: GraphStore,
    rows: NDArray[np.int64],
    batch_size: int,
    change_edges: ChangeEdges | None = None,
) -> tuple[NDArray[np.float64], float]:
    """The score of each window in ``rows`` by the run's best weights, float64[n], and the windows scored a second."""
    loader = PackedLoader(store, rows, batch_size=batch_size, device=str(trainer.device), change=change_edges)
    started = time.perf_counter()
    parts = trainer.predict_on(
        # disable=None: no bar where stderr is no terminal.
        tqdm(loader, desc="scoring windows", unit="batch", leave=False, delay=2, disable=None),
        ckpt_path=trainer.save_loc / BEST,
    )
    seconds = time.perf_counter() - started
    scores = torch.cat(parts).double().numpy() if parts else np.zeros(0)
    return scores, len(scores) / max(seconds, 1e-9)


def node_scores(
    trainer: BaseTrainer, store: GraphStore, rows: NDArray[np.int64], batch_size: int
) -> NDArray[np.float32] | None:
    """The score of each id of each window in ``rows``, float32[N], by the run's best weights; None where the trainer
    gives ids no score of their own."""
    if not hasattr(trainer, NODES_STEP):
        return None
    loader = PackedLoader(store, rows, batch_size=batch_size, device=str(trainer.device))
    parts = run_predict(trainer, loader, trainer.save_loc / BEST, NODES_STEP)
    return torch.cat(parts).float().numpy() if parts else np.zeros(0, np.float32)


def raw_scores(
    trainer: BaseTrainer, loader: Any, fit_anew: Callable[[], None] = lambda: None
) -> NDArray[np.float64] | None:
    """The scores by the weights that the optimizer left, float64[n]; None where they are the run's best ones anyway.

    ``trainer`` is a restored one, and ``fit_anew`` fits what it has beside its weights to those that it holds. It keeps
    the raw weights afterwards.
    """
    path = trainer.save_loc / BEST
    if load_weights(path, trainer.model, trainer.device, "raw")["validated"] != "ema":
        return None
    fit_anew()
    parts = trainer.predict_on(loader)
    return torch.cat(parts).double().numpy() if parts else np.zeros(0)


def graph_scores(trainer: BaseTrainer, batch_size: int) -> ScoreGraphs:
    """Scores graphs that no store holds, as ``window_scores`` scores those that one does."""

    def score(graphs: Sequence[Data]) -> NDArray[np.float64]:
        borders = range(0, len(graphs), batch_size)
        batches = (Batch.from_data_list(list(graphs[first : first + batch_size])) for first in borders)
        parts = trainer.predict_on(batches, ckpt_path=trainer.save_loc / BEST)
        return torch.cat(parts).double().numpy() if parts else np.zeros(0)

    return score


def edge_attention(trainer: BaseTrainer) -> AttentionOf:
    """What the run's best weights attend to in a graph, by the trainer's ``attention_step``. Raises UserError where it
    has none."""
    if not hasattr(trainer, ATTENTION_STEP):
        raise UserError(
            f"--attention: {trainer.save_loc} was made by {type(trainer).__name__}, which has no {ATTENTION_STEP}; "
            "a run of gat has one"
        )

    def attention(graph: Data) -> NDArray[np.floating[Any]]:
        batches = [Batch.from_data_list([graph])]
        (found,) = run_predict(trainer, iter(batches), trainer.save_loc / BEST, ATTENTION_STEP)
        return found.float().numpy()

    return attention


def scores_frame(
    store: GraphStore, rows: NDArray[np.int64], scores: NDArray[np.float64], captures: Sequence[Capture]
) -> pl.DataFrame:
    """The scores table (``credit_like.evaluation.scores.COLUMNS``) of the windows ``rows``, in their order."""
    table = store.windows[rows]
    vehicle_of = {capture.name: capture.vehicle for capture in captures}
    capture = np.array(table.capture_names, object)[table.capture]
    columns: dict[str, Any] = {
        "split": np.array(table.split_names, object)[table.split],
        "capture": capture,
        "vehicle": [vehicle_of[name] for name in capture],
        "family": np.array(table.families, object)[table.family],
        "label": table.label,
        "in_interval": table.in_interval,
        "bus": table.bus,
        "row_start": table.row_start,
        "row_stop": table.row_stop,
        "t_start": table.t_start,
        "t_end": table.t_stop,
        "score": scores,
    }
    return pl.DataFrame({name: pl.Series(name, columns[name], dtype=dtype) for name, dtype in COLUMNS.items()})
