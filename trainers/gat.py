"""GATTrainer: a supervised graph classifier on labelled windows."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor, nn

from credit_like.config import Settings
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.models import GAT, Detector, make_loss
from credit_like.training import BaseTrainer
from credit_like.training.wrapping import unwrapped


class GATSettings(BaseTrainer.Settings):
    """The ``trainer`` section of a GAT job: the engine's settings and the loss."""

    loss: Literal["cross_entropy", "weighted", "focal"] = Field(
        "cross_entropy", description="weighted: both classes get the same total weight; focal: hard windows count more"
    )
    focal_gamma: float = Field(2.0, ge=1, description="exponent of the focal loss (Lin et al. 2017 found 2 best)")


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

    @classmethod
    def build_model(cls, settings: GATModelSettings, vocabulary: Vocabulary, scaler: FeatureScaler) -> Detector:
        """The untrained detector; ``vocabulary`` and ``scaler`` are fitted, or empty until a checkpoint fills them."""
        network = GAT(
            num_ids=len(vocabulary),
            node_features=scaler.node_features,
            edge_features=scaler.edge_features,
            **settings.model_dump(),
        )
        return Detector(vocabulary, scaler, network)

    @classmethod
    def build_loss(cls, settings: GATSettings, counts: Tensor) -> nn.Module:
        """``(logits, y) -> loss``; ``counts`` int64[2] are the benign and the attack windows of the training split."""
        return make_loss(settings.loss, counts, settings.focal_gamma)

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        for batch in self.batches(trainloader):
            loss = criterion(self.model(batch), batch.y)
            self.optimize(loss)
            self.record("loss", loss)

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        scores, labels = [], []
        for batch in self.batches(valid_loader, "valid"):
            logits = self.model(batch)
            self.record("loss", criterion(logits, batch.y))
            scores.append(attack_probability(logits))
            labels.append(batch.y)
        for name, value in ranking(torch.cat(scores), torch.cat(labels)).items():
            self.record(name, value, weight=1.0)

    def predict_step(self, batch: Any) -> Tensor:
        """The attack probability of each window of the batch, float32[B]."""
        return attack_probability(self.model(batch))

    def predict_nodes_step(self, batch: Any) -> Tensor:
        """The attack probability of each id of each window, float32[N]: the classifier's head on that node alone."""
        detector: Any = self.model
        return attack_probability(detector.node_logits(batch))

    def expert_outputs(self, batch: Any) -> dict[str, Tensor]:
        """What a fusion of experts reads of each window, each float64[B]: ``score`` (the attack probability),
        ``confidence`` (1 - its entropy / ln 2, in [0, 1]), and ``embedding_mean``, ``embedding_std`` and
        ``embedding_norm`` of the pooled embedding."""
        detector: Any = unwrapped(self.model)
        embedding = detector.embed(batch)
        score = attack_probability(detector.network.classify(embedding)).double()
        embedding = embedding.double()
        entropy = -(torch.xlogy(score, score) + torch.xlogy(1 - score, 1 - score))
        return {
            "score": score,
            "confidence": 1 - entropy / math.log(2),
            "embedding_mean": embedding.mean(dim=1),
            "embedding_std": embedding.std(dim=1, correction=0),
            "embedding_norm": embedding.norm(dim=1),
        }


def attack_probability(logits: Tensor) -> Tensor:
    """float[B, 2] -> float32[B], the softmax's second column."""
    return logits.float().softmax(dim=1)[:, 1]


def ranking(scores: Tensor, labels: Tensor) -> dict[str, float]:
    """``auroc`` and ``auprc`` of the attack class, NaN where ``labels`` hold one class only."""
    truth, score = labels.cpu().numpy(), scores.detach().cpu().numpy()
    if truth.min() == truth.max():
        return {"auroc": float("nan"), "auprc": float("nan")}
    return {"auroc": float(roc_auc_score(truth, score)), "auprc": float(average_precision_score(truth, score))}
