"""GATTrainer: a supervised graph classifier on labelled windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from credit_like.config import ExpandedPath, Settings, UserError
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.models import GAT, Detector, OwnTraffic, distillation_loss, make_loss
from credit_like.training import BaseTrainer, TauNormCallback
from credit_like.training.wrapping import unwrapped
from trainers.own_columns import own_groups

#: Share of the normal windows, those with the highest anomaly scores, that a curriculum calls hard.
HARD_TIER = 1 / 3


class GATSettings(BaseTrainer.Settings):
    """The ``trainer`` section of a GAT job: the engine's settings, the loss, and what is learnt from earlier runs."""

    loss: Literal["cross_entropy", "weighted", "focal"] = Field(
        "cross_entropy", description="weighted: both classes get the same total weight; focal: hard windows count more"
    )
    focal_gamma: float = Field(2.0, ge=1, description="exponent of the focal loss (Lin et al. 2017 found 2 best)")
    tau_norm: float = Field(
        0.0, ge=0, le=1, description="at the end, divide the last layer's rows by their norm to this power; 0: not"
    )
    teacher: ExpandedPath | None = Field(None, description="run of the same split whose detector this one imitates")
    temperature: float = Field(4.0, gt=0, description="that softens both detectors' probabilities (teacher)")
    teacher_weight: float = Field(
        0.7, ge=0, le=1, description="of imitation in the loss; labels get the rest (teacher)"
    )
    curriculum: ExpandedPath | None = Field(
        None, description="run of the same split whose scores say which normal windows are hard: few at first"
    )
    hard_share: float = Field(
        0.5, ge=0, le=1, description="share of hard windows among the normal ones in the last epoch (curriculum)"
    )


class GATModelSettings(Settings):
    """The ``model`` section of a GAT job; see ``credit_like.models.GAT``."""

    id_encoder: Literal["lookup", "hash", "none"] = Field(
        "lookup", description="how a node's arbitration id is encoded"
    )
    id_dim: int = Field(16, ge=1, description="width of the id encoding")
    unknown_rate: float = Field(
        0.05, ge=0, lt=1, description="share of graphs whose ids are hidden in training (lookup)"
    )
    hash_buckets: int = Field(1024, ge=2, description="rows of the hash table, a power of two (hash)")
    hash_probes: int = Field(2, ge=1, description="rows summed for one id (hash)")
    projection: int = Field(0, ge=0, description="width the input is projected to first; 0: not at all")
    conv: Literal["gatv2", "gat", "transformer", "gin"] = Field("gatv2", description="kind of message passing")
    layers: int = Field(2, ge=1, description="message-passing layers")
    heads: int = Field(4, ge=1, description="attention heads; they share the width")
    width: int = Field(64, ge=1, description="output width of each layer, all heads together")
    jump: Literal["last", "cat", "max", "lstm"] = Field(
        "cat", description="how the layers' outputs are combined; lstm more than halves training speed on a CPU"
    )
    pooling: list[Literal["mean", "max", "sum"]] = Field(
        ["mean", "max"], min_length=1, description="node embeddings to one vector a graph; several are concatenated"
    )
    fc: list[int] = Field([64], description="widths of the hidden layers of the classifier")
    dropout: float = Field(0.1, ge=0, lt=1, description="of node embeddings, attention weights and hidden layers")
    own_traffic: bool = Field(
        False,
        description="beside the embedding: how unusual each id is for itself, which attacks of a new kind are too",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> GATModelSettings:
        if self.conv != "gin" and self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got width {self.width} and {self.heads} heads")
        if self.hash_buckets & (self.hash_buckets - 1):
            raise ValueError(f"hash_buckets must be a power of two; got {self.hash_buckets}")
        return self


class GATTrainer(BaseTrainer):
    """Trains a ``Detector`` around a ``GAT`` on batches that carry ``y``, int64[B]: 1 where the window holds an attack.

    Records ``loss`` in both phases, and of the whole validation set ``auroc`` and ``auprc`` (average precision) of the
    attack class; both are NaN where the set holds one class only.
    """

    Settings = GATSettings
    ModelSettings = GATModelSettings
    temperature: float
    teacher_weight: float
    hard_share: float

    def __init__(
        self,
        model: nn.Module,
        rank: int,
        conf: Mapping[str, Any],
        callbacks: Sequence[Any] = (),
        loggers: Sequence[Any] = (),
    ) -> None:
        tau = (conf.get("trainer") or {}).get("tau_norm", 0.0)  # checked with all the others in the next line
        super().__init__(model, rank, conf, [*callbacks, *([TauNormCallback(tau)] if tau else [])], loggers)
        self._teacher: nn.Module | None = None
        self._hard: NDArray[np.bool_] | None = None
        self._normal: NDArray[np.bool_] | None = None

    def learn_from(self, teacher: nn.Module) -> None:
        """Imitate ``teacher``, which maps the same batches to logits; it is put in evaluation mode and never trained.

        It is no part of this trainer's checkpoints. The loss becomes ``(1 - w) * loss + w * distillation_loss``.
        """
        self._teacher = teacher.to(self.device).eval().requires_grad_(False)

    def order_by(self, scores: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
        """From easy to hard: ``scores`` float64[n] say how unusual each window of the training loader looks.

        Of the normal windows (``labels`` int64[n] is 0) the third with the highest scores is hard. Each epoch draws
        hard ones as ``rollout_probability`` of all normal ones; attacks are drawn as often as before. The loader must
        have ``set_weights``, as PackedLoader has. Raises ValueError when there are not both hard and easy windows.
        """
        self._normal = labels == 0
        ranks = np.argsort(np.argsort(scores[self._normal], kind="stable"), kind="stable")
        hard = ranks >= len(ranks) - round(HARD_TIER * len(ranks))
        if not hard.any() or hard.all():
            raise ValueError(f"a curriculum needs at least 2 normal windows; got {len(ranks)}")
        self._hard = np.zeros(len(scores), bool)
        self._hard[self._normal] = hard

    def rollout(self, epoch: int, epochs: int) -> float:
        """The ``rollout_scheduler`` of a curriculum: from 0 in the first epoch to ``hard_share`` in the last."""
        return self.hard_share * epoch / max(epochs - 1, 1)

    @classmethod
    def build_model(cls, settings: GATModelSettings, vocabulary: Vocabulary, scaler: FeatureScaler) -> Detector:
        """The untrained detector; ``vocabulary`` and ``scaler`` are fitted, or empty until a checkpoint fills them."""
        network = GAT(
            num_ids=len(vocabulary),
            node_features=scaler.node_features,
            edge_features=scaler.edge_features,
            beside=OwnTraffic.width if settings.own_traffic else 0,
            **settings.model_dump(exclude={"own_traffic"}),
        )
        own = OwnTraffic(len(vocabulary), own_groups(scaler)) if settings.own_traffic else None
        return Detector(vocabulary, scaler, network, own)

    @classmethod
    def build_loss(cls, settings: GATSettings, counts: Tensor) -> nn.Module:
        """``(logits, y) -> loss``; ``counts`` int64[2] are the benign and the attack windows of the training split."""
        return make_loss(settings.loss, counts, settings.focal_gamma)

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        if self._hard is not None and self._normal is not None:
            trainloader.set_weights(curriculum_weights(self._normal, self._hard, self.rollout_probability))
        for batch in self.batches(trainloader):
            logits = self.model(batch)
            loss = self._taught(batch, logits, criterion(logits, batch.y))
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        scores, labels = [], []
        for batch in self.batches(valid_loader, "valid"):
            logits = self.model(batch)
            self.record("loss", criterion(logits, batch.y))
            scores.append(attack_probability(logits))
            labels.append(batch.y)
        for name, value in ranking(self.gathered(torch.cat(scores)), self.gathered(torch.cat(labels))).items():
            self.record(name, value, weight=1.0)

    def _taught(self, batch: Any, logits: Tensor, loss: Tensor) -> Tensor:
        if self._teacher is None:
            return loss
        with torch.no_grad():
            taught = self._teacher(batch)
        return torch.lerp(loss, distillation_loss(logits, taught, self.temperature), self.teacher_weight)

    def predict_step(self, batch: Any) -> Tensor:
        """The attack probability of each window of the batch, float64[B].

        Raises UserError where one is not a number, as after features that are none.
        """
        score = attack_probability(self.model(batch))
        wrong = (~torch.isfinite(score)).nonzero().flatten().tolist()
        if wrong:
            raise UserError(
                f"{len(wrong)} of {len(score)} windows have features, or the model weights, that are not finite; the "
                f"first window is number {wrong[0]} of its batch; there is no score for them"
            )
        return score

    def predict_nodes_step(self, batch: Any) -> Tensor:
        """The attack probability of each id of each window, float64[N]: the classifier's head on that node alone."""
        detector: Any = self.model
        return attack_probability(detector.node_logits(batch))

    def attention_step(self, batch: Any) -> Tensor:
        """How much each transition counts for the id that it leads to, the mean of all layers and heads, float32[E] in
        the order of ``batch.edge_index``; of the transitions to one id they sum to 1.

        Raises UserError where the model has no attention (``model.conv`` gin).
        """
        detector: Any = unwrapped(self.model)
        try:
            return detector.attention(batch).mean(dim=(1, 2))
        except ValueError as error:
            raise UserError(f"there is no attention to show: {error}") from error

    def expert_outputs(self, batch: Any) -> dict[str, Tensor]:
        """What a fusion of experts reads of each window, each float64[B]: ``score`` (the attack probability),
        ``confidence`` (1 - its entropy / ln 2, in [0, 1]), and ``embedding_mean``, ``embedding_std`` and
        ``embedding_norm`` of the pooled embedding."""
        detector: Any = unwrapped(self.model)
        embedding = detector.embed(batch)
        score = attack_probability(detector.network.classify(embedding))
        embedding = embedding.double()
        entropy = -(torch.xlogy(score, score) + torch.xlogy(1 - score, 1 - score))
        return {
            "score": score,
            "confidence": 1 - entropy / math.log(2),
            "embedding_mean": embedding.mean(dim=1),
            "embedding_std": embedding.std(dim=1, correction=0),
            "embedding_norm": embedding.norm(dim=1),
        }


def curriculum_weights(normal: NDArray[np.bool_], hard: NDArray[np.bool_], hard_share: float) -> NDArray[np.float64]:
    """float64[n]: sampling weights by which ``hard_share`` of the normal windows drawn are hard; an attack weighs 1.

    >>> curriculum_weights(np.array([True, True, True, False]), np.array([True, False, False, False]), 0.5).tolist()
    [1.5, 0.75, 0.75, 1.0]
    """
    easy = normal & ~hard
    weights = np.ones(len(normal))
    weights[hard] = hard_share * normal.sum() / hard.sum()
    weights[easy] = (1 - hard_share) * normal.sum() / easy.sum()
    return weights


def attack_probability(logits: Tensor) -> Tensor:
    """float[B, 2] -> float64[B], the softmax's second column. In float32 it would be 1 from log-odds of 17 on, and the
    surest alarms could neither be ranked nor explained."""
    return logits.double().softmax(dim=1)[:, 1]


def ranking(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """``auroc`` and ``auprc`` of the attack class, NaN where ``labels`` hold one class only."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # takes most of a second to import

    truth, score = labels.cpu().numpy(), scores.detach().cpu().numpy()
    if truth.min() == truth.max():
        return {"auroc": float("nan"), "auprc": float("nan")}
    return {"auroc": float(roc_auc_score(truth, score)), "auprc": float(average_precision_score(truth, score))}
