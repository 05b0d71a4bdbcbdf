"""Writers: what is written is what the readers give back, whole files or none, and no column that gets lost unsaid."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can import writers
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable
from credit_like.can.read import read_log
from credit_like.can.readers import READERS
from credit_like.can.writers import LABELLED, WRITERS, write_candump, write_crysys, write_ctt_csv, write_hcrl_csv
from credit_like.config import UserError


def table(rows: list[tuple[float, int, int, int, bytes, int]]) -> FrameTable:
    """Frames from (time, id, flags, bus, data, label)."""
    width = 64 if any(flags & FD for _, _, flags, *_ in rows) else 8
    payload = np.zeros((len(rows), width), np.uint8)
    for row, data in zip(payload, [row[4] for row in rows], strict=True):
        row[: len(data)] = list(data)
    return FrameTable.build(
        np.array([row[0] for row in rows]),
        np.array([row[1] for row in rows], np.int32),
        payload,
        np.array([len(row[4]) for row in rows], np.uint8),
        flags=np.array([row[2] for row in rows], np.uint8),
        bus=np.array([row[3] for row in rows], np.uint8),
        label=np.array([row[5] for row in rows], np.int8),
    )


def assert_same(read: FrameTable, written: FrameTable, *columns: str) -> None:
    assert len(read) == len(written)
    assert np.abs(read.t - written.t).max() < 0.8e-6
    for column in columns or ("id", "flags", "bus", "length", "payload", "label"):
        assert np.array_equal(getattr(read, column), getattr(written, column)), column


PLAIN = table(
    [
        (0.0, 0x285, 0, 0, bytes.fromhex("0000000000000D94"), 0),
        (0.000001, 0x000, 0, 0, b"", 1),
        (9.999999, 0x7FF, 0, 0, b"\xff", 0),
        (1678840552.415806, 0x18DAF110, EXTENDED, 0, b"\x02\x3e\x00", 1),
        (1678840552.4159, 0x123, EXTENDED, 0, b"\x01\x02\x03\x04\x05\x06\x07\x08", 0),
    ]
)


def test_candump_lines_are_those_of_can_utils(tmp_path: Path) -> None:
    frames = table(
        [
            (0.5, 0x285, 0, 0, bytes.fromhex("000D94"), 0),
            (1678840552.415684, 0x551, 0, 1, b"", 0),
            (1678840552.415806, 0x18DAF110, EXTENDED, 10, b"\x02\x3e", 0),
            (1678840552.415911, 0x7DF, REMOTE, 0, b"", 0),
            (1678840552.416002, 0x123, FD, 1, bytes(range(12)), 0),
            (1678840552.417698, 0x004, ERROR, 0, b"\0\4\0\0\0\0\0\0", 0),
        ]
    )
    write_candump(frames, tmp_path / "a.log")
    assert (tmp_path / "a.log").read_text() == (
        "(0000000000.500000) can0 285#000D94\n"
        "(1678840552.415684) can1 551#\n"
        "(1678840552.415806) can10 18DAF110#023E\n"
        "(1678840552.415911) can0 7DF#R\n"
        "(1678840552.416002) can1 123##0000102030405060708090A0B\n"
        "(1678840552.417698) can0 20000004#0004000000000000\n"
    )


def test_csv_lines_are_those_of_the_data_sets(tmp_path: Path) -> None:
    write_ctt_csv(PLAIN, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "timestamp,arbitration_id,data_field,attack",
        "0.000000,285,0000000000000D94,0",
        "0.000001,000,,1",
        "9.999999,7FF,FF,0",
        "1678840552.415806,18DAF110,023E00,1",
        "1678840552.415900,00000123,0102030405060708,0",
    ]
    write_hcrl_csv(PLAIN[:4], tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text().splitlines() == [
        "0.000000,0285,8,00,00,00,00,00,00,0d,94,R",
        "0.000001,0000,0,T",
        "9.999999,07ff,1,ff,R",
        "1678840552.415806,18daf110,3,02,3e,00,T",
    ]


@pytest.mark.parametrize("suffix", ["log", "log.gz"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_comes_back_through_its_reader(tmp_path: Path, name: str, suffix: str) -> None:
    assert name in READERS
    path = tmp_path / f"drive.{suffix}"
    WRITERS[name](PLAIN, path)
    (capture,) = read_log(path)
    assert capture.source.format == name
    assert not capture.source.defects
    columns = ("id", "flags", "bus", "length", "payload") + (("label",) if name in LABELLED else ())
    assert_same(capture.frames, PLAIN, *columns)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@st.composite
def any_frames(draw: st.DrawFn, plain: bool) -> FrameTable:
    """Up to 200 frames of every kind that candump knows, or (``plain``) that the CSV formats know."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 200))
    kinds = [0, EXTENDED] if plain else [0, EXTENDED, REMOTE, EXTENDED | REMOTE, FD, EXTENDED | FD, ERROR]
    lengths = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64]
    rows = []
    t = float(draw(st.sampled_from([0.0, 12.5, 1.7e9])))
    for _ in range(n):
        t += int(rng.integers(0, 50_000)) / 1e6
        flags = int(rng.choice(kinds))
        id = int(rng.integers(1 << (29 if flags & EXTENDED else 11)))
        length = 0 if flags & REMOTE else int(rng.choice(lengths if flags & FD else lengths[:9]))
        bus = 0 if plain else int(rng.integers(0, 3))
        rows.append((t, id, flags, bus, rng.bytes(length), int(rng.integers(0, 2))))
    for bus in range(0 if plain else 3):
        # The reader numbers the interfaces that a log has, so each appears.
        rows.append((t + 1e-6 * (bus + 1), 0x100, 0, bus, b"", 0))
    return table(rows)


@given(frames=any_frames(plain=False))
def test_candump_keeps_everything_and_labels_in_columns_of_their_own(
    tmp_path_factory: pytest.TempPathFactory, frames: FrameTable
) -> None:
    path = tmp_path_factory.mktemp("candump") / "any.log"
    write_candump(frames, path)
    assert_same(read_log(path)[0].frames, frames, "id", "flags", "bus", "length", "payload")
    write_crysys(frames, path)
    assert_same(read_log(path)[0].frames, frames)


@given(frames=any_frames(plain=False), name=st.sampled_from(["candump_text", "hcrl_text", "asc", "trc"]))
def test_text_formats_keep_all_that_they_do_not_refuse(
    tmp_path_factory: pytest.TempPathFactory, frames: FrameTable, name: str
) -> None:
    left_out = {"candump_text": 0, "hcrl_text": ERROR | FD, "asc": ERROR | FD, "trc": ERROR}[name]
    kept = frames[frames.flags & left_out == 0]
    kept = replace(kept, bus=kept.bus * 0) if name == "hcrl_text" else kept
    path = tmp_path_factory.mktemp("text") / "any.log"
    if left_out & np.bitwise_or.reduce(frames.flags):
        with pytest.raises(UserError, match="cannot hold"):
            WRITERS[name](frames, path)
    WRITERS[name](kept, path)
    read = read_log(path)[0].frames
    kept = kept if read.payload.shape == kept.payload.shape else replace(kept, payload=kept.payload[:, :8])
    assert_same(read, kept, "id", "flags", "bus", "length", "payload")


@given(frames=any_frames(plain=True), name=st.sampled_from(["can_train_and_test", "hcrl_csv", "daga"]))
def test_csv_keeps_everything(tmp_path_factory: pytest.TempPathFactory, frames: FrameTable, name: str) -> None:
    path = tmp_path_factory.mktemp("csv") / "any.csv"
    WRITERS[name](frames, path)
    assert_same(read_log(path)[0].frames, frames)


def test_a_log_longer_than_one_block_of_lines(tmp_path: Path) -> None:
    n = 70_000
    rng = np.random.default_rng(0)
    frames = FrameTable.build(
        np.arange(n) * 1e-3,
        rng.integers(0, 0x800, n).astype(np.int32),
        rng.integers(0, 256, (n, 8)).astype(np.uint8),
        np.full(n, 8, np.uint8),
        label=rng.integers(0, 2, n).astype(np.int8),
    )
    write_ctt_csv(frames, tmp_path / "long.csv")
    assert_same(read_log(tmp_path / "long.csv")[0].frames, frames)


def test_the_same_frames_make_the_same_gzip(tmp_path: Path) -> None:
    write_candump(PLAIN, tmp_path / "a.log.gz")
    write_candump(PLAIN, tmp_path / "b.log.gz")
    assert (tmp_path / "a.log.gz").read_bytes() == (tmp_path / "b.log.gz").read_bytes()
    write_candump(PLAIN, tmp_path / "a.log")
    assert gzip.decompress((tmp_path / "a.log.gz").read_bytes()) == (tmp_path / "a.log").read_bytes()


@pytest.mark.parametrize("write", [write_ctt_csv, write_hcrl_csv])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"bus": np.array([0, 1, 0, 0, 0], np.uint8)}, "several buses"),
        ({"flags": np.array([0, REMOTE, 0, 1, 1], np.uint8)}, "remote frames"),
        ({"flags": np.array([ERROR, FD, 0, 1, 1], np.uint8)}, "error frames and CAN FD frames"),
        ({"label": np.array([0, 1, -1, 0, 0], np.int8)}, "frames without a label"),
    ],
)
def test_csv_refuses_what_it_cannot_hold(tmp_path: Path, write: object, change: dict, problem: str) -> None:
    with pytest.raises(UserError, match=f"CSV cannot hold {problem}; write candump instead"):
        write(replace(PLAIN, **change), tmp_path / "x.csv")  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no/x\.log cannot be written: No such file or directory"):
        write_candump(PLAIN, tmp_path / "no" / "x.log")
    with pytest.raises(UserError, match=r"not as \.zip; end the name in \.gz"):
        write_candump(PLAIN, tmp_path / "x.zip")
    with pytest.raises(UserError, match=r"cannot hold the time -1 s"):
        write_candump(replace(PLAIN, t=PLAIN.t - 1), tmp_path / "x.log")
    with pytest.raises(UserError, match="CrySyS labels cannot hold frames without a label; write candump instead"):
        write_crysys(replace(PLAIN, label=PLAIN.label - 1), tmp_path / "x.log")
    two = replace(PLAIN, capture=np.array([0, 0, 1, 1, 1], np.int32), capture_names=("a", "b"))
    with pytest.raises(ValueError, match="one capture"):
        write_candump(two, tmp_path / "x.log")
    assert not list(tmp_path.iterdir())


def test_a_failure_half_way_leaves_the_file_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.log"
    write_candump(PLAIN, path)
    before = path.read_bytes()

    def full_disk(frames: FrameTable) -> list[np.ndarray]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writers, "_candump_lines", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write_candump(PLAIN, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["x.log"]


def test_a_log_without_frames_has_its_header(tmp_path: Path) -> None:
    write_ctt_csv(FrameTable.empty(), tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text() == "timestamp,arbitration_id,data_field,attack\n"
