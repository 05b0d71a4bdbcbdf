"""What of a trainer goes into a checkpoint, and how it comes back."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import nn

from credit_like.config import UserError, flat
from credit_like.training.checkpoint import CheckpointError, read_checkpoint
from credit_like.training.ema import put_into_model
from credit_like.training.position import Position
from credit_like.training.progress import say
from credit_like.training.rng import rng_state, set_rng_state
from credit_like.training.run_folder import GIVEN_UP, LATEST, RunFolder
from credit_like.training.sharding import part_of, parts_of_optimizer, whole
from credit_like.training.wrapping import unwrapped

if TYPE_CHECKING:
    from credit_like.training.base_trainer import BaseTrainer
    from credit_like.training.distribution import Processes


def save(trainer: BaseTrainer, epoch: int) -> None:
    """At the end of ``epoch``: the latest checkpoint, the backup before it, copies of the best and of wanted epochs."""
    state, folder = snapshot(trainer, epoch), trainer._folder

    def write() -> None:
        folder.save(
            state,
            best=trainer.save_best_weights and trainer.patience.best_epoch == epoch,
            backup=trainer.save_backup_weights,
            epoch_copy=epoch if trainer.save_every_epoch or trainer.save_top_k else None,
        )
        prune(trainer, folder)

    trainer.processes.main_does(write)
    trainer._note_save()


def save_in_epoch(trainer: BaseTrainer, position: Position) -> None:
    """The latest checkpoint, at a position in the present epoch, and the backup before it."""
    state = snapshot(trainer, trainer._epoch, position)
    trainer.processes.main_does(
        lambda: trainer._folder.save(state, best=False, backup=trainer.save_backup_weights),
    )


def keep_failure(trainer: BaseTrainer) -> None:
    """Save as it is now, under a name that is never resumed from; rank 0 alone, since the others may have gone.

    Where each process has a part of the weights nothing is saved.
    """
    if trainer.rank or trainer.sharded:
        return
    try:
        trainer._folder.save_aside({**snapshot(trainer, trainer._epoch, alone=True), "at_failure": True})
    except Exception as second:  # noqa: BLE001 - whatever it is, it must not hide the first
        say(f"the state at the failure could not be kept: {second}")


def snapshot(
    trainer: BaseTrainer, epoch: int, position: Position | None = None, *, alone: bool = False
) -> dict[str, Any]:
    """Everything that a resume needs, at the end of ``epoch`` or at a position in it: plain data and tensors.

    ``model`` is always the raw weights; ``validated`` says whether the metrics belong to them or to ``ema``. What each
    process has of its own (random numbers, position, means so far, the state of callbacks and subclass) stands on the
    top level for rank 0 and in ``other_processes`` for the rest. Every process calls this, and only rank 0 gets
    anything; ``alone`` asks no other.
    """
    own = _own_part(trainer, position)
    everybody = [own] if alone else trainer.processes.gathered(own)
    if trainer.rank and not trainer.sharded:
        return {}
    weights = {
        "model": trainer._model_state_dict(trainer.model),
        "ema": None if trainer.ema is None else trainer.ema.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
    }
    if trainer.sharded:
        weights = whole(weights)
    if trainer.rank:
        return {}
    config = as_json(trainer.conf)
    return {
        "epoch": epoch,
        **weights,
        "validated": "ema" if trainer.ema is not None and trainer.ema.step and not trainer.skip_validation else "model",
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "scaler": None if trainer.scaler is None else trainer.scaler.state_dict(),
        "patience": trainer.patience.state_dict(),
        "rows": [dict(row) for row in trainer.history.rows],
        "step_state": trainer.step_state.state_dict(),
        "skipped_in_a_row": trainer._skipped_in_a_row,
        **everybody[0],
        "other_processes": everybody[1:],
        "config": config,
        "config_digest": hashlib.sha256(config.encode()).hexdigest(),
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__},
    }


def resume_or_start(trainer: BaseTrainer, folder: RunFolder) -> None:
    """With ``load_weights``, go on from the newest valid checkpoint; without, refuse a folder that holds a run."""
    found = (
        trainer.processes.main_does(lambda: folder.newest_valid(trainer.resume_from)) if trainer.load_weights else None
    )
    if found is not None:
        path, state, refusals = found
        for refusal in refusals:
            say(f"not resumed from: {refusal}")
        restore(trainer, state, path)
        if path == trainer.resume_from and path != folder.path / LATEST:
            moved = trainer.processes.main_does(lambda: folder.branch_off(path, state))
            say(f"given up, and kept in {folder.path / GIVEN_UP}: {', '.join(moved) or 'nothing'}", enabled=bool(moved))
        prune(trainer, folder)  # which the last life may have died before
        part = f" and {trainer._resumed.batches} batches of the next" if trainer._resumed is not None else ""
        for change in changed_settings(json.loads(state["config"]), trainer.conf):
            say(f"changed since the checkpoint: {change}")
        say(f"resuming from {path.name}: {trainer.start_epoch} epoch(s){part} done")
        return
    if trainer.load_weights:
        say(f"nothing to resume from in {folder.path}: a fresh start")
    elif refusal := trainer.processes.main_does(lambda: folder.refusal(trainer.history.path, trainer.going_on)):
        raise UserError(refusal)
    # A trainer that failed before its first checkpoint keeps its weights, and counts from the beginning again.
    trainer.history.rows.clear()
    trainer.patience.forget()
    trainer.step_state.restart()


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``trainer.epochs 6 -> 12`` for each trainer setting that differs; that of the resume itself is left out."""
    old, new = (flat({"trainer": conf.get("trainer") or {}}) for conf in (before, json.loads(as_json(now))))
    names = [name for name in {**old, **new} if name != "trainer.load_weights" and old.get(name) != new.get(name)]
    return [f"{name} {old.get(name, 'default')} -> {new.get(name, 'default')}" for name in names]


def prune(trainer: BaseTrainer, folder: RunFolder) -> None:
    """With ``save_top_k``, leave the checkpoints of so many best epochs."""
    if trainer.save_top_k and not trainer.save_every_epoch:
        folder.keep_epochs(trainer.history.best_epochs(trainer.training_metric, trainer.direction, trainer.save_top_k))


def restore(trainer: BaseTrainer, state: Mapping[str, Any], path: Path) -> None:
    """Put ``trainer`` back to where ``state`` was taken. Raises CheckpointError when they do not belong together."""
    own = _own_part_of(state, trainer.processes, path)
    trainer._load_model_state_dict(trainer.model, state["model"])
    parts = (("optimizer", trainer.optimizer), ("scheduler", trainer.scheduler), ("scaler", trainer.scaler))
    for name, part in (*parts, ("ema", trainer.ema)):
        saved = state[name]
        if (saved is None) != (part is None):
            has, lacks = ("the checkpoint", "this run") if part is None else ("this run", "the checkpoint")
            raise CheckpointError(f"{path}: {has} has a {name} and {lacks} has none; resume with the same settings")
        if part is not None:
            try:
                if name == "optimizer" and trainer.sharded:
                    saved = parts_of_optimizer(saved, trainer.optimizer)
                part.load_state_dict(saved)
            except (ValueError, KeyError, RuntimeError) as error:
                raise CheckpointError(f"{path}: its {name} is of another setup: {error}") from error
    trainer._hooks.load_state_dict(own["callbacks"])
    trainer.load_extra_state(own["extra_state"])
    trainer.patience.load_state_dict(state["patience"])
    trainer.history.rows = [dict(row) for row in state["rows"]]
    for name, value in state["step_state"].items():
        setattr(trainer.step_state, name, value)
    trainer.step_state.num_processes = trainer.processes.size
    trainer._skipped_in_a_row = int(state["skipped_in_a_row"])
    trainer._note_save()
    partial = own["position"]
    trainer.start_epoch = int(state["epoch"]) + (partial is None)
    if partial is not None:
        trainer._resumed = Position(partial["batches"], own["rng"]["now"], partial["loader"])
        trainer._partial_epoch, trainer._epoch_rng = partial, own["rng"]["epoch_start"]


def comparable(conf: Mapping[str, Any]) -> dict[str, Any]:
    """``conf`` by dotted names, equal in all processes that were given the same: of an object, its type alone."""
    return flat(json.loads(as_json(conf, other=lambda value: type(value).__name__)))


def as_json(conf: Mapping[str, Any], other: Callable[[Any], str] = str) -> str:
    """``conf`` as text; mappings of any kind become objects, and ``other`` says what JSON has no word for."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): plain(entry) for key, entry in value.items()}
        return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value

    return json.dumps(plain(conf), sort_keys=True, default=other)


def reenter_epoch(trainer: BaseTrainer) -> None:
    """Back into the epoch that a checkpoint was taken in: its random state at the start, and its means so far."""
    set_rng_state(trainer._epoch_rng)
    partial = trainer._partial_epoch
    trainer._recorder.load_state_dict(partial["recorder"])
    trainer._weights = list(partial["weights"])
    trainer._stepped_this_epoch, trainer._last_lr = partial["stepped"], partial["last_lr"]


def _own_part(trainer: BaseTrainer, position: Position | None) -> dict[str, Any]:
    """What each process has of its own."""
    return {
        "callbacks": trainer._hooks.state_dict(),
        "extra_state": trainer.extra_state(),
        "rng": {"epoch_start": trainer._epoch_rng, "now": rng_state() if position is None else position.rng},
        "position": None if position is None else _partial_epoch(trainer, position),
    }


def _own_part_of(state: Mapping[str, Any], processes: Processes, path: Path) -> Mapping[str, Any]:
    """What a checkpoint holds for this process. Raises CheckpointError in mid-epoch for another number of them."""
    before, others = int(state["step_state"]["num_processes"]), state.get("other_processes", [])
    if before == processes.size:
        return others[processes.rank - 1] if processes.rank else state
    if state["position"] is not None:
        raise CheckpointError(
            f"{path} was taken in the middle of an epoch by {before} process(es), each with its own share of the data, "
            f"and now there are {processes.size}: go on with {before}; from the end of an epoch on any number will do"
        )
    say(
        f"{path.name} is of {before} process(es), now there are {processes.size}: weights, optimizer, averages and log "
        "go on exactly, random numbers and rounding do not; callbacks and trainer take rank 0's state"
    )
    return state


def _partial_epoch(trainer: BaseTrainer, position: Position) -> dict[str, Any]:
    return {
        "batches": position.batches,
        "loader": position.loader,
        "recorder": trainer._recorder.state_dict(),
        "weights": list(trainer._weights),
        "stepped": trainer._stepped_this_epoch,
        "last_lr": trainer._last_lr,
    }


def load_weights(
    path: str | Path,
    model: nn.Module,
    map_location: torch.device | str = "cpu",
    which: Literal["validated", "raw"] = "validated",
) -> dict[str, Any]:
    """Put a checkpoint's weights into ``model``; returns the state.

    ``validated`` are those that its metrics belong to, averaged or raw (``state["validated"]`` says which); ``raw`` are
    those that the optimizer left. Raises CheckpointError when the file does not verify or is of another model.
    """
    state = read_checkpoint(path, map_location)
    load_state(model, state["model"], path)
    if which == "validated" and state["validated"] == "ema":
        put_into_model(state["ema"]["shadow"], model)
    return state


def load_state(model: nn.Module, weights: Mapping[str, Any], source: object) -> None:
    """``load_state_dict``, strict, with an error that says what does not fit."""
    module = unwrapped(model)
    own = module.state_dict()
    try:
        module.load_state_dict({name: part_of(value, own.get(name, value)) for name, value in weights.items()})
    except RuntimeError as error:
        reasons = [_shortened(line.strip()) for line in str(error).splitlines()[1:4]]
        raise CheckpointError(
            f"{source} is of another model: {' '.join(reasons)} Take the checkpoint that this configuration trained"
        ) from error


def _shortened(line: str, most: int = 3) -> str:
    """A line of torch's complaint with the first names of its list, which can be a hundred."""
    first, *names = line.rstrip(". ").split(", ")
    left = len(names) + 1 - most
    return f"{', '.join([first, *names[: most - 1]])} and {left} more." if left > 0 and first.endswith('"') else line
