"""Deployed detectors as ``verify`` asks them: a run's network, around parts that share no code with the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Batch, Data

from applications._fusion import open_experts, policy_scores, require_same_experts, restored_policy
from applications._retrained import CHANGES
from applications._run import BEST, Run
from applications._scoring import NODES_STEP, best_checkpoint, make_trainer
from credit_like.config import UserError
from credit_like.evaluation import NO_EDGES, REWIRED
from credit_like.evaluation.fusion import ANOMALY_ALONE, GAT_ALONE
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.models.fusion import RULES
from credit_like.training import load_weights, read_checkpoint
from credit_like.training.inference import run_predict
from credit_like.verification import Outputs, PlainScaler, PlainVocabulary, ScoreGraphs, rewired, without_edges
from trainers.expert_table import ExpertLoader, ExpertTable

Floats = NDArray[np.float64]

#: What the retrained controls do to a graph, in the words of ``credit_like.verification``.
_CHANGED: dict[str, Callable[[Data], Data]] = {NO_EDGES: without_edges, REWIRED: rewired}


class BestDetector:
    """The run's trainer with its best weights, around the plain vocabulary and scaler of ``credit_like.verification``.

    Nothing of the loaders, the stores and the compiled graph builder takes part; the network is that of the run, and
    its trainer's ``predict_step`` and ``validate`` score batches that PyG has made of single graphs. On the CPU,
    whatever the run was trained on.
    """

    def __init__(self, run: Run) -> None:
        path = best_checkpoint(run)
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
        self._averaged = load_weights(path, self._trainer.model)["validated"] == "ema"
        self.buffers: Mapping[str, Tensor] = self._trainer.model.state_dict()
        self.metric: str = self._trainer.training_metric
        rows: Sequence[Mapping[str, Any]] = state["rows"]
        self.value: float | None = rows[-1].get(self.metric) if rows else None
        self.others: Mapping[str, ScoreGraphs] = {
            name: _on_changed(run, folder, _CHANGED[name])
            for name, (folder, _) in CHANGES.items()
            if (run.folder / "controls" / folder / BEST).is_file()
        }

    def scores(self, graphs: Sequence[Data]) -> Floats:
        """float64[n], by the trainer's ``predict_step``."""
        outputs = self._trainer.predict_on(self._batches(graphs), ckpt_path=self._path)
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)

    def raw_scores(self, graphs: Sequence[Data], benign: Callable[[], Sequence[Data]]) -> Floats | None:
        """float64[n] by the weights before averaging, or None. A head beside the weights (``fit_head``) is fitted to
        them on the ``benign`` training windows, as after training; its p-values have no part in the score."""
        if not self._averaged:
            return None
        load_weights(self._path, self._trainer.model, which="raw")
        if hasattr(self._trainer, "fit_head"):
            batches = self._batches(benign())
            self._trainer.fit_head(batches, batches)
        outputs = self._trainer.predict_on(self._batches(graphs))
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)

    def node_scores(self, graphs: Sequence[Data]) -> Floats | None:
        """float64[N] by the trainer's ``predict_nodes_step``, or None where it has none."""
        if not hasattr(self._trainer, NODES_STEP):
            return None
        outputs = run_predict(self._trainer, iter(self._batches(graphs)), self._path, NODES_STEP)
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)

    def expert_outputs(self, graphs: Sequence[Data]) -> dict[str, Tensor]:
        """What a fusion reads of each window, by the trainer's method of that name: name -> float64[n]."""
        parts = run_predict(self._trainer, iter(self._batches(graphs)), self._path, "expert_outputs")
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def validation(self, graphs: Sequence[Data], counts: Sequence[int]) -> float:
        """The metric that chose the best epoch, by the trainer's ``validate``."""
        self._trainer.valid_criterion = self._cls.build_loss(self._settings, torch.tensor(counts))
        row = self._trainer.test({"": self._batches(graphs)}, ckpt_path=self._path)
        return row[self.metric.replace("valid_", "test_", 1)]

    def _batches(self, graphs: Sequence[Data]) -> list[Batch]:
        return [Batch.from_data_list(list(graphs[i : i + self._size])) for i in range(0, len(graphs), self._size)]


def _on_changed(run: Run, folder: str, change: Callable[[Data], Data]) -> ScoreGraphs:
    """Scores graphs by the control that was retrained in ``RUN/controls/folder``, on graphs changed as its own were."""

    def scores(graphs: Sequence[Data]) -> Floats:
        control = BestDetector(replace(run, folder=run.folder / "controls" / folder))
        return control.scores([change(graph) for graph in graphs])

    return scores


class FusionDetector:
    """A fusion's policy around the ``BestDetector`` of each of its experts; ``buffers`` are those of the policy.

    Raises UserError where an expert's run cannot be used, or its checkpoint is not the one that the fusion learnt from.
    """

    def __init__(self, run: Run) -> None:
        self.experts = open_experts(run.job)
        require_same_experts(run.folder, self.experts)
        self.detectors = {name: BestDetector(expert) for name, expert in self.experts.items()}
        job = run.job.model_copy(update={"trainer": run.job.trainer.model_copy(update={"device": "cpu"})})
        self._trainer = cast(Any, restored_policy(replace(run, job=job)))
        self._path, self._size = run.folder / BEST, job.loader.eval_batch_size
        self._trainer.valid_criterion = run.trainer.build_loss(job.trainer, torch.zeros(2))
        self._averaged = load_weights(self._path, self._trainer.model)["validated"] == "ema"
        self._latest: tuple[Sequence[Data], ExpertTable | None] = ((), None)
        self.buffers: Mapping[str, Tensor] = {k: v.clone() for k, v in self._trainer.model.state_dict().items()}
        self.metric = self._trainer.training_metric
        rows: Sequence[Mapping[str, Any]] = read_checkpoint(self._path)["rows"]
        self.value: float | None = rows[-1].get(self.metric) if rows else None
        self.others: Mapping[str, ScoreGraphs] = {
            GAT_ALONE: lambda graphs: self.outputs(graphs).aligned[:, 1],
            ANOMALY_ALONE: lambda graphs: self.outputs(graphs).aligned[:, 0],
        }
        self.facts: Mapping[str, Any] = {
            "agent": job.model.agent,
            "experts": {name: expert.job.trainer.type for name, expert in self.experts.items()},
            "threshold": job.model.threshold,
            "rewards": job.trainer.reward.model_dump(),
            "align_fpr": job.model.align_fpr,
            "rule": RULES[int(self.buffers["rule"])],
        }

    def scores(self, graphs: Sequence[Data]) -> Floats:
        """float64[n]: the experts' outputs, then the rule in use."""
        return policy_scores(self._trainer, self._table(graphs), self._size)[0]

    def raw_scores(self, graphs: Sequence[Data], benign: Callable[[], Sequence[Data]]) -> Floats | None:
        """float64[n] by the policy's weights before averaging, or None; nothing is fitted to them."""
        if not self._averaged:
            return None
        load_weights(self._path, self._trainer.model, which="raw")
        outputs = self._trainer.predict_on(ExpertLoader(self._table(graphs), self._size))
        return torch.cat(outputs).double().numpy() if outputs else np.zeros(0)

    def node_scores(self, graphs: Sequence[Data]) -> Floats | None:
        """A fusion gives ids no score."""
        return None

    def validation(self, graphs: Sequence[Data], counts: Sequence[int]) -> float:
        """The metric that chose the best epoch, by the trainer's ``validate``."""
        row = self._trainer.test({"": ExpertLoader(self._table(graphs), self._size)}, ckpt_path=self._path)
        return row[self.metric.replace("valid_", "test_", 1)]

    @torch.no_grad()
    def outputs(self, graphs: Sequence[Data]) -> Outputs:
        """What the experts say and the policy chooses, with its best weights."""
        columns, policy = self._table(graphs).values, self._trainer.policy
        load_weights(self._path, self._trainer.model)
        policy.eval()
        return Outputs(
            columns.numpy(),
            policy.state(columns).double().numpy(),
            policy.aligned(columns).numpy(),
            policy.choose(columns).numpy(),
        )

    def _table(self, graphs: Sequence[Data]) -> ExpertTable:
        """What the experts say; asked for the same graphs again, as it was."""
        before, table = self._latest
        if table is None or len(before) != len(graphs) or any(a is not b for a, b in zip(before, graphs, strict=True)):
            label = np.array([int(graph.y) for graph in graphs], np.int64)
            said = {name: detector.expert_outputs(graphs) for name, detector in self.detectors.items()}
            table = ExpertTable.join(said["gat"], said["anomaly"], label)
            self._latest = list(graphs), table
        return table
