"""Logs in one Parquet file and back: nothing lost, nothing read that is not whole, nothing left of what failed."""

from __future__ import annotations

import gzip
import itertools
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from credit_like.can import (
    COLUMNS,
    Capture,
    FrameTable,
    LogError,
    ingest,
    open_log,
    read_dataset,
    read_log,
    simulate,
    write_candump,
)
from credit_like.can._frame_file import FACTS_KEY
from credit_like.can._seal import BLANK, SEAL_KEY, seal
from credit_like.config import UserError
from tests.contracts.record_samples import write_blf

CANDUMP = "({:.6f}) {} {}\n"


def ingested(path: Path, *logs: Path, **options: object) -> Path:
    ingest({log.name: scan for log in logs for scan in open_log(log, **options)}, path)  # type: ignore[arg-type]
    return path


def assert_same(found: list[Capture], expected: list[Capture]) -> None:
    for one, other in zip(found, expected, strict=True):
        for column in COLUMNS:
            np.testing.assert_array_equal(getattr(one.frames, column), getattr(other.frames, column))
        assert one.frames.attack_names == other.frames.attack_names
        assert (one.intervals, one.vehicle) == (other.intervals, other.vehicle)
        assert (one.source.sha256, one.source.defects) == (other.source.sha256, other.source.defects)


def write_lines(path: Path, *lines: tuple[float, str, str]) -> Path:
    path.write_text("".join(CANDUMP.format(*line) for line in lines))
    return path


@pytest.fixture
def messy(tmp_path: Path) -> Path:
    """Interfaces out of order, CAN FD, remote and error frames, ids of 29 bits, a bad line, two captures."""
    lines = [
        (1.6e9 + k / 100, f"can{(k + 1) % 3}", f"{0x100 + k % 5:03X}#{k % 256:02X}{'AB' * (k % 8)}") for k in range(60)
    ]
    lines[10:10] = [(1.6e9 + 0.095, "can0", "18DAF110##1" + "0102" * 6), (1.6e9 + 0.096, "can1", "123#R")]
    lines[20:20] = [(1.6e9 + 0.175, "can2", "20000004#0004000000000000"), (1.6e9 + 0.176, "can0", "7FF#")]
    lines += [(1.5e9 + k / 100, "can0", "0C1#00") for k in range(5)]
    path = write_lines(tmp_path / "messy.log", *lines)
    path.write_text(path.read_text().replace("\n", "\nwhat\n", 1))
    return path


class TestNothingIsLost:
    def test_of_a_log_with_everything_in_it(self, messy: Path, tmp_path: Path) -> None:
        expected = read_log(messy, max_bad_lines=0.1)
        found = read_log(ingested(tmp_path / "frames.parquet", messy, max_bad_lines=0.1))
        assert_same(found, expected)
        assert [capture.name for capture in found] == ["frames.parquet/messy.log", "frames.parquet/messy.log#2"]
        source = found[0].source
        assert source.format == "parquet"
        assert source.path == f"{tmp_path}/frames.parquet/messy.log"
        assert source.reason.startswith("it begins with 'PAR1'; it was made from candump, since 49 of its first 50")
        assert len(source.defects) == 2

    def test_of_labels_families_intervals_and_vehicle(self, tmp_path: Path) -> None:
        log = tmp_path / "drive.csv"
        rows = [f"{k / 100:.2f},{0x100 + k % 7:03X},{k:04X},{int(20 <= k < 30 or 60 <= k < 70)}\n" for k in range(90)]
        log.write_text("timestamp,arbitration_id,data_field,attack\n" + "".join(rows))
        entry = {"types": ["dos", "fuzzy"], "injection_interval": [[0.2, 0.3], [0.6, 0.7]], "vehicle": "sedan"}
        (tmp_path / "injection_metadata.json").write_text(json.dumps({"drive.csv": entry}))
        expected = read_log(log)
        assert set(expected[0].frames.attack_names) == {"", "dos", "fuzzing"}
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        assert_same(read_log(ingested(elsewhere / "frames.parquet", log)), expected)

    def test_of_several_logs_of_several_formats(self, messy: Path, tmp_path: Path) -> None:
        blf, drive = tmp_path / "other.blf", tmp_path / "drive.log.gz"
        write_blf(blf, level=1)
        write_candump(simulate("van", 3, seed=1), drive)
        found = read_log(ingested(tmp_path / "frames.parquet", messy, blf, drive, max_bad_lines=0.1))
        expected = [capture for log in (messy, blf, drive) for capture in read_log(log, max_bad_lines=0.1)]
        assert_same(found, expected)

    @pytest.mark.parametrize("packing", ["gz", "zip"])
    def test_in_an_archive(self, messy: Path, tmp_path: Path, packing: str) -> None:
        path = ingested(tmp_path / "frames.parquet", messy, max_bad_lines=0.1)
        packed = tmp_path / f"frames.{packing}"
        if packing == "gz":
            packed.write_bytes(gzip.compress(path.read_bytes()))
        else:
            with zipfile.ZipFile(packed, "w") as archive:
                archive.writestr("../frames.parquet", path.read_bytes())
                archive.writestr("README.md", "# about it")
        found = read_log(packed)
        assert [capture.frames.t.tolist() for capture in found] == [c.frames.t.tolist() for c in read_log(path)]
        notes = [defect.reason for defect in found[0].source.defects if "zip" in defect.reason]
        assert notes == [
            "not read from the zip: README.md: no log of a known format (its first line is '# about it')"
        ] * (packing == "zip")

    def test_of_what_was_ingested_before(self, messy: Path, tmp_path: Path) -> None:
        first = ingested(tmp_path / "first.parquet", messy, max_bad_lines=0.1)
        assert_same(read_log(ingested(tmp_path / "second.parquet", first)), read_log(first))

    def test_by_whichever_row_group_ends_where(
        self, messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = read_log(messy, max_bad_lines=0.1)
        monkeypatch.setattr("credit_like.can.ingestion._ROW_GROUP", 7)
        found = read_log(ingested(tmp_path / "frames.parquet", messy, max_bad_lines=0.1, block_bytes=100))
        assert_same(found, expected)


class TestEqualContent:
    def test_is_written_once_and_named(self, messy: Path, tmp_path: Path) -> None:
        copy = tmp_path / "copy.log.gz"
        copy.write_bytes(gzip.compress(messy.read_bytes()))
        logs = {log.name: scan for log in (copy, messy) for scan in open_log(log, max_bad_lines=0.1)}
        made = ingest(logs, tmp_path / "frames.parquet")
        assert made.duplicates == (("messy.log", "copy.log.gz"),)
        assert [capture.name for capture in made.captures] == ["copy.log.gz", "copy.log.gz#2"]
        assert len(read_log(tmp_path / "frames.parquet")) == 2

    def test_is_seen_between_a_log_and_the_file_made_of_it(self, messy: Path, tmp_path: Path) -> None:
        ingested(tmp_path / "frames.parquet", messy, max_bad_lines=0.1)
        dataset = read_dataset(tmp_path, progress=False, max_bad_lines=0.1)
        assert [c.name for c in dataset.captures] == ["frames.parquet/messy.log", "frames.parquet/messy.log#2"]
        assert dataset.duplicates == (("messy.log", "frames.parquet/messy.log"),)


class TestRefused:
    def test_a_bad_log_leaves_the_old_file_and_nothing_else(self, messy: Path, tmp_path: Path) -> None:
        path = tmp_path / "frames.parquet"
        path.write_text("the old one")
        with pytest.raises(LogError, match=r"messy\.log: 1 of 70 lines .* are no frames of candump"):
            ingested(path, messy)
        assert path.read_text() == "the old one"
        assert sorted(file.name for file in tmp_path.iterdir()) == ["frames.parquet", "messy.log"]

    def test_a_folder_that_is_not_there(self, messy: Path, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="cannot be written"):
            ingested(tmp_path / "no" / "frames.parquet", messy, max_bad_lines=0.1)

    @pytest.mark.parametrize("end", [KeyboardInterrupt, ValueError])
    def test_an_interruption_leaves_nothing(
        self, messy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
    ) -> None:
        (scan,) = open_log(messy, max_bad_lines=0.1, block_bytes=100)
        whole = scan.frames

        def interrupted() -> Iterator[FrameTable]:
            yield from itertools.islice(whole(), 3)
            raise end("enough")

        monkeypatch.setattr(scan, "frames", interrupted)
        with pytest.raises(end, match="enough"):
            ingest({"messy.log": scan}, tmp_path / "frames.parquet")
        assert [file.name for file in tmp_path.iterdir()] == ["messy.log"]

    def test_no_logs(self, tmp_path: Path) -> None:
        with pytest.raises(LogError, match="there is no log to make it from"):
            ingest({}, tmp_path / "frames.parquet")

    def test_the_parquet_file_of_another(self, tmp_path: Path) -> None:
        path = tmp_path / "table.parquet"
        pl.DataFrame({"t": [0.0]}).write_parquet(path)
        with pytest.raises(
            LogError, match=r"table\.parquet: a Parquet file that `credit-like ingest` did not write; give the"
        ):
            read_log(path)
        write_lines(tmp_path / "drive.log", *((k / 100, "can0", "123#00") for k in range(9)))
        notes = read_dataset(tmp_path, progress=False).notes
        assert notes == ("table.parquet: a Parquet file that `credit-like ingest` did not write",)

    def test_text_that_is_said_to_be_parquet(self, messy: Path) -> None:
        with pytest.raises(LogError, match=r"messy\.log: is not a whole Parquet file of frames \(it ends without"):
            read_log(messy, format="parquet")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (pl.col("id") + 0x800, "an id does not fit its bits"),
            (pl.col("t") * -1, "time is no number, or runs backwards"),
            (pl.col("t") * np.nan, "time is no number"),
            (pl.lit(b"123456789").alias("payload"), "a payload is longer than a frame's"),
            (pl.lit(2, pl.Int8).alias("label"), "a label is none of -1, 0 and 1"),
            (pl.lit(9, pl.Int16).alias("attack"), "an attack has no name"),
            (pl.lit(None, pl.Int16).alias("attack"), "a value is missing"),
            (pl.lit(1, pl.Int32).alias("capture"), "its rows are not in the order of its captures"),
            (pl.col("id").cast(pl.Int64), "its columns are others"),
        ],
    )
    def test_sealed_rows_that_are_no_frames(self, tmp_path: Path, change: pl.Expr, reason: str) -> None:
        log = write_lines(tmp_path / "drive.log", *((k / 100, "can0", "123#00") for k in range(9)))
        path = ingested(tmp_path / "frames.parquet", log)
        facts = pl.read_parquet_metadata(path)[FACTS_KEY]
        pl.read_parquet(path).with_columns(change).write_parquet(path, metadata={FACTS_KEY: facts, SEAL_KEY: BLANK})
        seal(path)
        with pytest.raises(LogError, match=rf"frames\.parquet: is not a whole Parquet file of frames \({reason}"):
            read_log(path)

    @pytest.mark.parametrize(
        ("before", "after", "reason"),
        [
            ('"schema": 1', '"schema": 9', "its schema is 9, this version reads 1"),
            ('"frames": 9', '"frames": 8', "it has 9 rows, which is not what its metadata says"),
            ('"captures"', '"captors"', "'captures'"),
        ],
    )
    def test_sealed_metadata_of_another_kind(self, tmp_path: Path, before: str, after: str, reason: str) -> None:
        log = write_lines(tmp_path / "drive.log", *((k / 100, "can0", "123#00") for k in range(9)))
        path = ingested(tmp_path / "frames.parquet", log)
        facts = pl.read_parquet_metadata(path)[FACTS_KEY].replace(before, after)
        pl.read_parquet(path).write_parquet(path, metadata={FACTS_KEY: facts, SEAL_KEY: BLANK})
        seal(path)
        with pytest.raises(LogError, match=rf"frames\.parquet: is not a whole Parquet file of frames \({reason}"):
            read_log(path)


class TestDamage:
    def test_any_of_it_is_refused_by_name(self, messy: Path, tmp_path: Path) -> None:
        sweep(messy, range(1000), tmp_path)

    @pytest.mark.slow
    def test_much_of_it_is_refused_by_name(self, messy: Path, tmp_path: Path) -> None:
        sweep(messy, range(1000, 4000), tmp_path)


def sweep(log: Path, seeds: range, folder: Path) -> None:
    whole = ingested(folder / "frames.parquet", log, max_bad_lines=0.1).read_bytes()
    path = folder / "damaged.parquet"
    for seed in seeds:
        path.write_bytes(damaged(whole, np.random.default_rng(seed)))
        with pytest.raises(LogError, match=r"damaged\.parquet: "):
            read_log(path, format="parquet")


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three bits, bytes or stretches of it changed, doubled, cut out or put in; never the same as before."""
    found = bytearray(content)
    while found == content:
        for _ in range(rng.integers(1, 4)):
            at = int(rng.integers(len(found)))
            match int(rng.integers(5)):
                case 0:
                    found[at] ^= 1 << int(rng.integers(8))
                case 1:
                    found[at : at + 8] = rng.bytes(8)
                case 2:
                    found[at:at] = found[at : at + int(rng.integers(1, 300))]
                case 3:
                    del found[at : at + int(rng.integers(1, 40))]
                case _:
                    if rng.random() < 0.3 and at:
                        del found[at:]
    return bytes(found)
