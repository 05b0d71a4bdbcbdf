"""A fusion of two runs: its experts, what its policy was fitted on, and the table of ways to decide, once more."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from credit_like.verification.certificate_checks import CertificateChecks
from credit_like.verification.checks import Check, Finding, differences, many, timed
from credit_like.verification.claims import Claims, Expert, FusingDetector, Outputs
from credit_like.verification.graphs_again import GraphsAgain
from credit_like.verification.judged import FIGURES, Judged
from credit_like.verification.run_checks import RunChecks
from credit_like.verification.windows import FUSION, OUTSIDE, TEST, VALIDATION

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

#: Figures of the table of ways to decide, and shares of windows, may differ by so much: one decision on the edge of a
#: threshold, or between two alphas worth the same, may turn with the last digit of a float32 sum.
_DECISIONS = 0.005
#: What of an expert's certificate is its own.
_OWN = ("vocabulary", "scaler", "digest")
_FIGURES = ("precision", "recall", "f1", "fpr", "auroc")


class FusionChecks:
    """The checks of a fusion beyond those of its certificate and scores."""

    def __init__(
        self,
        claims: Claims,
        logs: CertificateChecks,
        graphs: GraphsAgain,
        detector: FusingDetector,
        experts: Mapping[str, Expert],
    ) -> None:
        self.claims, self.logs, self.graphs, self.detector, self.experts = claims, logs, graphs, detector, experts
        self.facts = detector.facts
        self.parts = {
            name: RunChecks(Claims(x.certificate, {}, claims.scores, x.data), logs, graphs, x.detector)
            for name, x in experts.items()
        }

    def certificates(self) -> Finding:
        """Each expert's certificate is whole, and about the windows of this run; so are its vocabulary and scaler."""
        problems, own = [], {name: value for name, value in self.claims.certificate.items() if name not in _OWN}
        for name, expert in self.experts.items():
            content = {key: value for key, value in expert.certificate.items() if key != "digest"}
            text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
            if hashlib.sha256(text.encode()).hexdigest() != expert.certificate["digest"]:
                problems.append(f"{name}: the digest is not that of its content: it was changed after it was issued")
            theirs = {key: value for key, value in content.items() if key not in _OWN}
            problems += differences(theirs, own, name)
        said = "digests with contents, and contents with the certificate of the fusion"
        for part in ("vocabulary", "scaler"):  # of the fusion's own certificate: no weight of its policy is about them
            same = [x for x in self.experts.values() if part != "scaler" or x.data[part] == self.claims.data[part]]
            if not same:
                said += f"; its own {part}, which takes no part in it, is not compared"
            elif all(list(differences(self.claims.certificate[part], x.certificate[part])) for x in same):
                problems.append(f"{part} of the fusion's certificate is none of its experts'")
        return f"{', '.join(self.experts)}: {said}", problems

    def _outputs(self, windows: pl.Expr) -> tuple[pl.DataFrame, Outputs]:
        chosen = self.logs.windows.filter(windows & OUTSIDE)
        return chosen, self.detector.outputs(self.graphs.data(chosen))

    @cached_property
    def _learnt_from(self) -> tuple[pl.DataFrame, Outputs]:
        return self._outputs(FUSION)

    def policy(self) -> Finding:
        """What the policy standardises and aligns by comes from the fusion windows, which no expert was trained on."""
        windows, found = self._learnt_from
        deviation = found.columns.std(axis=0)
        benign = np.sort(found.columns[(windows["label"] == 0).to_numpy()][:, :2], axis=0)
        right = {"mean": found.columns.mean(axis=0), "scale": np.where(deviation > 1e-12, deviation, 1.0)}
        if self.facts["align_fpr"]:
            above = max(1, int((len(benign) + 1) * self.facts["align_fpr"]))
            right["points"] = benign[len(benign) - above]
        problems = []
        for name, values in right.items():
            claimed = self.detector.buffers[name].numpy()
            far = np.abs(claimed - values) > 1e-3 * np.maximum(np.abs(values), deviation[: len(values)])
            if far.any():
                problems.append(f"{name}: {int(far.sum())} of {far.size} values are not those of the fusion windows")
        return f"its statistics with those of {many(windows.height, 'fusion window')}", problems

    def metrics(self) -> Check:
        """The part ``fusion`` of metrics.json."""
        claimed = self.claims.metrics.get("fusion") or {}

        def compared() -> Finding:
            loose = ("validation", "test", "benign_by_alpha", "attack_by_alpha", "best_fixed_alpha")
            found = self._document(claimed)
            one, other = ({name: x for name, x in part.items() if name not in loose} for part in (claimed, found))
            problems = list(differences(one, other, "fusion"))
            for name in ("validation", "test"):
                one, other = (_without_words(part[name]) for part in (claimed, found))
                problems += differences(one, other, f"fusion.{name}", _DECISIONS)
            for name in ("benign_by_alpha", "attack_by_alpha"):
                problems += _moved(name, claimed[name], found[name])
            best = [{"best_fixed_alpha": part["best_fixed_alpha"]} for part in (claimed, found)]
            problems += differences(best[0], best[1], "fusion")
            rows = sum(len(found[name]) for name in ("validation", "test"))
            return f"{rows} rows of ways to decide, fitted and decided anew, to within {_DECISIONS}", problems

        return timed("metrics: fusion", compared)

    def _document(self, claimed: Mapping[str, Any]) -> dict[str, Any]:
        threshold, alphas = self.facts["threshold"], self.detector.buffers["alphas"].numpy()
        windows, learnt = self._learnt_from
        decide = _WaysToDecide(self.facts["rewards"], threshold, alphas, learnt, _attacks(windows))
        best = decide.best_fixed(float(claimed["best_fixed_alpha"]))
        found: dict[str, Any] = {
            "agent": self.facts["agent"],
            "experts": self.facts["experts"],
            "threshold": threshold,
            "rewards": self.facts["rewards"],
            "rule": self.facts["rule"],
            "best_fixed_alpha": float(alphas[best]),
            "alphas": [round(float(alpha), 12) for alpha in alphas],
        }
        for name, part in {"validation": VALIDATION, "test": TEST}.items():
            rows, outputs = self._outputs(part)
            found[name] = _rows(decide.all(outputs, _attacks(rows), best), _attacks(rows), threshold, decide)
            if name == "test":
                for label, key in ((0, "benign_by_alpha"), (1, "attack_by_alpha")):
                    chosen = outputs.chosen[_attacks(rows) == bool(label)]
                    found[key] = np.bincount(chosen, minlength=len(alphas)).tolist()
        return found


class _WaysToDecide:
    """A policy's rivals, fitted on the windows that it learnt from."""

    def __init__(
        self, rewards: Mapping[str, float], threshold: float, alphas: Floats, learnt: Outputs, attack: Bools
    ) -> None:
        self.rewards, self.threshold, self.alphas = rewards, threshold, alphas
        self.learnt, self.attack = learnt, attack
        stake = np.where(
            attack,
            rewards["true_positive"] - rewards["false_negative"],
            rewards["true_negative"] - rewards["false_positive"],
        )
        self.classifiers = {
            "logistic regression": LogisticRegression(max_iter=1000),
            "small MLP": MLPClassifier((32,), max_iter=60, n_iter_no_change=60, random_state=0),
        }
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs are meant
            for classifier in self.classifiers.values():
                classifier.fit(learnt.state, attack.astype(int), sample_weight=stake / stake.mean())

    def earned(self, score: Floats, attack: Bools) -> Floats:
        """What each decision is worth, of scores float64[n] or float64[n, alphas]."""
        attack = attack.reshape(-1, *[1] * (score.ndim - 1))
        alarm, worth = score > self.threshold, self.rewards
        sure = ((score - self.threshold) / (1 - self.threshold)).clip(0, 1)
        right = np.where(attack, worth["true_positive"] + worth["confidence"] * sure, worth["false_positive"])
        quiet = np.where(attack, worth["false_negative"], worth["true_negative"])
        return np.where(alarm, right, quiet)

    def fused(self, outputs: Outputs) -> Floats:
        """The mixture at every alpha, float64[n, alphas]."""
        anomaly, gat = outputs.aligned[:, :1], outputs.aligned[:, 1:]
        return (1 - self.alphas) * anomaly + self.alphas * gat

    def best_fixed(self, claimed: float) -> int:
        """The alpha that earned most; the one that is claimed where it earned as much, but for a decision on the edge:
        there lies the window that an expert's threshold comes from."""
        means = self.earned(self.fused(self.learnt), self.attack).mean(axis=0)
        equal = np.flatnonzero(means >= means.max() - _DECISIONS)
        same = equal[np.isclose(self.alphas[equal], claimed)]
        return int(same[0] if len(same) else means.argmax())

    def all(self, outputs: Outputs, attack: Bools, best: int) -> dict[str, Floats]:
        """The score of each window by each way to decide, in the order of the table."""
        fused, each = self.fused(outputs), np.arange(len(outputs.chosen))
        found = {
            "policy": fused[each, outputs.chosen],
            "GAT alone": outputs.aligned[:, 1],
            "anomaly alone": outputs.aligned[:, 0],
            "either": outputs.aligned.max(axis=1),
            "fixed alpha 0.5": outputs.aligned.mean(axis=1),
            "best fixed alpha": fused[:, best],
        }
        for name, classifier in self.classifiers.items():
            p = classifier.predict_proba(outputs.state)[:, 1]
            above, below = self.threshold + (1 - self.threshold) * (2 * p - 1), 2 * self.threshold * p
            found[name] = np.where(p > 0.5, above, below)
        found["oracle"] = fused[each, self.earned(fused, attack).argmax(axis=1)]
        return found


def _rows(scores: Mapping[str, Floats], attack: Bools, threshold: float, decide: _WaysToDecide) -> dict[str, Any]:
    if not len(attack):
        return {}
    rows = {}
    bound = float(decide.earned(scores["oracle"], attack).mean())
    for name, score in scores.items():
        table = pl.DataFrame(
            {"score": score, "label": attack.astype(np.int8), "in_interval": np.zeros(len(attack), bool)}
        )
        judged, reward = Judged(table, threshold), float(decide.earned(score, attack).mean())
        figures = {key: FIGURES[key](judged) for key in _FIGURES}
        undefined = sorted(key for key, value in figures.items() if value is None)
        rows[name] = {"reward": reward, "regret": bound - reward, **figures, "undefined": undefined}
    return rows


def _without_words(rows: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {**row, "undefined": sorted(row["undefined"])} for name, row in rows.items()}


def _moved(name: str, claimed: list[int], found: list[int]) -> Iterator[str]:
    """Windows that an alpha has more or fewer than is claimed."""
    if len(claimed) != len(found) or sum(claimed) != sum(found):
        yield f"fusion.{name} holds {sum(claimed)} windows by {len(claimed)} alphas; there are {sum(found)}"
    elif (apart := sum(abs(a - b) for a, b in zip(claimed, found, strict=True)) / 2) > _DECISIONS * sum(found):
        yield f"fusion.{name} has {apart:g} of {sum(found)} windows at another alpha than the policy gives them"


def _attacks(windows: pl.DataFrame) -> Bools:
    found: Bools = (windows["label"] == 1).to_numpy()
    return found
