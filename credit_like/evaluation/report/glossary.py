"""What the words of a report mean, for a reader who knows cars and not statistics."""

from __future__ import annotations

from credit_like.evaluation.report.markup import Html, definitions, section, tag

WORDS = {
    "Window": "a stretch of consecutive frames of one bus, 100 of them unless configured otherwise. The detector gives "
    "each window one score, and everything here counts windows unless it says frames or attacks.",
    "Benign window": "one without an attack frame, outside every attack. Only such a window can alarm falsely.",
    "Capture": "one recording of one bus without a break.",
    "Score, threshold, alarm": "the score says how suspicious a window is. Above the threshold it alarms; or only "
    "where enough of the windows before it are above too, if the summary says so.",
    "Attack found": "an attack is one interval of time. It is found when at least one window in it alarms; the time to "
    "alarm runs from its start to the end of the first such window.",
    "Recall": "the share of attack windows above the threshold. 1: none was missed.",
    "Precision": "the share of windows above the threshold that were attacks. It falls when attacks are rare, as they "
    "are on the road, however good the detector is.",
    "F1": "precision and recall in one figure (their harmonic mean), for the attack class.",
    "False-positive rate (FPR)": "the share of benign windows above the threshold.",
    "False alarms an hour": "how often somebody would be called for nothing: alarms that follow each other count once.",
    "AUROC": "area under the ROC curve: the chance that a random attack window has a higher score than a random benign "
    "one. 1 is perfect, 0.5 is a coin; it depends on no threshold.",
    "AUPRC": "area under the precision-recall curve: the average precision over all recalls. Its chance level is the "
    "share of attack windows.",
    "MCC": "Matthews correlation of alarms and attacks: 1 is perfect, 0 is chance, whatever the mix of classes.",
    "Recall at FPR 0.01": "the recall that some threshold reaches while at most 1 % of benign windows alarm.",
    "Precision at recall 0.95": "the precision of the best threshold that finds 95 % of attack windows.",
    "Calibration error": "how far the score is, on average, from the true chance of an attack.",
    "95 % interval": "the range in which a figure would fall, were the test traffic drawn again in stretches of a few "
    "seconds; rough where there are few such stretches. It says nothing about another vehicle.",
    "Control": "a simple detector on the same windows. A graph model that does not beat it is not worth its cost.",
    "Training, validation, test": "traffic to learn from, to set the threshold on, and to judge by, kept apart.",
    "Split certificate": "the record of which rows of which logs were in which of the three, checked for overlap.",
    "Undefined": "a figure that this traffic cannot give, such as recall without an attack window. It is not 0.",
}


def glossary() -> Html:
    """The section at the end of the page."""
    text = "docs/metrics.md of the project has the exact definitions, with their sources."
    return section("words", "What the words mean", definitions(WORDS), tag("p", text, class_="note"))
