"""Trial: the two calls that the engine knows of a hyper-parameter study."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Trial(Protocol):
    """Any object with these, such as ``optuna.Trial``; ``False`` in its place means that there is no study."""

    @property
    def number(self) -> int: ...

    def report(self, value: float, step: int) -> None: ...

    def should_prune(self) -> bool: ...


def is_pruned(trial: Trial | bool, value: float, epoch: int) -> bool:
    """Report the epoch's value, and ask whether the trial is worth going on with."""
    if isinstance(trial, bool):
        return False
    trial.report(value, epoch)
    return bool(trial.should_prune())


def trial_folder(save_loc: Path, number: int) -> Path:
    """``trial_results/trial_<number>`` below ``save_loc``: each trial's checkpoints have a folder of their own."""
    return save_loc / "trial_results" / f"trial_{number}"


def pruned_error(epoch: int, metric: str, value: float) -> Exception:
    """What ``fit`` raises for a pruned trial, everything closed."""
    from optuna import TrialPruned  # only a trial needs it

    return TrialPruned(f"pruned after epoch {epoch + 1}: {metric} {value:.6g}")
