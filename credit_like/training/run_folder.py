"""RunFolder: who may write in a save_loc, the names of its checkpoints, and which of them to resume from."""

from __future__ import annotations

import fcntl
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from credit_like.config import ConfigError, UserError
from credit_like.training.checkpoint import (
    CheckpointError,
    duplicate,
    file_digest,
    read_checkpoint,
    replace,
    sidecar_of,
    stage,
    verifies,
    write_checkpoint,
)

LATEST, BACKUP, BEST = "checkpoint.pt", "backup_checkpoint.pt", "best_checkpoint.pt"
ASIDE = "exception_checkpoint.pt"
GIVEN_UP = "given_up"
LOG = "training_log.csv"
LOCK = ".lock"


class RunFolder:
    """The checkpoints of one run, written by one process at a time.

    ``checkpoint.pt`` is the latest, ``backup_checkpoint.pt`` the one before, ``best_checkpoint.pt`` the best so far,
    ``checkpoint_epoch_0007.pt`` and the like those of every epoch when they are asked for.
    """

    def __init__(self, path: Path, best_name: str = BEST) -> None:
        self.path, self.best_name = path, best_name
        self._lock: TextIO | None = None
        self._latest_digest: str | None = None  # of a latest checkpoint that is known to be whole

    def acquire(self) -> None:
        """Make the folder and take its lock; remove what a killed writer left half-written.

        Raises UserError when the folder cannot be written, or another process holds it (which is named).
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = open(self.path / LOCK, "a+", encoding="utf-8")  # noqa: SIM115  held as long as the run
        except OSError as error:
            raise UserError(
                f"cannot write in the run folder {self.path}: {error.strerror}; choose another save_loc"
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            lock.close()
            raise UserError(
                f"the run folder {self.path} is in use by {holder}; wait for it, or choose another save_loc"
            ) from error
        lock.seek(0)
        lock.truncate()
        lock.write(f"process {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        lock.flush()
        self._lock = lock
        _held.add(lock)
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)

    def release(self) -> None:
        if self._lock is not None:
            _held.discard(self._lock)
            self._lock.close()  # closing gives the flock back
            self._lock = None

    def refusal(self, log: Path, going_on: str) -> str:
        """Why nothing new, which writes ``log``, may begin here, and what to do; empty where something may."""
        names = (LATEST, BACKUP, BEST, self.best_name)
        if any((self.path / name).exists() for name in names) or self._epoch_files():
            return f"{self.path} holds a run already; {going_on}"
        if log.exists():  # killed before its first checkpoint, or somebody removed those
            return (
                f"{log} is of a run, and {self.path} holds no checkpoint to resume from; remove the log to begin anew, "
                "or name another save_loc"
            )
        return ""

    def save(self, state: dict[str, Any], *, best: bool, backup: bool, epoch_copy: int | None = None) -> None:
        """Write the latest checkpoint; what was latest becomes the backup; a best one also becomes ``best``.

        The new file is complete on disk before an old one is touched.
        """
        latest = self.path / LATEST
        temporary, digest = stage(latest, state)
        try:
            if best:
                duplicate(temporary, digest, self.path / self.best_name)
            if epoch_copy is not None:
                duplicate(temporary, digest, self.path / f"checkpoint_epoch_{epoch_copy:04d}.pt")
            if backup and self._latest_digest is not None:
                duplicate(latest, self._latest_digest, self.path / BACKUP)
            # Last: a run that is killed before this resumes one save behind, and writes all of the above again.
            replace(latest, (temporary, digest))
        finally:
            temporary.unlink(missing_ok=True)
        self._latest_digest = digest

    def keep_epochs(self, epochs: set[int]) -> None:
        """Delete the checkpoints of other epochs, once the latest is verified to be whole on the disk."""
        others = [path for path in self._epoch_files() if _epoch(path) not in epochs]
        known = self._latest_digest
        if others and known is not None and file_digest(self.path / LATEST) == known:
            for path in others:
                path.unlink()
                sidecar_of(path).unlink(missing_ok=True)

    def save_aside(self, state: dict[str, Any]) -> None:
        """Keep ``state`` as ``exception_checkpoint.pt``, which ``newest_valid`` does not know."""
        write_checkpoint(self.path / ASIDE, state)

    def branch_off(self, source: Path, state: Mapping[str, Any]) -> list[str]:
        """The run goes on from ``source``, an older checkpoint: put those that go further where no resume looks.

        A fall-back, or a test of the best weights, would take them for this run's. The best epoch's file becomes the
        best checkpoint again where it is known. Returns the names of what was moved to ``given_up/``.
        """
        moved, best = [], state["patience"]["best_epoch"]
        for path in (path for path in self._known() if path.exists() and path != source and verifies(path)):
            if _reached(read_checkpoint(path)) > _reached(state):
                (self.path / GIVEN_UP).mkdir(exist_ok=True)
                duplicate(path, file_digest(path), self.path / GIVEN_UP / path.name)
                path.unlink()
                sidecar_of(path).unlink()
                moved.append(path.name)
        if self.best_name in moved:
            for path in (path for path in (source, *self._epoch_files()) if verifies(path)):
                if _reached(read_checkpoint(path)) == (best, math.inf):
                    duplicate(path, file_digest(path), self.path / self.best_name)
                    break
        return moved

    def newest_valid(self, wanted: Path | None = None) -> tuple[Path, dict[str, Any], list[str]] | None:
        """The furthest checkpoint that verifies: (path, state, refusals of those that did not); None where none is.

        ``wanted`` goes before all others, then the latest; only where neither verifies are the rest compared. Raises
        CheckpointError when there are checkpoints and every one is refused: that run must not start afresh.
        """
        refusals: list[str] = []
        latest, furthest = self.path / LATEST, None
        for path in self._known() if wanted is None else dict.fromkeys((wanted, *self._known())):
            if path.exists():
                try:
                    state = read_checkpoint(path)
                except CheckpointError as error:
                    refusals.append(str(error))
                    continue
                if state.get("altered_by"):
                    refusals.append(f"{path} holds weights that {state['altered_by']} altered after training")
                    continue
                if state.get("at_failure"):
                    refusals.append(f"{path} is the state at a failure, somewhere within epoch {state['epoch'] + 1}")
                    continue
                if path in (wanted, latest):
                    self._latest_digest = file_digest(path) if path == latest else None
                    return path, state, refusals
                if furthest is None or _reached(state) > _reached(furthest[1]):
                    furthest = path, state
        self._latest_digest = None
        if furthest is not None:
            return *furthest, refusals
        if refusals:
            raise CheckpointError(
                "no checkpoint of this run can be resumed from:\n  " + "\n  ".join(refusals)
                + "\nRestore one from a copy, or choose another save_loc to start afresh"
            )  # fmt: skip
        return None

    def _known(self) -> list[Path]:
        return [
            *(self.path / name for name in (LATEST, BACKUP)),
            *reversed(self._epoch_files()),
            self.path / self.best_name,
        ]

    def _epoch_files(self) -> list[Path]:
        return sorted((p for p in self.path.glob("checkpoint_epoch_*.pt") if _EPOCH_FILE(p.name)), key=_epoch)


def _let_go() -> None:
    """In a forked child (a loader's worker): it must not hold the lock for a run that was killed."""
    while _held:
        _held.pop().close()


_held: set[TextIO] = set()
os.register_at_fork(after_in_child=_let_go)


def _reached(state: Mapping[str, Any]) -> tuple[int, float]:
    """How far a checkpoint goes: its epoch, and the batches of it that were done where it was taken in the middle."""
    return state["epoch"], math.inf if state["position"] is None else state["position"]["batches"]


def _epoch(path: Path) -> int:
    return int(path.stem.rsplit("_", 1)[1])


_EPOCH_FILE = re.compile(r"checkpoint_epoch_\d+\.pt$").match


def run_folder_path(conf: Mapping[str, Any]) -> Path:
    """``conf["save_loc"]`` with ``~`` and environment variables expanded. Raises ConfigError where one is not set."""
    if not conf.get("save_loc"):
        raise ConfigError("conf has no save_loc: name the folder that checkpoints and logs go to")
    expanded = os.path.expandvars(os.path.expanduser(str(conf["save_loc"])))
    if "$" in expanded:
        raise ConfigError(f"save_loc {str(conf['save_loc'])!r} names an environment variable that is not set")
    return Path(expanded)
