"""What a run fitted and measured, held against the raw logs, its detector and its scores."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from credit_like.verification.bulk import bulk_graphs
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, Finding, differences, many, timed
from credit_like.verification.claims import Claims, DeployedDetector
from credit_like.verification.fits import scaler_digest, scaler_problems, statistics
from credit_like.verification.metrics import calibration_captures, recomputed, without_words
from credit_like.verification.reference import ReferenceGraph, reference_graph
from credit_like.verification.windows import SCHEMA, rows_of

#: A score may differ by so much, absolutely below 1 and relatively above: float32 sums in another order.
SCORE_TOLERANCE = 1e-3

#: The windows that a part may be fitted on, and a best epoch chosen by, as the certificate names them.
_OUTSIDE = (pl.col("label") == 1) | ~pl.col("in_interval")
_TRAIN, _VALIDATION = pl.col("split") == "train", pl.col("split") == "validation"
_FITTED_ON = {
    "benign training windows outside attack intervals": _TRAIN & (pl.col("label") == 0) & _OUTSIDE,
    "benign training windows": _TRAIN & (pl.col("label") == 0),
    "all training windows": _TRAIN,
}

#: What tells a window from all others.
_PLACE = ("capture", "bus", "row_start", "row_stop")


class RunChecks:
    """The checks of what goes beyond the certificate; ``logs`` are the windows that it speaks of, cut anew."""

    def __init__(
        self, claims: Claims, logs: CertificateChecks, detector: DeployedDetector, sample: int, seed: int
    ) -> None:
        self.claims, self.claimed, self.logs, self.detector = claims, claims.certificate, logs, detector
        self.captures, self.sample, self.seed = logs.captures, sample, seed

    @property
    def windows(self) -> pl.DataFrame:
        return self.logs.windows

    def _fitted_windows(self, part: str) -> tuple[pl.DataFrame, list[str]]:
        claimed = self.claimed[part]
        if claimed["fitted_on"] not in _FITTED_ON:
            return self.windows.clear(), [f"not verified: fitted on {claimed['fitted_on']!r}"]
        windows = self.windows.filter(_FITTED_ON[claimed["fitted_on"]])
        indices = hashlib.sha256(windows["index"].to_numpy().astype("<i8").tobytes()).hexdigest()
        found = {"windows": windows.height, "indices_sha256": indices}
        return windows, list(differences({name: claimed[name] for name in found}, found, part))

    def _parts(self, name: str) -> dict[str, dict[str, Tensor]]:
        """Buffers of every part of the model that ends in ``name``, by where it is."""
        parts: dict[str, dict[str, Tensor]] = {}
        for path, value in self.detector.buffers.items():
            where, _, buffer = path.rpartition(".")
            if where.split(".")[-1] == name:
                parts.setdefault(where, {})[buffer] = value
        return parts

    def vocabulary(self) -> Finding:
        windows, problems = self._fitted_windows("vocabulary")
        found = np.unique(np.concatenate([np.zeros(0, np.int64), *self._keys(windows)]))
        parts = self._parts("vocabulary")
        if not parts:
            problems.append("the checkpoint holds no vocabulary")
        for where, buffers in parts.items():
            keys = buffers["keys"].numpy()
            if not np.array_equal(keys, found):
                problems.append(
                    f"{where} knows {many(len(keys), 'id')}; the {self.claimed['vocabulary']['fitted_on']} "
                    f"show {len(found)}, {len(np.intersect1d(keys, found))} of them the same"
                )
        digest = hashlib.sha256(found.astype("<i8").tobytes()).hexdigest()
        for name in ("digest", "refit_digest"):
            problems += differences(self.claimed["vocabulary"][name], digest, f"vocabulary.{name}")
        return f"{many(len(found), 'id')} of {windows.height:,} windows, and their digest", problems

    def _keys(self, windows: pl.DataFrame) -> Iterator[NDArray[np.int64]]:
        for capture, rows in self.logs.rows(windows):
            yield np.unique(capture.frames.key[rows])

    def scaler(self) -> Finding:
        windows, problems = self._fitted_windows("scaler")
        settings = self.claims.data["scaler"]
        for where, buffers in self._parts("scaler").items():
            if not windows.height:
                problems.append(f"{where} is fitted on no window")
                continue
            keys = self.detector.buffers[f"{where.removesuffix('scaler')}vocabulary.keys"].tolist()
            graphs = (graph for capture, rows in self.logs.rows(windows) for graph in bulk_graphs(capture.frames, rows))
            expected = statistics(graphs, keys, settings)
            problems += [f"{where}: {x}" for x in scaler_problems(buffers, expected, settings["clip"])]
            for name in ("digest", "refit_digest"):
                problems += differences(self.claimed["scaler"][name], scaler_digest(buffers), f"scaler.{name}")
        if not self._parts("scaler"):
            problems.append("the checkpoint holds no scaler")
        return f"its statistics with those of {windows.height:,} windows, and its digest", problems

    def windows_of_scores(self) -> Finding:
        """scores.parquet holds every window of validation and of the test sets, once, and says the truth of each."""
        known = self.windows.filter(_VALIDATION | pl.col("split").str.starts_with("test")).select(*SCHEMA)
        frame, problems = self.claims.scores.frame, []
        missing = [name for name in SCHEMA if name not in frame.columns]
        if missing:
            return "its columns", [f"column {name!r} is missing" for name in missing]
        both = known.join(frame, on=_PLACE, how="inner", suffix="_claimed", validate="1:m")
        for what, one, other in (("is missing", known, frame), ("is in no such split", frame, known)):
            for row in one.join(other, on=_PLACE, how="anti").select(_PLACE).iter_rows(named=True):
                problems.append(f"a window {what}: {_place(row)}")
        if frame.select(_PLACE).is_duplicated().any():
            problems.append("a window is there twice")
        for name in SCHEMA:
            if name not in _PLACE:
                wrong = both.filter(pl.col(name) != pl.col(f"{name}_claimed"))
                problems += [
                    f"{name} is {row[f'{name}_claimed']!r}; it should be {row[name]!r}: {_place(row)}"
                    for row in wrong.iter_rows(named=True)
                ]
        problems += self._attack_problems()
        return f"{known.height:,} windows with those of the certificate, {len(SCHEMA)} columns", problems

    def _attack_problems(self) -> Iterator[str]:
        found = {
            name: [{"family": x.family, "start": x.start, "stop": x.stop} for x in capture.intervals]
            for name, capture in self.captures.items()
            if capture.intervals
        }
        yield from differences(self.claims.scores.intervals, found, "attack intervals")

    def scores(self) -> Finding:
        """A sample of the scores, from the checkpoint, through graphs that the slow reference makes of raw frames."""
        frame = self.claims.scores.frame.join(self.windows.select(*_PLACE, "index"), on=_PLACE, how="inner")
        chosen = sorted(random.Random(self.seed).sample(range(frame.height), min(self.sample, frame.height)))
        rows, graphs = frame[chosen], []
        for row in rows.iter_rows(named=True):
            capture = self.captures[row["capture"]]
            own = rows_of(capture, row["bus"], row["row_start"], row["row_stop"])
            graphs.append(as_data(reference_graph(capture.frames[own], 0, len(own)), row["label"], row["index"]))
        found = self.detector.scores(graphs) if graphs else np.zeros(0)
        problems = [] if graphs else ["there is no score"]
        apart = np.abs(found - rows["score"].to_numpy())
        wrong = apart > SCORE_TOLERANCE * np.maximum(1, np.abs(found))
        for row, score in zip(rows.filter(pl.Series(wrong)).iter_rows(named=True), found[wrong], strict=True):
            problems.append(f"score is {row['score']:.6g}; the detector gives {score:.6g}: {_place(row)}")
        largest = f"{apart.max():.1e}" if len(apart) else "none"
        return (
            f"{len(graphs):,} of {frame.height:,}, drawn with seed {self.seed}; largest difference {largest}",
            problems,
        )

    def best_epoch(self) -> Finding:
        """The figure that chose the best epoch is that of validation windows."""
        metric, value = self.detector.metric, self.detector.value
        if value is None:
            return f"{metric} in the checkpoint", [f"the checkpoint holds no {metric}"]
        if not metric.startswith("valid_"):
            return f"it was chosen by {metric}, in which no validation or test window has a part", []
        trained = self.windows.filter(_TRAIN & _OUTSIDE)["label"].to_list()
        found = {}
        for name, windows in self._chosen_by().items():
            described = zip(self._graphs(windows), windows["label"], windows["index"], strict=True)
            graphs = [as_data(*window) for window in described]
            found[name] = self.detector.validation(graphs, [trained.count(0), trained.count(1)])
            if abs(found[name] - value) <= SCORE_TOLERANCE * max(1.0, abs(value)):
                return f"{metric} {value:.6g} with that of {len(graphs):,} {name}", []
        shown = ", ".join(f"{other:.6g} ({name})" for name, other in found.items())
        return f"{metric} with that of validation windows", [f"{metric} was {value:.6g}; it is {shown}"]

    def _chosen_by(self) -> dict[str, pl.DataFrame]:
        """The windows that a best epoch may be chosen by: a trainer of benign traffic sees one copy of a drive only."""
        windows = self.windows.filter(_VALIDATION & _OUTSIDE)
        benign = windows.filter(pl.col("label") == 0)
        once = calibration_captures(benign, [[m["capture"] for m in x["captures"]] for x in self.claimed["groups"]])
        return {
            "validation windows outside attack intervals": windows,
            "benign validation windows outside attack intervals": benign,
            "benign validation windows of one capture a group": benign.filter(pl.col("capture").is_in(once)),
        }

    def _graphs(self, windows: pl.DataFrame) -> Iterator[ReferenceGraph]:
        for capture, rows in self.logs.rows(windows):
            yield from bulk_graphs(capture.frames, rows)

    def metrics(self) -> Iterator[Check]:
        """One check for each part of metrics.json."""
        claimed = without_words(self.claims.metrics)
        found: dict[str, Any] = {}

        def compute() -> Finding:
            found.update(recomputed(self.claims.metrics, self.claims.scores, self.claimed["groups"]))
            return f"read {self.claims.scores.frame.height:,} scores, computed every figure", []

        check = timed("figures", compute)
        yield check
        if not check.holds:
            return
        for name in dict.fromkeys([*claimed, *found]):
            one, other = ({name: part[name]} if name in part else {} for part in (claimed, found))
            problems = [] if name not in found and claimed[name] is None else list(differences(one, other))  # no claim
            yield Check(f"metrics: {name}", f"{many(_leaves(one), 'value')} with those computed", tuple(problems))


def as_data(graph: ReferenceGraph, label: int, index: int) -> Data:
    """A graph as PyG takes it: what a graph store's ``graph(index)`` gives, in float32 like there."""
    return Data(
        x=torch.from_numpy(graph.x.astype(np.float32)),
        edge_index=torch.from_numpy(graph.edge_index.astype(np.int64).reshape(2, -1)),
        edge_attr=torch.from_numpy(graph.edge_attr.astype(np.float32)),
        y=torch.tensor([label]),
        key=torch.from_numpy(graph.key),
        window=torch.tensor([index]),
    )


def _leaves(part: Any) -> int:
    entries = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else None
    return 1 if entries is None else sum(map(_leaves, entries))


def _place(row: Mapping[str, Any]) -> str:
    return f"rows {row['row_start']}..{row['row_stop']} of {row['capture']!r}"
