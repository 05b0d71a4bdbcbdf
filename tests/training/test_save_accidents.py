"""A kill or a full disk in the middle of a save: whatever happens, a whole checkpoint is there afterwards."""

from __future__ import annotations

import builtins
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from credit_like.config import UserError
from credit_like.training import CheckpointError, read_checkpoint, write_checkpoint
from credit_like.training.run_folder import LATEST, RunFolder
from tests.training.accidents import Accident, accident
from tests.training.toys import Setup, batches_of, checkpoint_state, epochs_of, fit_scripted, frozen, outcome

# Dying in a save ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: no clean-up of ours does anything any more."""


@contextmanager
def dying_at(call: int) -> Iterator[list[str]]:
    """The ``call``-th system call of a save, and every later one, is not made any more."""
    asked: list[str] = []

    def mortal(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            asked.append(name)
            if len(asked) >= call:
                raise Killed
            return function(*arguments, **named)

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "link", "fsync", "unlink"):
            patch.setattr(os, name, mortal(name, getattr(os, name)))
        patch.setattr(builtins, "open", mortal("open", open))
        yield asked


@pytest.mark.usefixtures("quick_disk")
def test_a_kill_at_any_system_call_of_a_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    known = {number: frozen(checkpoint_state(number)["model"]) for number in (1, 2)}
    for call in range(1, 100):
        path = tmp_path / str(call) / "checkpoint.pt"
        path.parent.mkdir()
        write_checkpoint(path, checkpoint_state(1))
        with dying_at(call) as asked, suppress(Killed):
            write_checkpoint(path, checkpoint_state(2))
        found = read_checkpoint(path)
        assert frozen(found["model"]) == known[found["epoch"]]
        write_checkpoint(path, checkpoint_state(3))  # and the next life goes on from there
        assert read_checkpoint(path)["epoch"] == 3
        if len(asked) < call:
            break
    assert 8 < call < 99


def test_a_file_is_durable_before_its_name_and_its_name_before_the_old_digest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, checkpoint_state(1))
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")

    def rename(source: Path, target: Path, replace: Any = os.replace) -> None:
        calls.append(f"replace {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    write_checkpoint(path, checkpoint_state(2))
    sidecar = [f"fsync .checkpoint.pt.sha256.{os.getpid()}.tmp", "replace checkpoint.pt.sha256"]
    assert calls == [
        f"fsync .checkpoint.pt.{os.getpid()}.tmp", *sidecar, "replace checkpoint.pt", f"fsync {tmp_path.name}", *sidecar
    ]  # fmt: skip


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("links", [True, False])
def test_a_kill_at_any_system_call_of_a_run_folder_s_save(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    known = {number: frozen(checkpoint_state(number)["model"]) for number in range(4)}
    for call in range(1, 200):
        folder = tmp_path / str(call)
        run = RunFolder(folder)
        run.acquire()
        for number in (0, 1):
            run.save(checkpoint_state(number), best=True, backup=True, epoch_copy=number)
        with dying_at(call) as asked, suppress(Killed):
            run.save(checkpoint_state(2), best=True, backup=True, epoch_copy=2)
        run.release()

        again = RunFolder(folder)
        again.acquire()
        found = again.newest_valid()
        assert found is not None
        path, newest, refusals = found
        assert path.name == "checkpoint.pt"
        assert refusals == []
        assert newest["epoch"] in (1, 2)
        for each in folder.glob("*.pt"):
            content = read_checkpoint(each)
            assert frozen(content["model"]) == known[content["epoch"]]
        assert read_checkpoint(folder / "best_checkpoint.pt")["epoch"] >= newest["epoch"]
        assert not list(folder.glob(".*.tmp"))
        for number in range(newest["epoch"] + 1, 4):
            again.save(checkpoint_state(number), best=number != 3, backup=True, epoch_copy=number)
        again.release()
        epochs = {p.name: read_checkpoint(p)["epoch"] for p in folder.glob("*.pt")}
        assert epochs == {
            "checkpoint.pt": 3, "backup_checkpoint.pt": 2, "best_checkpoint.pt": 2,
            **{f"checkpoint_epoch_{n:04d}.pt": n for n in range(4)},
        }  # fmt: skip
        if len(asked) < call:
            break
    assert 20 < call < 199


def refuse_links(*_: Any, **__: Any) -> None:
    raise OSError(95, "Operation not supported")


def test_nothing_is_deleted_while_the_latest_does_not_verify(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for number in range(3):
        folder.save(checkpoint_state(number), best=False, backup=True, epoch_copy=number)
    whole = (tmp_path / LATEST).read_bytes()
    (tmp_path / LATEST).unlink()  # it is a hard link of the epoch's copy
    (tmp_path / LATEST).write_bytes(whole[:-1])
    folder.keep_epochs({2})
    assert len(list(tmp_path.glob("checkpoint_epoch_*.pt"))) == 3
    (tmp_path / LATEST).write_bytes(whole)
    folder.keep_epochs({2})
    assert [path.name for path in tmp_path.glob("checkpoint_epoch_*.pt")] == ["checkpoint_epoch_0002.pt"]


def test_a_damaged_latest_never_becomes_the_backup(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number in (0, 1):
        run.save(checkpoint_state(number), best=False, backup=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    again = RunFolder(tmp_path)
    found = again.newest_valid()
    assert found is not None
    assert found[1]["epoch"] == 0
    again.save(checkpoint_state(1), best=False, backup=True)
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 0
    again.save(checkpoint_state(2), best=False, backup=True)
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 1


# A disk that is full --------------------------------------------------------------------------------------------------


def limit_files(size: int) -> None:
    """Writing a file beyond ``size`` bytes fails from now on, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def limits_restored() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_full_disk_leaves_the_old_files_whole(share: float, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number in (0, 1):
        run.save(checkpoint_state(number, 50_000), best=True, backup=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with limits_restored():
        limit_files(int(share * len(before["checkpoint.pt"])))
        with pytest.raises(
            CheckpointError, match=r"cannot write .*checkpoint\.pt: File too large\. The files that were"
        ):
            run.save(checkpoint_state(2, 50_000), best=True, backup=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("call", ["replace", "fsync", "link"])
def test_a_disk_that_refuses_any_call_is_a_clear_error(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    for number in (0, 1):
        run.save(checkpoint_state(number), best=False, backup=True)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        patch.setattr("shutil.copyfile", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            run.save(checkpoint_state(2), best=True, backup=True)
    assert read_checkpoint(tmp_path / "checkpoint.pt")["epoch"] == 1
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 0
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.usefixtures("quick_disk")
def test_a_run_whose_disk_filled_can_be_resumed(tmp_path: Path) -> None:
    setup = Setup()
    setup.fit(tmp_path / "undisturbed")
    with limits_restored():
        limit_files(4096)
        with pytest.raises(UserError, match="cannot write"):
            setup.fit(tmp_path / "full")
    with limits_restored(), pytest.raises(UserError, match="cannot write"):
        setup.fit(tmp_path / "full", lambda phase, epoch, batch: limit_files(4096) if epoch == 1 else None)
    setup.fit(tmp_path / "full")
    assert outcome(tmp_path / "full") == outcome(tmp_path / "undisturbed")


@pytest.mark.usefixtures("quick_disk")
def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "training_log.csv").mkdir()
    with pytest.raises(UserError, match=r"training_log\.csv cannot be written"):
        Setup(epochs=1).fit(tmp_path)


def test_a_trainer_that_failed_before_its_first_checkpoint_counts_from_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a notebook: the epoch was trained and noted, its checkpoint was not written, and `fit` is called again."""
    fit_scripted(tmp_path / "other", epochs=2)
    trainer = fit_scripted(tmp_path / "never", epochs=0, load_weights=True)
    sgd = torch.optim.SGD(trainer.model.parameters(), 0.01)
    fit = partial(trainer.fit, {}, batches_of(), batches_of(8), sgd, nn.MSELoss(), nn.MSELoss())
    trainer.epochs = 2
    trainer.losses = (0.5,)  # better than what comes, and of an epoch that never was
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save", lambda *_, **__: accident())
        with pytest.raises(Accident):
            fit()
    trainer.losses = (1.0,)
    fit()
    state = read_checkpoint(tmp_path / "never" / LATEST)
    assert [row["epoch"] for row in state["rows"]] == epochs_of(trainer) == [0, 1]
    assert state["patience"] == {"best_epoch": 0, "best_value": 1.0}
    assert state["step_state"] == read_checkpoint(tmp_path / "other" / LATEST)["step_state"]
