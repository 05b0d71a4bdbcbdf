"""Which node features are held against an id's own benign traffic."""

from __future__ import annotations

from credit_like.graphs import FeatureScaler
from credit_like.graphs.features import NODE_FEATURES

#: Node features whose distance from the id's own benign traffic is taken together. Payload levels (the means of bytes)
#: are in none: they drift over a drive, so that new traffic looks unusual for no reason.
OWN_TRAFFIC: tuple[tuple[str, ...], ...] = (
    ("message_count", "interarrival_mean", "interarrival_std"),
    (*(f"byte{k}_std" for k in range(8)), *(f"byte{k}_range" for k in range(8)), "change_rate", "payload_length"),
    ("in_degree", "out_degree", "clustering", "split_half_ratio"),
)


def own_groups(scaler: FeatureScaler) -> list[list[int]]:
    """``OWN_TRAFFIC`` as columns of what ``scaler`` gives: the id-relative ones, which are behind the global ones,
    where it has them."""
    first = len(NODE_FEATURES) if scaler.relative else 0
    return [[first + NODE_FEATURES.index(name) for name in group] for group in OWN_TRAFFIC]
