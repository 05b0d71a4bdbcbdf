"""Scores to metrics, thresholds, events, controls and the report."""

from credit_like.evaluation.alarms import AlarmRule, AlarmSettings
from credit_like.evaluation.comparison import Comparison, JudgedRun, compare
from credit_like.evaluation.controls import CONTROLS, control_scores
from credit_like.evaluation.document import SCHEMA_VERSION, Metrics, json_schema
from credit_like.evaluation.evaluate import EvaluationSettings, evaluate, traffic_groups
from credit_like.evaluation.explanations import Explanations, explain, top_alarms
from credit_like.evaluation.figures import WindowSet, window_set
from credit_like.evaluation.frames import with_nodes
from credit_like.evaluation.report import write_comparison, write_report
from credit_like.evaluation.retrained import NO_EDGES, RETRAINED, REWIRED
from credit_like.evaluation.scores import Scores, read_scores, with_controls, with_raw, write_scores
from credit_like.evaluation.thresholds import Threshold, conformal_threshold

__all__ = [
    "CONTROLS",
    "NO_EDGES",
    "RETRAINED",
    "REWIRED",
    "SCHEMA_VERSION",
    "AlarmRule",
    "AlarmSettings",
    "Comparison",
    "EvaluationSettings",
    "Explanations",
    "JudgedRun",
    "Metrics",
    "Scores",
    "Threshold",
    "WindowSet",
    "compare",
    "conformal_threshold",
    "control_scores",
    "evaluate",
    "explain",
    "json_schema",
    "read_scores",
    "top_alarms",
    "traffic_groups",
    "window_set",
    "with_controls",
    "with_nodes",
    "with_raw",
    "write_comparison",
    "write_report",
    "write_scores",
]
