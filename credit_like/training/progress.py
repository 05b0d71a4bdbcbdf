"""Progress: a tqdm bar on a terminal, plain lines otherwise, nothing off rank 0."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from credit_like.training.device import environment_rank


def progress_bar(total: int | None, phase: str, epoch: int, epochs: int, done: int, *, enabled: bool) -> Any:
    """A bar over a phase's batches, ``done`` of them done. Silent off a terminal: ``epoch_line`` speaks there."""
    silent = not enabled or not sys.stderr.isatty()
    return tqdm(
        total=total, initial=done, desc=f"{phase} {epoch + 1}/{epochs}", leave=False, disable=silent, dynamic_ncols=True
    )


def described(phase: str, epoch: int, epochs: int, means: Mapping[str, float], lr: float) -> str:
    """``train 3/10 loss 0.1234 auroc 0.98 lr 1.0e-03``: the phase's running means, then the learning rate."""
    parts = [f"{name.removeprefix(phase + '_')} {value:.4g}" for name, value in without_twins(means).items()]
    return " ".join([f"{phase} {epoch + 1}/{epochs}", *parts, f"lr {lr:.2e}"])


def epoch_line(
    row: Mapping[str, float], epochs: int, improved: bool, seconds: float, display: Sequence[str] = ()
) -> str:
    """One line an epoch: what it scored, how long it took, whether it is the best so far.

    ``display`` names the metrics of both phases that are shown beside the learning rate; empty shows all.
    """
    shown = {"lr", *(f"{phase}_{name}" for phase in ("train", "valid") for name in display)}
    chosen = {name: value for name, value in row.items() if name != "epoch" and (not display or name in shown)}
    parts = [f"{name} {value:.4g}" for name, value in without_twins(chosen).items()]
    mark = "  best so far" if improved else ""
    return f"epoch {int(row['epoch']) + 1}/{epochs}  {'  '.join(parts)}  ({seconds:.1f} s){mark}"


def without_twins(row: Mapping[str, float]) -> dict[str, float]:
    """``row`` without a part that is the whole: ``train_dgi_loss`` where ``train_loss`` is the same number.

    A whole is known by its name: its phase, then the last word of the part's.
    """

    def whole(name: str) -> str:
        phase = name.partition("_")[0]
        return f"{phase}_{name.rpartition('_')[2]}" if phase in ("train", "valid") else name.rpartition("_")[2]

    return {name: value for name, value in row.items() if whole(name) == name or row.get(whole(name)) != value}


def say(message: str, *, enabled: bool = True) -> None:
    """A line for the person at the terminal, above any bar; once, however many processes train."""
    if enabled and environment_rank() == 0:
        tqdm.write(message, file=sys.stderr)
