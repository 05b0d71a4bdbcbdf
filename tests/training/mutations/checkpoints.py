"""Defects of checkpoints, resume and what is logged over one."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from credit_like.training import base_trainer, checkpoint, checkpointing, preflight, run_folder
from credit_like.training.base_trainer import BaseTrainer
from credit_like.training.history import History, Patience
from credit_like.training.recorder import Recorder
from tests.training import (
    test_checkpoint,
    test_loggers,
    test_resume,
    test_resume_state,
    test_save_accidents,
)
from tests.training.mutations.mutation import Defects

defects = Defects()


@defects.noticed_by(
    lambda folder, patch: test_save_accidents.test_a_run_whose_disk_filled_can_be_resumed(folder),
    "a resume doubles rows of the log",
)
def appended_log(patch: pytest.MonkeyPatch) -> None:
    def write(self: History, shown: Any) -> None:
        row = shown(self.rows[-1])
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, list(row)).writerow(row)

    patch.setattr(History, "write", write)


@defects.noticed_by(
    lambda folder, patch: test_resume.test_a_measured_step_before_the_run_changes_nothing(folder, patch),
    "preflight changes the weights",
)
def preflight_trains(patch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def kept(trainer: Any) -> Iterator[None]:
        trainer._enter_phase("train")
        trainer._passes = 1
        yield
        trainer._passes = 0

    patch.setattr(preflight, "undone", kept)


@defects.noticed_by(
    lambda folder, _: test_save_accidents.test_a_kill_at_any_system_call_of_a_write_leaves_the_old_or_the_new(folder),
    "checkpoint files are torn",
)
def torn_files(patch: pytest.MonkeyPatch) -> None:
    def stage(path: Path, state: Any) -> tuple[Path, str]:
        with open(path, "wb") as file:
            torch.save({"format_version": 1, **state}, file)
            os.fsync(file.fileno())
        return path, checkpoint.file_digest(path)

    patch.setattr(checkpoint, "stage", stage)


@defects.noticed_by(
    lambda folder, _: test_resume.test_several_accidents_in_a_row("stops early", folder), "patience is lost on resume"
)
def patience_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Patience, "load_state_dict", lambda self, state: None)


@defects.noticed_by(
    lambda folder, _: test_resume_state.test_the_amp_scale_survives(folder), "the AMP scale is lost on resume"
)
def scale_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.amp.GradScaler, "load_state_dict", lambda self, state: None)


@defects.noticed_by(
    lambda folder, _: test_resume.test_interrupted_in_validation("exception", folder), "a resume restarts at epoch 0"
)
def restart(patch: pytest.MonkeyPatch) -> None:
    restore = checkpointing.restore

    def forgetful(trainer: Any, state: Any, path: Path) -> None:
        restore(trainer, state, path)
        trainer.start_epoch = 0

    patch.setattr(checkpointing, "restore", forgetful)


@defects.noticed_by(
    lambda folder, _: test_resume.test_several_accidents_in_a_row("loader with a generator", folder),
    "a resume goes on with the random numbers of a fresh process",
)
def numbers_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("credit_like.training.position.set_rng_state", lambda state: None)


@defects.noticed_by(
    lambda folder, _: test_save_accidents.test_a_damaged_latest_never_becomes_the_backup(folder),
    "a damaged checkpoint displaces the good backup",
)
def damaged_backup(patch: pytest.MonkeyPatch) -> None:
    newest_valid = run_folder.RunFolder.newest_valid

    def trusting(self: run_folder.RunFolder, *wanted: Any) -> Any:
        found = newest_valid(self, *wanted)
        self._latest_digest = checkpoint.file_digest(self.path / run_folder.LATEST)
        return found

    patch.setattr(run_folder.RunFolder, "newest_valid", trusting)


@defects.noticed_by(
    lambda folder, patch: test_checkpoint.test_nothing_is_parsed_before_the_digest_is_right(folder, patch),
    "a file is parsed before it is verified",
)
def parsed_first(patch: pytest.MonkeyPatch) -> None:
    read = checkpoint.read_checkpoint

    def eager(path: Path, *rest: Any) -> Any:
        torch.load(path, weights_only=True)
        return read(path, *rest)

    patch.setattr(test_checkpoint, "read_checkpoint", eager)


@defects.noticed_by(
    lambda folder, patch: test_loggers.test_after_a_resume_no_point_is_doubled_or_lost("exception", folder),
    "a resume doubles points in TensorBoard",
)
def no_purge(patch: pytest.MonkeyPatch) -> None:
    from torch.utils import tensorboard

    writer = tensorboard.SummaryWriter
    patch.setattr(tensorboard, "SummaryWriter", lambda folder, purge_step=None: writer(folder))


@defects.noticed_by(
    lambda folder, _: test_resume.test_stopped_again_before_the_first_batch_of_a_resume(folder),
    "a loader that was put back is asked where it stands before its first batch",
)
def asked_too_early(patch: pytest.MonkeyPatch) -> None:
    between = BaseTrainer._between_batches
    patch.setattr(BaseTrainer, "_between_batches", lambda self, done, loader, known: between(self, done, loader, None))


@defects.noticed_by(
    lambda folder, _: test_resume.test_a_validation_loader_with_a_generator_of_its_own(folder),
    "the order of validation depends on the epochs that the process has seen",
)
def validation_order(patch: pytest.MonkeyPatch) -> None:
    set_epoch = base_trainer.set_epoch

    def of_training_only(loader: Any, seed: int, epoch: int) -> None:
        if loader.batch_size == 4:
            set_epoch(loader, seed, epoch)

    patch.setattr(base_trainer, "set_epoch", of_training_only)


@defects.noticed_by(
    lambda folder, _: test_loggers.test_a_value_that_is_recorded_rarely_is_logged_on_after_a_resume(folder),
    "a resume forgets the latest values that loggers are told",
)
def latest_lost(patch: pytest.MonkeyPatch) -> None:
    load = Recorder.load_state_dict

    def forgetful(self: Recorder, state: Any) -> None:
        load(self, state)
        self.latest = {}

    patch.setattr(Recorder, "load_state_dict", forgetful)
