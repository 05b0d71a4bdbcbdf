"""Hyper-parameter search on Optuna: a space in YAML, a study that many processes share, trials that survive a kill.

It knows configuration and Optuna, and nothing of trainers: what a trial does is a function that the caller gives.
"""

from credit_like.hpo.settings import Parameter, SearchSettings
from credit_like.hpo.space import check_space, overrides_of
from credit_like.hpo.study import best_trial, importances, open_study
from credit_like.hpo.worker import Worker

__all__ = [
    "Parameter",
    "SearchSettings",
    "Worker",
    "best_trial",
    "check_space",
    "importances",
    "open_study",
    "overrides_of",
]
