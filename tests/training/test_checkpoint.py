"""A checkpoint is whole or refused by name, and whatever happens in a save, a whole one is there afterwards."""

from __future__ import annotations

import builtins
import os
import random
import resource
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from credit_like.config import UserError
from credit_like.training import CheckpointError, read_checkpoint, write_checkpoint
from credit_like.training.checkpoint import file_digest, sidecar_of
from credit_like.training.run_folder import RunFolder
from tests.training.toys import Setup, frozen, outcome


def state(number: int, size: int = 200) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(number)
    return {
        "epoch": number,
        "model": OrderedDict(weight=torch.randn(size, generator=generator), bias=torch.randn(3, generator=generator)),
        "rows": [{"epoch": number, "loss": 0.5}],
    }


def certified(path: Path) -> None:
    """Write the digest of whatever is at ``path`` beside it."""
    sidecar_of(path).write_text(f"{file_digest(path)}  {path.name}\n", "ascii")


# Damage ---------------------------------------------------------------------------------------------------------------

REGIONS = {"header": (0.0, 0.02), "early": (0.02, 0.4), "tensors": (0.4, 0.8), "directory": (0.8, 1.0)}


def damaged(content: bytes, how: str, region: tuple[float, float], draw: random.Random) -> bytes:
    start, stop = (int(len(content) * share) for share in region)
    place = draw.randrange(start, max(start + 1, stop))
    if how == "flip":
        return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
    if how == "cut":
        return content[:place]
    if how == "drop":
        return content[:place] + content[place + draw.randrange(1, 9) :]
    if how == "zeros":
        return content[:place] + bytes(len(content[place : place + 512])) + content[place + 512 :]
    return content + draw.randbytes(draw.randrange(1, 600))  # grown


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("how", ["flip", "cut", "drop", "zeros", "grown"])
def test_damage_is_refused_by_name_and_the_newest_valid_one_is_used(how: str, region: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "checkpoint.pt", state(2))
    write_checkpoint(tmp_path / "backup_checkpoint.pt", state(1))
    path, draw = tmp_path / "checkpoint.pt", random.Random(f"{how} {region}")
    content = path.read_bytes()
    for _ in range(15):
        worse = damaged(content, how, REGIONS[region], draw)
        if worse == content:  # zeros over zeros
            continue
        path.write_bytes(worse)
        with pytest.raises(CheckpointError) as refused:
            read_checkpoint(path)
        assert str(path) in str(refused.value)
        found = RunFolder(tmp_path).newest_valid()
        assert found is not None
        assert found[0].name == "backup_checkpoint.pt"
        assert frozen(found[1]) == {"format_version": 1, **frozen(state(1))}
        assert str(path) in found[2][0]


def test_damage_to_the_digest_file_never_loads_anything_else(tmp_path: Path) -> None:
    path, draw = tmp_path / "checkpoint.pt", random.Random(1)
    write_checkpoint(path, state(1))
    whole = sidecar_of(path).read_bytes()
    refused = named = 0
    for case in range(120):
        how = ("flip", "cut", "drop", "zeros", "grown")[case % 5]
        sidecar_of(path).write_bytes(damaged(whole, how, (0.0, 1.0), draw))
        try:
            assert frozen(read_checkpoint(path)["model"]) == frozen(state(1)["model"])  # the damage was in the name
        except CheckpointError as error:
            refused += 1
            named += str(path) in str(error)
    assert named == refused > 60


def test_nothing_is_parsed_before_the_digest_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, state(1))
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged or was altered: its SHA-256 is \w{16}"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [None, b"", b"garbage\n", b"\xff\xfe", b"0" * 63, b"G" * 64, "folder"])
def test_without_a_readable_digest_file_nothing_loads(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, state(1))
    sidecar_of(path).unlink()
    if content == "folder":
        sidecar_of(path).mkdir()
    elif isinstance(content, bytes):
        sidecar_of(path).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt: its digest file checkpoint\.pt\.sha256 is missing or"):
        read_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*nowhere\.pt"):
        read_checkpoint(tmp_path / "nowhere.pt")


class Bomb:
    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["CREDIT_LIKE_TEST_BOMB"],)


def test_a_file_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_LIKE_TEST_BOMB", str(tmp_path / "exploded"))
    path = tmp_path / "checkpoint.pt"
    torch.save({"format_version": 1, "model": Bomb()}, path)
    certified(path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a credit-like checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x80\x02}q\x00."])
def test_a_foreign_file_with_a_right_digest_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    certified(path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt"):
        read_checkpoint(path)


@pytest.mark.parametrize("foreign", [{"model": {}}, {"format_version": 99}, [1, 2], torch.zeros(2)])
def test_another_format_is_refused(foreign: Any, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(foreign, path)
    certified(path)
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt has checkpoint format .*; this version reads format 1"):
        read_checkpoint(path)


# Plain data -----------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


class Marked(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.float64(1.0), "numpy.float64"),
        (np.int32(1), "numpy.int32"),
        (np.zeros(2), "numpy.ndarray"),
        (Path("x"), "PosixPath"),
        (defaultdict(int), "collections.defaultdict"),
        (Pair(1, 2), "Pair"),
        (torch.zeros(1).as_subclass(Marked), "Marked"),
        (len, "builtin_function_or_method"),
        (nn.Linear(1, 1), "Linear"),
    ],
)
def test_what_could_not_be_read_back_is_refused_at_save_by_name(value: Any, name: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, state(1))
    with pytest.raises(TypeError, match=rf"checkpoint\.extra_state\.deep\[1\] is a .*{name}.* plain data and tensors"):
        write_checkpoint(path, {**state(2), "extra_state": {"deep": [0, value]}})
    assert read_checkpoint(path)["epoch"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "checkpoint.pt.sha256"]


def test_a_key_that_is_no_plain_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="extra_state has a key of type int64"):
        write_checkpoint(tmp_path / "checkpoint.pt", {"extra_state": {np.int64(1): 1}})


def test_plain_data_and_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    plain = {
        "none": None, "yes": True, "int": 3, "float": 0.1, "inf": float("-inf"), "text": "ä", "bytes": b"\0",
        "list": [1, [2]], "tuple": (1, (2.5, None)), "set": {1, 2}, "ints": {0: "a", 7: {"b": ()}}, "complex": 1j,
        "ordered": OrderedDict(b=1, a=2), "size": torch.Size([2, 3]), "dtype": torch.bfloat16,
        "device": torch.device("cpu"),
    }  # fmt: skip
    tensors = {
        "f16": torch.randn(3).half(), "bf16": torch.randn(3).bfloat16(), "f64": torch.randn(2, 2).double(),
        "i64": torch.arange(3), "bool": torch.tensor([True, False]), "empty": torch.zeros(0, 4),
        "view": torch.arange(10.0)[2:5], "parameter": nn.Parameter(torch.ones(2)), "nan": torch.tensor(float("nan")),
    }  # fmt: skip
    write_checkpoint(tmp_path / "checkpoint.pt", {"plain": plain, "tensors": tensors})
    back = read_checkpoint(tmp_path / "checkpoint.pt")
    assert back["plain"] == plain
    assert frozen(back["tensors"]) == frozen(tensors)


# Dying in a save ------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone: no clean-up of ours does anything any more."""


@contextmanager
def dying_at(call: int, after: bool) -> Iterator[list[str]]:
    """The ``call``-th system call of a save is the last: made (``after``) or not; every later one is not made."""
    made: list[str] = []

    def mortal(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            made.append(name)
            if len(made) > call or (len(made) == call and not after):
                raise Killed
            result = function(*arguments, **named)
            if len(made) == call:
                raise Killed
            return result

        return wrapper

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "link", "fsync", "unlink"):
            patch.setattr(os, name, mortal(name, getattr(os, name)))
        patch.setattr(builtins, "open", mortal("open", open))
        yield made


@pytest.mark.usefixtures("quick_disk")
def test_a_kill_at_any_system_call_of_a_write_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    for after in (False, True):
        for call in range(1, 100):
            path = tmp_path / f"{call}{after}" / "checkpoint.pt"
            path.parent.mkdir()
            write_checkpoint(path, state(1))
            with dying_at(call, after) as made, suppress(Killed):
                write_checkpoint(path, state(2))
            found = read_checkpoint(path)
            assert frozen(found["model"]) in (frozen(state(1)["model"]), frozen(state(2)["model"]))
            write_checkpoint(path, state(3))  # and the next life goes on from there
            assert read_checkpoint(path)["epoch"] == 3
            if len(made) < call:
                break
        assert 8 < call < 99


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize("links", [True, False])
def test_a_kill_at_any_system_call_of_a_run_folder_s_save(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse_links)
    known = {number: frozen(state(number)["model"]) for number in range(4)}
    for after in (False, True):
        for call in range(1, 200):
            folder = tmp_path / f"{call}{after}"
            run = RunFolder(folder)
            run.acquire()
            for number in (0, 1):
                run.save(state(number), best=True, backup=True, epoch_copy=number)
            with dying_at(call, after) as made, suppress(Killed):
                run.save(state(2), best=True, backup=True, epoch_copy=2)
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
                again.save(state(number), best=number != 3, backup=True, epoch_copy=number)
            again.release()
            epochs = {p.name: read_checkpoint(p)["epoch"] for p in folder.glob("*.pt")}
            assert epochs == {
                "checkpoint.pt": 3, "backup_checkpoint.pt": 2, "best_checkpoint.pt": 2,
                **{f"checkpoint_epoch_{n:04d}.pt": n for n in range(4)},
            }  # fmt: skip
            if len(made) < call:
                break
        assert 20 < call < 199


def refuse_links(*_: Any, **__: Any) -> None:
    raise OSError(95, "Operation not supported")


def test_a_damaged_latest_never_becomes_the_backup(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    for number in (0, 1):
        run.save(state(number), best=False, backup=True)
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    again = RunFolder(tmp_path)
    found = again.newest_valid()
    assert found is not None
    assert found[1]["epoch"] == 0
    again.save(state(1), best=False, backup=True)
    assert read_checkpoint(tmp_path / "backup_checkpoint.pt")["epoch"] == 0
    again.save(state(2), best=False, backup=True)
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
        run.save(state(number, 50_000), best=True, backup=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with limits_restored():
        limit_files(int(share * len(before["checkpoint.pt"])))
        with pytest.raises(
            CheckpointError, match=r"cannot write .*checkpoint\.pt: File too large\. The files that were"
        ):
            run.save(state(2, 50_000), best=True, backup=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("call", ["replace", "fsync", "link"])
def test_a_disk_that_refuses_any_call_is_a_clear_error(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    for number in (0, 1):
        run.save(state(number), best=False, backup=True)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        patch.setattr("shutil.copyfile", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            run.save(state(2), best=True, backup=True)
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
    with pytest.raises(UserError, match=r"cannot write .*training_log\.csv"):
        Setup(epochs=1).fit(tmp_path)


# One process a folder -------------------------------------------------------------------------------------------------

HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write("process 1234 on elsewhere")
lock.flush()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_folder_in_use_names_its_holder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="is in use by process 1234 on elsewhere; wait for it, or choose another"):
            RunFolder(tmp_path).acquire()
        holder.communicate()
    RunFolder(tmp_path).acquire()


def test_the_lock_says_who_holds_it_and_is_given_back(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.acquire()
    with pytest.raises(UserError, match=f"in use by process {os.getpid()} on "):
        RunFolder(tmp_path).acquire()
    first.release()
    RunFolder(tmp_path).acquire()


def test_a_forked_worker_does_not_hold_the_lock_of_a_run_that_is_gone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.acquire()
    (begun, begins), (stop, stops) = os.pipe(), os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(stops)
        os.write(begins, b"!")
        os.read(stop, 1)
        os._exit(0)
    os.read(begun, 1)
    run.release()
    try:
        RunFolder(tmp_path).acquire()
    finally:
        os.close(stops)
        os.waitpid(worker, 0)


def test_a_save_loc_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write in the run folder .*file/run: Not a directory; choose another"):
        RunFolder(tmp_path / "file" / "run").acquire()


# What it holds --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick_disk")
def test_one_file_holds_everything(tmp_path: Path) -> None:
    Setup(epochs=2, scheduler="plateau", precision="16", every_steps=1).fit(tmp_path, save_every_epoch=True)
    latest, backup, best = (
        read_checkpoint(tmp_path / name) for name in ("checkpoint.pt", "backup_checkpoint.pt", "best_checkpoint.pt")
    )
    parts = {
        "format_version", "model", "ema", "validated", "optimizer", "scheduler", "scaler", "callbacks", "extra_state",
        "patience", "rows", "step_state", "position", "rng", "config", "config_digest", "versions", "epoch",
    }  # fmt: skip
    assert parts <= latest.keys()
    assert latest["validated"] == "ema"
    assert set(latest["ema"]) == {"shadow", "decay", "step"}
    assert {"python", "numpy", "torch", "cuda"} <= set(latest["rng"]["now"])
    assert latest["position"] is None
    assert backup["position"]["batches"] == 7
    assert best["rows"][-1]["epoch"] == best["patience"]["best_epoch"] == best["epoch"]
    assert [read_checkpoint(tmp_path / f"checkpoint_epoch_000{n}.pt")["epoch"] for n in (0, 1)] == [0, 1]


@pytest.mark.usefixtures("quick_disk")
@pytest.mark.parametrize(("setting", "missing"), [("save_best_weights", "best"), ("save_backup_weights", "backup")])
def test_best_and_backup_can_be_left_out(setting: str, missing: str, tmp_path: Path) -> None:
    Setup(epochs=2).fit(tmp_path, **{setting: False})
    kept = {"checkpoint.pt", "best_checkpoint.pt", "backup_checkpoint.pt"} - {f"{missing}_checkpoint.pt"}
    assert {path.name for path in tmp_path.glob("*.pt")} == kept
