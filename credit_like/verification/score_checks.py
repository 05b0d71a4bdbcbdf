"""What scores.parquet says, held against the raw logs and, for a sample of it, against the detectors themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch_geometric.data import Data

from credit_like.can.frames import FrameTable
from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Finding, differences, many
from credit_like.verification.claims import Claims, DeployedDetector
from credit_like.verification.graphs_again import GraphsAgain, as_data
from credit_like.verification.reference import ReferenceGraph, reference_graph
from credit_like.verification.simple_detectors import SIMPLE, SeenWindow
from credit_like.verification.windows import OUTSIDE, SCHEMA, TEST, TRAIN, VALIDATION, rows_of

Floats = NDArray[np.float64]

#: A score may differ by so much, absolutely below 1 and relatively above: float32 sums in another order.
SCORE_TOLERANCE = 1e-3

#: What tells a window from all others.
_PLACE = ("capture", "bus", "row_start", "row_stop")

#: Columns of scores.parquet: a control's scores by its name, those of raw weights, and what is known of each id.
_CONTROL, _RAW, _NODES = "control/", "raw_score", ("node_key", "node_score", "node_attack", "node_benign")


class ScoreChecks:
    """The checks of a scores table; ``sample`` of its windows, drawn with ``seed``, are scored again."""

    def __init__(
        self,
        claims: Claims,
        logs: CertificateChecks,
        graphs: GraphsAgain,
        detector: DeployedDetector,
        sample: int,
        seed: int,
    ) -> None:
        self.claims, self.logs, self.graphs, self.detector = claims, logs, graphs, detector
        self.captures, self.sample, self.seed = logs.captures, sample, seed

    def windows_of_scores(self) -> Finding:
        """scores.parquet holds every window of validation and of the test sets, once, and says the truth of each."""
        known = self.logs.windows.filter(VALIDATION | TEST).select(*SCHEMA)
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

    @cached_property
    def _sampled(self) -> tuple[pl.DataFrame, list[Data]]:
        """A sample of the scores table, and its graphs as the slow reference makes them of raw frames."""
        frame = self.claims.scores.frame.join(self.logs.windows.select(*_PLACE, "index"), on=_PLACE, how="inner")
        chosen = sorted(random.Random(self.seed).sample(range(frame.height), min(self.sample, frame.height)))
        rows, graphs = frame[chosen], []
        for row in rows.iter_rows(named=True):
            frames = self._frames(row)
            graphs.append(as_data(reference_graph(frames, 0, len(frames)), row["label"], row["index"]))
        return rows, graphs

    def _frames(self, row: Mapping[str, Any]) -> FrameTable:
        capture = self.captures[row["capture"]]
        return capture.frames[rows_of(capture, row["bus"], row["row_start"], row["row_stop"])]

    def scores(self) -> Finding:
        """A sample of the scores, from the checkpoint, through graphs that the slow reference makes of raw frames."""
        graphs = self._sampled[1]
        if not graphs:
            return "the detector's", ["there is no score"]
        problems, largest = self._against("score", self.detector.scores(graphs))
        total = self.claims.scores.frame.height
        compared = f"{len(graphs):,} of {total:,}, drawn with seed {self.seed}; largest difference {largest:.1e}"
        return compared, problems

    def _against(self, column: str, found: Floats) -> tuple[list[str], float]:
        """What is false of a column of the sampled rows, float64[n] being right; and the largest difference."""
        rows, _ = self._sampled
        apart = np.abs(found - rows[column].to_numpy())
        wrong = ~(apart <= SCORE_TOLERANCE * np.maximum(1, np.abs(found)))
        problems = [
            f"{column} is {row[column]:.6g}; the detector gives {right:.6g}: {_place(row)}"
            for row, right in zip(rows.filter(pl.Series(wrong)).iter_rows(named=True), found[wrong], strict=True)
        ]
        return problems, float(apart.max(initial=0.0))

    def _benign(self) -> list[Data]:
        """The benign training windows."""
        return self.graphs.data(self.logs.windows.filter(TRAIN & (pl.col("label") == 0) & OUTSIDE))

    def raw_scores(self) -> Finding:
        """The sampled windows by the weights that the optimizer left."""
        rows, graphs = self._sampled
        claimed, found = _RAW in rows.columns, self.detector.raw_scores(graphs, self._benign)
        if found is None or not claimed:
            none = "there are none: the best weights are not averaged ones"
            if not claimed:
                missing = found is not None and bool(self.claims.metrics.get("raw_weights"))
                return none, [f"column {_RAW!r} is missing"] if missing else []
            return none, [f"not verified: column {_RAW!r}, for the best weights are not averaged ones"]
        problems, largest = self._against(_RAW, found)
        return f"{len(graphs):,} windows by the weights before averaging; largest difference {largest:.1e}", problems

    def id_scores(self) -> Finding:
        """Of the sampled windows: their ids, the score of each, and how many of its frames are labelled."""
        rows, graphs = self._sampled
        found = self.detector.node_scores(graphs)
        there = [name for name in _NODES if name in rows.columns]
        if found is None:
            return "there are none: the detector scores windows", [f"not verified: column {name!r}" for name in there]
        if len(there) < len(_NODES):
            return "their columns", [f"column {name!r} is missing" for name in _NODES if name not in there]
        problems, ids, last = [], 0, 0
        for row, graph in zip(rows.iter_rows(named=True), graphs, strict=True):
            last, first = last + len(graph.key), last
            frames, ids = self._frames(row), ids + len(graph.key)
            right: dict[str, list[Any]] = {"node_key": graph.key.tolist(), "node_score": found[first:last].tolist()}
            for label, name in ((1, "node_attack"), (0, "node_benign")):
                right[name] = [int(((frames.key == key) & (frames.label == label)).sum()) for key in right["node_key"]]
            wrong = differences({name: row[name] for name in _NODES}, right, tolerance=SCORE_TOLERANCE)
            problems += [f"{problem}: {_place(row)}" for problem in wrong]
        return f"{many(ids, 'id')} of {len(graphs):,} windows: score, and frames by label", problems

    def controls(self) -> Finding:
        """The sampled windows by every control of the table: fitted anew, or by its own network."""
        rows, graphs = self._sampled
        names = [name.removeprefix(_CONTROL) for name in rows.columns if name.startswith(_CONTROL)]
        problems, apart = [], 0.0
        fitted = self._fitted_controls([name for name in names if name in SIMPLE])
        for name in names:
            if name in fitted:
                found = fitted[name]
            elif name in self.detector.others:
                found = self.detector.others[name](graphs)
            else:
                problems.append(f"not verified: control {name!r}")
                continue
            wrong, largest = self._against(_CONTROL + name, found)
            problems, apart = problems + wrong, max(apart, largest)
        return f"{', '.join(names) or 'none'}: {len(graphs):,} windows; largest difference {apart:.1e}", problems

    def _fitted_controls(self, names: Sequence[str]) -> dict[str, Floats]:
        rows, graphs = self._sampled
        asked = [
            SeenWindow(_plain(graph), row["t_end"] - row["t_start"], row["label"] == 1)
            for row, graph in zip(rows.iter_rows(named=True), graphs, strict=True)
        ]
        windows = (
            self.logs.windows.filter(TRAIN & OUTSIDE & (pl.col("label") >= 0)) if names else self.logs.windows.clear()
        )
        spans = zip(windows["t_start"], windows["t_end"], windows["label"], strict=True)
        training = [
            SeenWindow(graph, end - start, label == 1)
            for graph, (start, end, label) in zip(self.graphs.kept(windows), spans, strict=True)
        ]
        return {name: SIMPLE[name](training, asked) for name in names}


def _plain(graph: Data) -> ReferenceGraph:
    """What ``as_data`` was given, as far as float32 keeps it."""
    return ReferenceGraph(
        graph.x.double().numpy(), graph.key.numpy(), graph.edge_index.numpy(), graph.edge_attr.double().numpy()
    )


def _place(row: Mapping[str, Any]) -> str:
    return f"rows {row['row_start']}..{row['row_stop']} of {row['capture']!r}"
