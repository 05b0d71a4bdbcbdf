"""Runs verified from the raw logs: slow, plain, and sharing only readers and models with what made the run."""

from credit_like.verification.changed_edges import rewired, without_edges
from credit_like.verification.checks import Check, shortened
from credit_like.verification.claims import Claims, DeployedDetector, Expert, FusingDetector, Outputs, ScoreGraphs
from credit_like.verification.fits import PlainScaler, PlainVocabulary
from credit_like.verification.metrics import read_scores_table
from credit_like.verification.run import CHECKS, verify

__all__ = [
    "CHECKS",
    "Check",
    "Claims",
    "DeployedDetector",
    "Expert",
    "FusingDetector",
    "Outputs",
    "PlainScaler",
    "PlainVocabulary",
    "ScoreGraphs",
    "read_scores_table",
    "rewired",
    "shortened",
    "verify",
    "without_edges",
]
