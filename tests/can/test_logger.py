"""Loggers: they move times, by what they say, and nothing else."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from credit_like.can import LOGGERS, FrameTable, Logger, frame_bits, record, simulate
from credit_like.can.frames import COLUMNS
from credit_like.config import UserError


@pytest.fixture(scope="module")
def frames() -> FrameTable:
    return simulate("sedan", 20, seed=2)


def short_gaps(frames: FrameTable) -> float:
    """Share of gaps that are shorter than the frame that fills them."""
    return float(np.mean(np.diff(frames.t) < 0.95 * frame_bits(frames)[1:] / 500_000))


@pytest.mark.parametrize("name", LOGGERS)
def test_times_move_later_and_stay_in_order(frames: FrameTable, name: str) -> None:
    recorded = record(frames, name, seed=1)
    for column in COLUMNS:
        if column != "t":
            assert np.array_equal(getattr(recorded, column), getattr(frames, column))
    assert (np.diff(recorded.t) >= 0).all()
    late = recorded.t - frames.t
    assert late.min() >= -LOGGERS[name].resolution / 2 - 1e-9
    assert late.max() < 20e-3
    assert np.array_equal(recorded.t, record(frames, name, seed=1).t)


def test_only_the_ideal_logger_keeps_every_gap_longer_than_its_frame(frames: FrameTable) -> None:
    shares = {name: short_gaps(record(frames, name, seed=1)) for name in LOGGERS}
    assert shares.pop("ideal") == 0
    assert min(shares.values()) > 0.05
    assert shares["polled"] > 0.5


def test_another_logger_is_the_same_drive() -> None:
    ideal, polled = (simulate("van", 5, seed=3, logger=name) for name in ("ideal", "polled"))
    n = min(len(ideal), len(polled))
    assert len(ideal) - n < 10
    assert np.array_equal(ideal.payload[:n], polled.payload[:n])
    assert polled.t[-1] < 5
    assert np.array_equal(ideal.t, simulate("van", 5, seed=3).t)


@pytest.mark.parametrize("error", [field.name for field in fields(Logger)])
def test_every_error_is_a_difference(frames: FrameTable, error: str) -> None:
    """No setting is without effect."""
    plain = Logger(stall=1e-3, stall_share=0.1, resolution=1e-6)
    assert not np.array_equal(record(frames, plain, 0).t, record(frames, replace(plain, **{error: 1.7e-4}), 0).t)


def test_steps_of_the_clock(frames: FrameTable) -> None:
    ticks = record(frames, Logger(resolution=1e-4), 0).t / 1e-4
    assert np.abs(ticks - np.rint(ticks)).max() < 1e-6


def test_no_frames() -> None:
    assert len(record(FrameTable.empty(), "polled", 0)) == 0


def test_what_is_no_logger_is_said(frames: FrameTable) -> None:
    with pytest.raises(UserError, match=r"no logger 'pold' \(did you mean 'polled'\?\); choose one of ideal, adapter"):
        record(frames, "pold", 0)
    with pytest.raises(UserError, match="seed of at least 0; got -1"):
        record(frames, "ideal", -1)
