"""Frames take the scores of their ids: as many rows as labelled frames, of the right label."""

from __future__ import annotations

import polars as pl

from credit_like.verification.judged import FIGURES, Judged
from credit_like.verification.metrics import frames_of, has_nodes


def test_every_labelled_frame_has_the_score_of_its_id() -> None:
    table = pl.DataFrame(
        {
            "family": ["dos", ""],
            "node_score": [[0.9, 0.2], [0.4]],
            "node_attack": [[3, 0], [0]],
            "node_benign": [[0, 2], [5]],
        }
    )
    assert has_nodes(table)
    frames = frames_of(table).sort("score")
    assert frames["score"].to_list() == [0.2] * 2 + [0.4] * 5 + [0.9] * 3
    assert frames["label"].to_list() == [0] * 7 + [1] * 3
    judged = Judged(frames, threshold=0.3)
    found = {name: FIGURES[name](judged) for name in ("recall", "fpr", "auroc", "precision")}
    assert found == {"recall": 1.0, "fpr": 5 / 7, "auroc": 1.0, "precision": 3 / 8}
    assert not has_nodes(table.drop("node_score"))
