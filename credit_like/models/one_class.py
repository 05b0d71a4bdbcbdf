"""OneClassHead: how far a graph's embedding is from the centre of benign ones, in units of their covariance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Digests are SHA-256 in hexadecimal, kept as bytes.
_DIGEST_BYTES = 32


class OneClassHead(nn.Module):
    """Squared distance to the centre of benign embeddings (support vector data description; Zhao & Akoglu 2021).

    With ``whiten`` it is the Mahalanobis distance under the full covariance of the benign embeddings: directions in
    which benign traffic varies count little, those in which it does not vary count much. The covariance is taken of
    the embeddings scaled to unit spread and shrunk towards its diagonal by ``shrinkage``; without ``whiten`` the
    distance is Euclidean.

    ===================  ===================  ===============================================================
    ``centre``           float64[D]           mean of the benign training embeddings
    ``whitening``        float64[D, D]        ``distance = |(z - centre) @ whitening| ** 2``
    ``encoder_digest``   uint8[32]            of the encoder they were embedded with
    ``store_digest``     uint8[32]            of the graph store they are from
    ===================  ===================  ===============================================================

    All zeros until ``fit``. Everything here is float64, also where the encoder computes in less.
    """

    centre: Tensor
    whitening: Tensor
    encoder_digest: Tensor
    store_digest: Tensor

    def __init__(self, width: int, whiten: bool = True, shrinkage: float = 0.01) -> None:
        super().__init__()
        if not 0.0 < shrinkage <= 1.0:
            raise ValueError(f"shrinkage lies in (0, 1]; got {shrinkage}")
        self.width, self.whiten, self.shrinkage = width, whiten, shrinkage
        self.register_buffer("centre", torch.zeros(width, dtype=torch.float64))
        self.register_buffer("whitening", torch.zeros(width, width, dtype=torch.float64))
        self.register_buffer("encoder_digest", torch.zeros(_DIGEST_BYTES, dtype=torch.uint8))
        self.register_buffer("store_digest", torch.zeros(_DIGEST_BYTES, dtype=torch.uint8))

    @torch.no_grad()
    def fit(self, embeddings: Tensor, encoder_digest: str = "", store_digest: str = "") -> None:
        """Take centre and covariance from the embeddings float[n, D] of benign training graphs.

        Raises ValueError where there are none, where one is not finite, or where the centre is all zeros (a dead
        encoder: every graph would be at distance 0 from it).
        """
        z = embeddings.double()
        if z.dim() != 2 or z.shape[1] != self.width:
            raise ValueError(f"embeddings must be float[n, {self.width}]; got {list(z.shape)}")
        if len(z) == 0:
            raise ValueError("the centre is the mean of benign training graphs, and there is none")
        wrong = int((~torch.isfinite(z).all(dim=1)).sum())
        if wrong:
            raise ValueError(f"{wrong} of {len(z)} benign graphs have an embedding that is not finite")
        centre = z.mean(dim=0)
        if not bool(centre.any()):
            raise ValueError(f"the centre of {len(z)} benign graphs is all zeros: the encoder gives nothing")
        self.centre.copy_(centre)
        self.whitening.copy_(whitening_of(z - centre, self.shrinkage) if self.whiten else torch.eye(self.width))
        self.encoder_digest.copy_(_as_bytes(encoder_digest))
        self.store_digest.copy_(_as_bytes(store_digest))

    @property
    def fitted(self) -> bool:
        """Whether there is a centre."""
        return bool(self.centre.any())

    def belongs_to(self, encoder_digest: str, store_digest: str | None = None) -> bool:
        """Whether the centre was fitted with this encoder, and on this store where one is given."""
        same = torch.equal(self.encoder_digest.cpu(), _as_bytes(encoder_digest))
        return same and (store_digest is None or torch.equal(self.store_digest.cpu(), _as_bytes(store_digest)))

    def forward(self, embeddings: Tensor) -> Tensor:
        """float[B, D] -> squared distances float64[B]. Raises RuntimeError before ``fit``."""
        if not self.fitted:
            raise RuntimeError("the one-class head has no centre yet; fit it on benign graphs first")
        return ((embeddings.double() - self.centre) @ self.whitening).square().sum(dim=1)


def whitening_of(deviations: Tensor, shrinkage: float) -> Tensor:
    """``W`` float64[D, D] such that ``deviations @ W`` float64[n, D] is uncorrelated and of unit variance, shrunk.

    With S the spread of each column and R the correlation of the columns, ``W W^T`` is the inverse of
    ``S ((1 - shrinkage) R + shrinkage I) S``. A column that is constant, or nearly so beside the others, gets a
    thousandth of the root mean square spread, so that any change in it counts for much but not without bound.
    """
    spread = deviations.square().mean(dim=0).sqrt()
    typical = spread.square().mean().sqrt()
    floor = 1e-3 * typical if typical > 0 else torch.ones_like(typical)
    spread = spread.maximum(floor)
    scaled = deviations / spread
    correlation = scaled.t() @ scaled / len(scaled)
    shrunk = (1.0 - shrinkage) * correlation + shrinkage * torch.eye(len(spread)).to(correlation)
    # L L^T = R: the inverse of R is L^-T L^-1.
    lower = torch.linalg.cholesky(shrunk)
    return torch.linalg.solve_triangular(lower, torch.diag(1.0 / spread), upper=False).t()


def one_class_loss(embeddings: Tensor, centre: Tensor) -> Tensor:
    """Mean squared distance of float[B, D] to a frozen centre [D] (Zhao & Akoglu 2021, equation 3, without weight
    decay)."""
    return (embeddings - centre.to(embeddings)).square().sum(dim=1).mean()


class CollapseError(ValueError):
    """One-class training has mapped all graphs to one point."""


def require_spread(embeddings: Tensor, before: float, floor: float) -> None:
    """The guard against collapse: the total variance of benign embeddings float[n, D] must be at least ``floor`` of
    what it was ``before``, when the centre was frozen. Raises CollapseError.
    """
    now = total_variance(embeddings)
    if not now >= floor * before:
        raise CollapseError(
            f"the embeddings have collapsed: their variance is {now:.3g}, {now / before if before else 0:.2g} of the "
            f"{before:.3g} it had when the centre was frozen, and the least is {floor:g} of it"
        )


def total_variance(embeddings: Tensor) -> float:
    """The trace of the covariance of float[n, D]."""
    return float(embeddings.double().var(dim=0, correction=0).sum())


def _as_bytes(digest: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(digest.zfill(2 * _DIGEST_BYTES))), dtype=torch.uint8)
