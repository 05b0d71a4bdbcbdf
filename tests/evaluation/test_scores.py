"""The scores file: what is written comes back, what is not whole or not right is refused with a remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from credit_like.can.captures import AttackInterval
from credit_like.config import UserError
from credit_like.evaluation import Scores, read_scores, with_controls, write_scores


def test_what_is_written_comes_back(run: Scores, tmp_path: Path) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, run.frame, run.intervals)
    found = read_scores(path)
    assert found.frame.equals(run.frame)
    assert found.intervals == run.intervals
    assert found.controls == ("id look-up", "timing only", "gradient-boosted trees", "isolation forest")
    assert found.test_sets == ("test",)


def test_an_interval_keeps_every_bit(windows_of: Callable[..., pl.DataFrame], tmp_path: Path) -> None:
    interval = AttackInterval("replay", 1.6e9 + 0.1 + 1e-7, 1.6e9 + 1 / 3)
    write_scores(tmp_path / "s", windows_of("test", "a", 1), {"a": [interval], "b": []})
    assert read_scores(tmp_path / "s").intervals == {"a": (interval,)}


def test_nothing_but_the_table_is_left_in_the_folder(run: Scores, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.parquet", run.frame, run.intervals)
    write_scores(tmp_path / "scores.parquet", run.frame, run.intervals)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_a_write_that_fails_leaves_the_old_table(run: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, run.frame, run.intervals)
    before = path.read_bytes()

    def full(self: pl.DataFrame, file: Path, **_: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_scores(path, run.frame, run.intervals)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_is_missing_is_named(run: Scores, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"missing/scores\.parquet cannot be written: No such file.*Check that its folder"
    ):
        write_scores(tmp_path / "missing" / "scores.parquet", run.frame, run.intervals)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scores\.parquet: no such file\. `credit-like evaluate RUN` writes"):
        read_scores(tmp_path / "scores.parquet")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_torn_file_is_refused(run: Scores, tmp_path: Path, share: float) -> None:
    path = tmp_path / "scores.parquet"
    write_scores(path, run.frame, run.intervals)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        read_scores(path)


def test_a_foreign_parquet_file_is_refused(run: Scores, tmp_path: Path) -> None:
    run.frame.write_parquet(tmp_path / "s")
    with pytest.raises(UserError, match="scores of version 1 are needed; found none"):
        read_scores(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("score"), "column 'score' is missing"),
        (lambda f: f.rename({"t_end": "t_ends"}), r"column 't_end' is missing \(did you mean 't_ends'\?\)"),
        (lambda f: f.with_columns(pl.col("score").cast(pl.Float32)), "column 'score' must be Float64; it is Float32"),
        (lambda f: f.with_columns(capture_id=pl.lit(1)), "column 'capture_id' is not known"),
        (lambda f: f.with_columns(pl.lit(None, pl.String).alias("family")), "'family' has 3 empty value"),
        (lambda f: f.with_columns(score=pl.lit(float("nan"))), "'score' has values that are not finite"),
        (lambda f: f.with_columns(split=pl.lit("train")), "split 'train' does not belong here"),
        (lambda f: f.with_columns(label=pl.lit(2, pl.Int8)), "label must be -1, 0 or 1; row 0 breaks it"),
        (lambda f: f.with_columns(t_end=pl.col("t_start") - 1), "must not end before it starts; row 0"),
        (lambda f: f.with_columns(row_stop=pl.col("row_start")), "row_stop must be above row_start"),
    ],
)
def test_a_table_that_breaks_a_rule_is_refused(
    change: Callable[[pl.DataFrame], pl.DataFrame],
    message: str,
    windows_of: Callable[..., pl.DataFrame],
    tmp_path: Path,
) -> None:
    broken = change(windows_of("test", "a", 3))
    with pytest.raises(ValueError, match=message):
        write_scores(tmp_path / "s", broken, {})
    broken.write_parquet(tmp_path / "s", metadata={"credit_like.scores": "1", "credit_like.intervals": "[]"})
    with pytest.raises(UserError, match=message + r".*Write it anew with `credit-like evaluate RUN`"):
        read_scores(tmp_path / "s")


@pytest.mark.parametrize(
    "text", ["", "{", '[{"capture": "a"}]', '[{"capture": "a", "family": "dos", "start": "x", "stop": 1}]']
)
def test_intervals_that_cannot_be_read_are_refused(
    text: str, windows_of: Callable[..., pl.DataFrame], tmp_path: Path
) -> None:
    metadata = {"credit_like.scores": "1", "credit_like.intervals": text}
    windows_of("test", "a", 3).write_parquet(tmp_path / "s", metadata=metadata)
    with pytest.raises(UserError, match="attack intervals in the file's metadata cannot be read"):
        read_scores(tmp_path / "s")


def test_a_control_needs_one_score_a_window(windows_of: Callable[..., pl.DataFrame]) -> None:
    with pytest.raises(ValueError, match=r"'timing only' must have 3 scores, one a window; got \(2,\)"):
        with_controls(windows_of("test", "a", 3), {"timing only": np.zeros(2)})
