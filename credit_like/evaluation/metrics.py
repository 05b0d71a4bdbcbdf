"""Window metrics of the attack class. A figure that a set of windows cannot give is None, with the reason."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: Bins of the calibration error; Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 3.
CALIBRATION_BINS = 15

NO_ATTACK = "no attack window"
NO_BENIGN = "no benign window"
NO_ALARM = "no window alarmed"


@dataclass(frozen=True)
class Confusion:
    """Counts of windows; the attack class is positive."""

    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int


def confusion(attack: Bools, alarm: Bools) -> Confusion:
    """Counts over n windows; ``attack`` and ``alarm`` are bool[n]."""
    return Confusion(
        int(np.count_nonzero(attack & alarm)),
        int(np.count_nonzero(~attack & alarm)),
        int(np.count_nonzero(~attack & ~alarm)),
        int(np.count_nonzero(attack & ~alarm)),
    )


def decision_figures(counts: Confusion) -> tuple[dict[str, float | None], dict[str, str]]:
    """precision, recall, f1, mcc and fpr at one threshold, and for each undefined one the reason.

    With attack windows but no alarm F1 is 0 (no true positive); MCC is 0 where alarms say nothing because all windows
    or none alarmed, as in scikit-learn, and undefined where the windows are of one class.
    """
    tp, fp = counts.true_positive, counts.false_positive
    tn, fn = counts.true_negative, counts.false_negative
    figures: dict[str, float | None] = dict.fromkeys(("precision", "recall", "f1", "mcc", "fpr"))
    undefined: dict[str, str] = {}
    single = _single_class(tp + fn, tn + fp)
    if tp + fn:
        figures["recall"] = tp / (tp + fn)
        figures["f1"] = 2 * tp / (2 * tp + fp + fn)
    else:
        undefined |= {"recall": NO_ATTACK, "f1": NO_ATTACK}
    if not (tp + fn):
        undefined["precision"] = NO_ATTACK
    elif tp + fp:
        figures["precision"] = tp / (tp + fp)
    else:
        undefined["precision"] = NO_ALARM
    if tn + fp:
        figures["fpr"] = fp / (tn + fp)
    else:
        undefined["fpr"] = NO_BENIGN
    if single:
        undefined["mcc"] = single
    else:
        scale = float(tp + fp) * float(tp + fn) * float(tn + fp) * float(tn + fn)
        figures["mcc"] = (float(tp) * tn - float(fp) * fn) / scale**0.5 if scale else 0.0
    return figures, undefined


def ranking_figures(attack: Bools, score: Floats) -> tuple[dict[str, float | None], dict[str, str]]:
    """Figures that need no threshold: auroc, auprc, recall at two false-positive rates, precision at recall 0.95.

    ``attack`` bool[n], ``score`` float64[n], higher for a more suspicious window. Recall at a false-positive rate is
    the best that any threshold reaches at or below the rate, without interpolation; a rate below one benign window
    (1/n) cannot be measured and is undefined. Precision at recall 0.95 is the best at any threshold that reaches it.
    """
    names = ("auroc", "auprc", "recall_at_fpr_1e2", "recall_at_fpr_1e3", "precision_at_recall_95")
    figures: dict[str, float | None] = dict.fromkeys(names)
    benign = int(np.count_nonzero(~attack))
    single = _single_class(len(attack) - benign, benign)
    if single:
        return figures, dict.fromkeys(names, single)
    from sklearn.metrics import (  # takes most of a second to import
        average_precision_score,
        precision_recall_curve,
        roc_auc_score,
        roc_curve,
    )

    undefined: dict[str, str] = {}
    figures["auroc"] = float(roc_auc_score(attack, score))
    figures["auprc"] = float(average_precision_score(attack, score))
    false_rate, recall, _ = roc_curve(attack, score, drop_intermediate=False)
    for name, rate in (("recall_at_fpr_1e2", 1e-2), ("recall_at_fpr_1e3", 1e-3)):
        if benign * rate < 1:
            undefined[name] = f"{benign} benign windows cannot resolve a rate of {rate:g}"
        else:
            figures[name] = float(recall[false_rate <= rate].max())
    precision, recall, _ = precision_recall_curve(attack, score)
    figures["precision_at_recall_95"] = float(precision[recall >= 0.95].max())
    return figures, undefined


def calibration_error(attack: Bools, score: Floats) -> tuple[float | None, str]:
    """Expected calibration error of a score that claims to be the probability of an attack, and why it is undefined.

    Sum over 15 equal bins of [0, 1] of ``n_b / n * |share of attacks in b - mean score in b|`` (Guo et al. 2017,
    equation 3, with the attack class's probability in the place of the confidence, since only the attack class is
    reported). Bins are closed at the right, the first one at both ends.
    """
    if len(score) == 0:
        return None, "no window"
    if score.min() < 0 or score.max() > 1:
        return None, "the score is not a probability"
    bins = np.clip(np.ceil(score * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    attacks = np.bincount(bins, weights=attack, minlength=CALIBRATION_BINS)
    claimed = np.bincount(bins, weights=score, minlength=CALIBRATION_BINS)
    return float(np.abs(attacks - claimed).sum() / len(score)), ""


def best_f1(attack: Bools, score: Floats) -> tuple[float, float, float, float] | None:
    """(threshold, precision, recall, f1) of the rule ``score > threshold`` with the highest F1 on these very windows.

    This is what "oracle" figures are made of; None where there is no attack window.
    """
    if not attack.any():
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(attack[order])
    last = np.flatnonzero(
        np.append(ranked[1:] < ranked[:-1], True)
    )  # alarms come whole groups of equal scores at a time
    alarms = last + 1
    f1 = 2 * hits[last] / (alarms + attack.sum())
    best = int(np.argmax(f1))
    lowest_alarm = ranked[last[best]]
    threshold = float(np.nextafter(lowest_alarm, -np.inf))
    recall = float(hits[last[best]] / attack.sum())
    return threshold, float(hits[last[best]] / alarms[best]), recall, float(f1[best])


def _single_class(attack: int, benign: int) -> str:
    if not attack:
        return NO_ATTACK if benign else "no window"
    return "" if benign else NO_BENIGN
