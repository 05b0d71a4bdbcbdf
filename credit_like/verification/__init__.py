"""Runs verified from the raw logs: slow, plain, and sharing only readers and models with what made the run."""

from credit_like.verification.checks import Check, shortened
from credit_like.verification.claims import Claims, DeployedDetector
from credit_like.verification.fits import PlainScaler, PlainVocabulary
from credit_like.verification.metrics import read_scores_table
from credit_like.verification.run import CHECKS, verify

__all__ = [
    "CHECKS",
    "Check",
    "Claims",
    "DeployedDetector",
    "PlainScaler",
    "PlainVocabulary",
    "read_scores_table",
    "shortened",
    "verify",
]
