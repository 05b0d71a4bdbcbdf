"""What a run fitted and measured, held against the raw logs, its detector and its scores."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, Finding, differences, many, timed
from credit_like.verification.claims import Claims, DeployedDetector
from credit_like.verification.fits import scaler_digest, scaler_problems, statistics
from credit_like.verification.graphs_again import GraphsAgain
from credit_like.verification.metrics import calibration_captures, recomputed, without_words
from credit_like.verification.score_checks import SCORE_TOLERANCE
from credit_like.verification.windows import OUTSIDE, TRAIN, VALIDATION

#: The windows that a part may be fitted on, as the certificate names them.
_FITTED_ON = {
    "benign training windows outside attack intervals": TRAIN & (pl.col("label") == 0) & OUTSIDE,
    "benign training windows": TRAIN & (pl.col("label") == 0),
    "all training windows": TRAIN,
}


class RunChecks:
    """The checks of what goes beyond the certificate; ``logs`` are the windows that it speaks of, cut anew."""

    def __init__(
        self, claims: Claims, logs: CertificateChecks, graphs: GraphsAgain, detector: DeployedDetector
    ) -> None:
        self.claims, self.claimed, self.logs, self.detector = claims, claims.certificate, logs, detector
        self.graphs = graphs

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
            expected = statistics(self.graphs.kept(windows), keys, settings)
            problems += [f"{where}: {x}" for x in scaler_problems(buffers, expected, settings["clip"])]
            for name in ("digest", "refit_digest"):
                problems += differences(self.claimed["scaler"][name], scaler_digest(buffers), f"scaler.{name}")
        if not self._parts("scaler"):
            problems.append("the checkpoint holds no scaler")
        return f"its statistics with those of {windows.height:,} windows, and its digest", problems

    def best_epoch(self) -> Finding:
        """The figure that chose the best epoch is that of validation windows."""
        metric, value = self.detector.metric, self.detector.value
        if value is None:
            return f"{metric} in the checkpoint", [f"the checkpoint holds no {metric}"]
        if not metric.startswith("valid_"):
            return f"it was chosen by {metric}, in which no validation or test window has a part", []
        trained = self.windows.filter(TRAIN & OUTSIDE)["label"].to_list()
        found = {}
        for name, windows in self._chosen_by().items():
            graphs = self.graphs.data(windows)
            found[name] = self.detector.validation(graphs, [trained.count(0), trained.count(1)])
            if abs(found[name] - value) <= SCORE_TOLERANCE * max(1.0, abs(value)):
                return f"{metric} {value:.6g} with that of {len(graphs):,} {name}", []
        shown = ", ".join(f"{other:.6g} ({name})" for name, other in found.items())
        return f"{metric} with that of validation windows", [f"{metric} was {value:.6g}; it is {shown}"]

    def _chosen_by(self) -> dict[str, pl.DataFrame]:
        """The windows that a best epoch may be chosen by: a trainer of benign traffic sees one copy of a drive only."""
        windows = self.windows.filter(VALIDATION & OUTSIDE)
        benign = windows.filter(pl.col("label") == 0)
        once = calibration_captures(benign, [[m["capture"] for m in x["captures"]] for x in self.claimed["groups"]])
        return {
            "validation windows outside attack intervals": windows,
            "benign validation windows outside attack intervals": benign,
            "benign validation windows of one capture a group": benign.filter(pl.col("capture").is_in(once)),
        }

    def metrics(self, apart: Collection[str] = ()) -> Iterator[Check]:
        """One check for each part of metrics.json but those ``apart``."""
        claimed = {name: part for name, part in without_words(self.claims.metrics).items() if name not in apart}
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


def _leaves(part: Any) -> int:
    entries = part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else None
    return 1 if entries is None else sum(map(_leaves, entries))
