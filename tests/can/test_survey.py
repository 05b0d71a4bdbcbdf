"""Survey: the figures of a capture, whatever the blocks that it comes in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from credit_like.can import ERROR, EXTENDED, FD, REMOTE, FrameTable, bus_load, read_log, simulate
from credit_like.can.survey import Survey, is_extended
from tests.contracts.record_samples import write_blf


def surveyed(frames: FrameTable, size: int) -> Survey:
    survey = Survey()
    for begin in range(0, len(frames), size):
        survey.add(frames[begin : begin + size])
    return survey


@pytest.fixture
def mixed(tmp_path: Path) -> FrameTable:
    """Every kind of frame, both kinds of ids, three buses."""
    write_blf(tmp_path / "x.blf", level=0, count=400, seed=3)
    return read_log(tmp_path / "x.blf")[0].frames


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_counts_are_those_of_the_whole_table(mixed: FrameTable, size: int) -> None:
    survey = surveyed(mixed, size)
    assert survey.frames == 400
    assert (survey.start, survey.stop) == (mixed.t[0], mixed.t[-1])
    assert survey.gap == np.diff(mixed.t).max()
    assert survey.gap_start == pytest.approx(mixed.t[np.diff(mixed.t).argmax()])
    assert (survey.shortest, survey.longest) == (mixed.length.min(), mixed.length.max())
    for kind, flag in (("remote", REMOTE), ("error", ERROR), ("FD", FD)):
        assert survey.kinds[kind] == (mixed.flags & flag != 0).sum() > 0
    assert survey.kinds["data"] == (mixed.flags & (REMOTE | ERROR | FD) == 0).sum()
    for bus in range(3):
        own = mixed[mixed.bus == bus]
        seconds = own.t[-1] - own.t[0]
        assert survey.load(bus, 500_000) == pytest.approx(bus_load(own, 500_000) * seconds / survey.seconds)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_ids_are_kept_apart_by_bus_and_length(mixed: FrameTable, size: int) -> None:
    ids = surveyed(mixed, size).ids
    real = mixed[mixed.flags & ERROR == 0]
    assert sum(count.frames for count in ids.values()) == len(real)
    assert sum(count.payload_bytes for count in ids.values()) == real.length.sum()
    for (bus, key), count in ids.items():
        own = real[(real.bus == bus) & (real.key == key)]
        assert (count.frames, count.first, count.last) == (len(own), own.t[0], own.t[-1])
        assert is_extended(key) == bool((own.flags & EXTENDED).any())


@pytest.mark.parametrize("columns", [1, 10, 69])
def test_traffic_over_time_adds_up(columns: int) -> None:
    frames = simulate("sedan", 20, seed=1)
    survey = surveyed(frames, 5000)
    rate = survey.rate_over_time(columns)
    assert rate.sum() * survey.seconds / columns == pytest.approx(len(frames))
    exact = np.histogram(frames.t, columns)[0] / (survey.seconds / columns)
    assert np.abs(rate - exact).max() <= 0.05 * exact.max()


def test_labels_and_families() -> None:
    frames = FrameTable.build(
        t=np.arange(6.0),
        id=np.full(6, 9, np.int32),
        payload=np.zeros((6, 8), np.uint8),
        length=np.zeros(6, np.uint8),
        label=np.array([0, 1, 1, 1, -1, 0], np.int8),
        attack=np.array([0, 1, 2, 1, 0, 0], np.int16),
        attack_names=("", "dos", "replay"),
    )
    survey = surveyed(frames, 2)
    assert survey.labels == {0: 2, 1: 3, -1: 1}
    assert survey.attacks == {"dos": 2, "replay": 1}
    (count,) = survey.ids.values()
    assert count.period == 1.0


def test_a_capture_of_one_moment_has_no_rate() -> None:
    survey = surveyed(simulate("sedan", 1, seed=1)[:1], 1)
    assert (survey.seconds, survey.gap, survey.load(0, 500_000)) == (0, 0, 0)
    assert not survey.rate_over_time(5).any()


def test_a_leap_in_time_costs_no_memory() -> None:
    frames = simulate("sedan", 2, seed=1)
    frames.t[-1] = 3e8
    survey = surveyed(frames, 100)
    assert survey.rate_over_time(2).tolist() == pytest.approx([(len(frames) - 1) / 1.5e8, 1 / 1.5e8])
