"""DGIOCGINTrainer: an anomaly detector that learns from benign windows alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from credit_like.config import Settings, UserError
from credit_like.graphs import FeatureScaler, Vocabulary
from credit_like.models import AnomalyDetector, DGILoss, GraphEncoder, Readout
from credit_like.models.one_class import CollapseError, one_class_loss, require_spread, total_variance
from credit_like.training import BaseTrainer
from credit_like.training.batches import to_device
from credit_like.training.precision import autocast
from credit_like.training.rng import rng_kept
from credit_like.training.wrapping import unwrapped
from trainers.own_columns import own_groups


class DGIOCGINSettings(BaseTrainer.Settings):
    """The ``trainer`` section of a DGI-OCGIN job: the engine's settings and the objective."""

    dgi_weight: float = Field(1.0, ge=0, description="weight of the Deep Graph Infomax loss in the objective")
    one_class_weight: float = Field(
        0.0, ge=0, description="weight of the mean squared distance to a frozen centre (OCGIN); 0: none"
    )
    one_class_after: int = Field(
        0, ge=0, description="epochs of Deep Graph Infomax alone before the centre is frozen and its loss joins"
    )
    collapse_floor: float = Field(
        0.01, ge=0, lt=1, description="share of their variance that embeddings must keep after the centre is frozen"
    )

    @model_validator(mode="after")
    def _learns_something(self) -> DGIOCGINSettings:
        if self.dgi_weight == 0 and self.one_class_weight == 0:
            raise ValueError("dgi_weight and one_class_weight are both 0; there would be nothing to learn")
        if self.dgi_weight == 0 and self.one_class_after > 0:
            raise ValueError("one_class_after gives epochs to the Deep Graph Infomax loss, but dgi_weight is 0")
        if self.skip_validation:
            raise ValueError("skip_validation is not possible here: centre and p-values are fitted when it validates")
        return self


class DGIOCGINModelSettings(Settings):
    """The ``model`` section of a DGI-OCGIN job; see ``credit_like.models.AnomalyDetector``."""

    conv: Literal["gatv2", "gat", "transformer", "gin"] = Field("gatv2", description="kind of message passing")
    layers: int = Field(2, ge=1, description="message-passing layers")
    heads: int = Field(4, ge=1, description="attention heads; they share the width")
    width: int = Field(32, ge=1, description="output width of each layer, all heads together")
    own_traffic: bool = Field(
        True, description="beside the embedding: how far each node is from its own id's benign traffic"
    )
    whiten: bool = Field(
        True, description="distance under the full covariance of benign windows; false: Euclidean distance"
    )
    shrinkage: float = Field(0.01, gt=0, le=1, description="of that covariance towards its diagonal")

    @model_validator(mode="after")
    def _fits_together(self) -> DGIOCGINModelSettings:
        if self.conv != "gin" and self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got width {self.width} and {self.heads} heads")
        return self


class DGIOCGINTrainer(BaseTrainer):
    """Trains an ``AnomalyDetector`` on batches of benign windows: no attack is needed to train, validate, or set a
    threshold.

    The encoder learns by Deep Graph Infomax (Velickovic et al. 2019), and where ``one_class_weight`` is above 0 also to
    draw benign windows to a frozen centre (Zhao & Akoglu 2021). When an epoch is validated, centre and covariance are
    fitted on the training loader's windows, and p-values on the validation loader's, with the weights that are
    validated: every checkpoint holds a head that belongs to its encoder, and one that does not is refused or, where
    there are benign windows, fitted anew.

    Records ``loss`` (the objective), ``dgi_loss``, and with a one-class loss ``one_class_loss``, in both phases; of
    validation too the mean ``agreement`` of the discriminator. The lowest ``valid_loss`` is the best epoch. Windows
    that are labelled as attacks are refused.
    """

    Settings = DGIOCGINSettings
    ModelSettings = DGIOCGINModelSettings
    #: Read by ``credit-like train``: the loaders get benign windows alone.
    benign_only: ClassVar[bool] = True
    settings: DGIOCGINSettings

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._frozen: dict[str, Any] = {}  # the centre of the one-class loss, and the variance around it
        self._checked: Any = None  # the weights for which the head was last compared with the encoder

    @classmethod
    def build_model(
        cls, settings: DGIOCGINModelSettings, vocabulary: Vocabulary, scaler: FeatureScaler
    ) -> AnomalyDetector:
        """The untrained detector; ``vocabulary`` and ``scaler`` are fitted, or empty until a checkpoint fills them."""
        encoder = GraphEncoder(
            node_features=scaler.node_features,
            edge_features=scaler.edge_features,
            **settings.model_dump(include={"conv", "layers", "heads", "width"}),
        )
        return AnomalyDetector(
            vocabulary,
            scaler,
            encoder,
            num_ids=len(vocabulary),
            own_groups=own_groups(scaler) if settings.own_traffic else (),
            whiten=settings.whiten,
            shrinkage=settings.shrinkage,
        )

    @classmethod
    def build_loss(cls, settings: DGIOCGINSettings, counts: Tensor) -> nn.Module:
        """The Deep Graph Infomax loss; ``counts`` are not needed."""
        return DGILoss()

    @property
    def detector(self) -> AnomalyDetector:
        """The model, whatever wraps it."""
        return cast(AnomalyDetector, unwrapped(self.model))

    # Learning --------------------------------------------------------------------------------------------------------

    def train_one_epoch(
        self, epoch: int, trainloader: Any, optimizer: Any, criterion: Any, scaler: Any, scheduler: Any, metrics: Any
    ) -> None:
        one_class = self.settings.one_class_weight > 0 and epoch >= self.settings.one_class_after
        if one_class and not self._frozen:
            self._freeze_centre(trainloader)
        for batch in self.batches(trainloader):
            self.optimize(self._objective(batch, criterion, self._frozen.get("centre")))

    def validate(self, epoch: int, valid_loader: Any, criterion: Any, metrics: Any) -> None:
        self.fit_head(getattr(self, "train_loader", None), valid_loader, only_if_stale=True)
        centre = self._frozen.get("centre")
        if centre is None and self.settings.one_class_weight > 0:  # not frozen yet: the present one, so that epochs
            centre = self.detector.head.centre  # before and after compare
        generator = torch.Generator(self.device).manual_seed(self.seed)  # every epoch is asked the same
        for batch in self.batches(valid_loader, "valid"):
            self._objective(batch, criterion, centre, generator)
            self.record("agreement", self.detector.readout(batch).agreement.mean())

    def _objective(
        self, batch: Any, criterion: Any, centre: Tensor | None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The loss of a batch, which it records with its parts."""
        contrast = self.detector.contrast(batch, generator)
        dgi = criterion(contrast.true, contrast.shuffled, batch.batch, batch.num_graphs)
        loss = self.settings.dgi_weight * dgi
        self.record("dgi_loss", dgi)
        if centre is not None:
            distance = one_class_loss(contrast.embedding, centre)
            loss = loss + self.settings.one_class_weight * distance
            self.record("one_class_loss", distance)
        self.record("loss", loss)
        return loss

    def _freeze_centre(self, loader: Any) -> None:
        """The mean of the benign embeddings at this moment, and their variance."""
        embeddings = self._readouts(loader).embedding
        centre = embeddings.double().mean(dim=0)
        if not bool(centre.any()):
            raise UserError("the centre of the benign windows is all zeros: the encoder gives nothing to learn from")
        self._frozen = {"centre": centre.cpu(), "variance": total_variance(embeddings)}

    def extra_state(self) -> dict[str, Any]:
        return dict(self._frozen)

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        self._frozen = dict(state)

    # The head --------------------------------------------------------------------------------------------------------

    def fit_head(self, benign: Any, calibration: Any, *, only_if_stale: bool = False) -> None:
        """Fit centre and covariance on the windows of the loader ``benign``, and p-values on those of ``calibration``,
        which neither encoder nor centre were fitted on. The model's mode and the random numbers stay as they are.

        ``only_if_stale``: unless the head belongs to the present encoder and store already.
        Raises UserError for a loader without windows, a window labelled as an attack, features that are not finite, or
        embeddings that have collapsed to one point.
        """
        encoder, store = self.detector.encoder_digest(), getattr(getattr(benign, "store", None), "digest", "")
        if only_if_stale and self.detector.head.belongs_to(encoder, store or None):
            return
        if benign is None:
            raise UserError(
                "the one-class head does not belong to these weights, and there are no benign windows to fit it anew: "
                "call trainer.fit_head(benign, calibration) with loaders of benign windows"
            )
        try:
            with self._looking_only():
                self.detector.fit_own_traffic(self._benign(benign))
            readout = self._readouts(benign)
            if self._frozen:
                require_spread(readout.embedding, self._frozen["variance"], self.settings.collapse_floor)
            self.detector.fit_heads(readout, encoder, store)
            self.detector.tail.fit(self.detector.distance(self._readouts(calibration)))
        except CollapseError as error:
            raise UserError(
                f"{error}. Lower trainer.one_class_weight or optimizer.lr, or train fewer epochs"
            ) from error
        except ValueError as error:
            raise UserError(f"the one-class head cannot be fitted: {error}") from error

    def predict_step(self, batch: Any) -> Tensor:
        """The squared distance of each window of the batch from the centre of benign ones, float64[B].

        Raises UserError where the head does not belong to the encoder, or a window's features are not finite.
        """
        return self._checked_distance(self._readout(batch), batch)

    def expert_outputs(self, batch: Any) -> dict[str, Tensor]:
        """What a fusion of experts reads of each window, each float64[B]: ``score`` (1 - p, in [0, 1]), ``p_value``,
        ``distance``, ``agreement`` (of the discriminator, in [0, 1]), and ``embedding_mean``, ``embedding_std`` and
        ``embedding_norm`` of the mean node embedding.

        Raises as ``predict_step`` does.
        """
        readout = self._readout(batch)
        distance = self._checked_distance(readout, batch)
        p_value, embedding = self.detector.tail(distance), readout.embedding.double()
        return {
            "score": 1.0 - p_value,
            "p_value": p_value,
            "distance": distance,
            "agreement": readout.agreement.double(),
            "embedding_mean": embedding.mean(dim=1),
            "embedding_std": embedding.std(dim=1, correction=0),
            "embedding_norm": embedding.norm(dim=1),
        }

    def _readout(self, batch: Any) -> Readout:
        self._require_own_head()
        return self.detector.readout(batch)

    def _checked_distance(self, readout: Readout, batch: Any) -> Tensor:
        distance = self.detector.distance(readout)
        wrong = (~torch.isfinite(distance)).nonzero().flatten().tolist()
        if wrong:
            raise UserError(
                f"{len(wrong)} of {len(distance)} windows have features that are not finite, the first is number "
                f"{wrong[0]} of its batch; there is no distance for them"
            )
        return distance

    def _require_own_head(self) -> None:
        """Compare the head with the encoder, once for as long as nobody writes to the weights."""
        state = [(t.data_ptr(), t._version) for t in (*self.detector.parameters(), *self.detector.buffers())]
        if state != self._checked:
            if not self.detector.head.belongs_to(self.detector.encoder_digest()):
                raise UserError(
                    "the one-class head was fitted with other weights than the encoder has now, or never: its "
                    "distances would mean nothing. Call trainer.fit_head(benign, calibration), or train again"
                )
            self._checked = state

    # How it is done --------------------------------------------------------------------------------------------------

    def _readouts(self, loader: Any) -> Readout:
        """The readouts of all windows of the loader, in its order. Raises ValueError where there is none."""
        with self._looking_only(), autocast(self.device, self.autocast_dtype):
            parts = [self.detector.readout(batch) for batch in self._benign(loader)]
        if not parts:
            raise ValueError("the loader has no benign window")
        return Readout(*(torch.cat(part) for part in zip(*parts, strict=True)))

    def _benign(self, loader: Any) -> Iterator[Any]:
        """The loader's batches on the device. Raises UserError after the last where one was labelled as an attack."""
        attacks = torch.zeros((), dtype=torch.int64, device=self.device)
        for batch in loader:
            batch = to_device(batch, self.device)
            attacks += (batch.y == 1).sum()
            yield batch
        if int(attacks):
            raise UserError(f"this trainer learns from benign windows alone; {int(attacks)} are labelled as attacks")

    @contextmanager
    def _looking_only(self) -> Iterator[None]:
        """Evaluation mode without gradients; the mode and the random numbers are put back."""
        training = self.model.training
        self.model.eval()
        try:
            with rng_kept(), torch.no_grad():
                yield
        finally:
            self.model.train(training)
