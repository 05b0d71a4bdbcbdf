"""A checkpoint is whole or refused by name, holds plain data only, and is written by one process at a time."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from credit_like.config import UserError
from credit_like.training import CheckpointError, load_weights, read_checkpoint, write_checkpoint
from credit_like.training.checkpoint import file_digest, sidecar_of
from credit_like.training.run_folder import RunFolder
from tests.training.toys import Setup, checkpoint_state, frozen


def certified(path: Path) -> None:
    """Write the digest of whatever is at ``path`` beside it."""
    sidecar_of(path).write_text(f"{file_digest(path)}  {path.name}\n", "ascii")


def test_a_checkpoint_may_be_named_by_a_string(tmp_path: Path) -> None:
    model = nn.Linear(2, 1)
    path = tmp_path / "weights.pt"
    state = {"model": {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, "validated": "raw"}
    write_checkpoint(path, state)
    load_weights(str(path), model)
    assert model.weight.tolist() == [[1.0, 1.0]]


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
    write_checkpoint(tmp_path / "checkpoint.pt", checkpoint_state(2))
    write_checkpoint(tmp_path / "backup_checkpoint.pt", checkpoint_state(1))
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
        assert frozen(found[1]) == {"format_version": 1, **frozen(checkpoint_state(1))}
        assert str(path) in found[2][0]


def test_of_the_other_checkpoints_the_furthest_is_used_whatever_its_name(tmp_path: Path) -> None:
    """The latest one is damaged; each of the others is the furthest in turn."""
    (tmp_path / "checkpoint.pt").write_bytes(b"rubbish")
    names = ["backup_checkpoint.pt", "best_checkpoint.pt", "checkpoint_epoch_7.pt"]
    for furthest in names:
        for name in names:
            write_checkpoint(tmp_path / name, checkpoint_state(4 if name == furthest else names.index(name)))
        found = RunFolder(tmp_path).newest_valid()
        assert found is not None
        assert (found[0].name, found[1]["epoch"]) == (furthest, 4)


def test_damage_to_the_digest_file_never_loads_anything_else(tmp_path: Path) -> None:
    path, draw = tmp_path / "checkpoint.pt", random.Random(1)
    write_checkpoint(path, checkpoint_state(1))
    whole = sidecar_of(path).read_bytes()
    refused = named = 0
    for case in range(120):
        how = ("flip", "cut", "drop", "zeros", "grown")[case % 5]
        sidecar_of(path).write_bytes(damaged(whole, how, (0.0, 1.0), draw))
        try:
            assert frozen(read_checkpoint(path)["model"]) == frozen(
                checkpoint_state(1)["model"]
            )  # the damage was in the name
        except CheckpointError as error:
            refused += 1
            named += str(path) in str(error)
    assert named == refused > 60


def test_nothing_is_parsed_before_the_digest_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, checkpoint_state(1))
    path.write_bytes(path.read_bytes() + b"x")
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("parsed"))
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is damaged or was altered: its SHA-256 is \w{16}"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [None, b"", b"garbage\n", b"\xff\xfe", b"0" * 63, b"G" * 64, "folder"])
def test_without_a_readable_digest_file_nothing_loads(content: bytes | str | None, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(path, checkpoint_state(1))
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
    write_checkpoint(path, checkpoint_state(1))
    with pytest.raises(TypeError, match=rf"checkpoint\.extra_state\.deep\[1\] is a .*{name}.* plain data and tensors"):
        write_checkpoint(path, {**checkpoint_state(2), "extra_state": {"deep": [0, value]}})
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
    again = RunFolder(tmp_path)
    try:
        again.acquire()
        assert f"process {os.getpid()} " in (tmp_path / ".lock").read_text()
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
