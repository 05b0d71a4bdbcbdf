"""Bit timing against frames counted by hand and by a slow reference; the laws of arbitration on random traffic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_like.can.arbitration import arbitrate, bus_load, frame_bits, priority
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable


def frame(id: int, data: bytes = b"", flags: int = 0) -> FrameTable:
    payload = np.zeros((1, 64 if len(data) > 8 else 8), np.uint8)
    payload[0, : len(data)] = list(data)
    return FrameTable.build(
        np.zeros(1),
        np.array([id], np.int32),
        payload,
        np.array([len(data)], np.uint8),
        flags=np.array([flags], np.uint8),
    )


def bits(id: int, data: bytes = b"", flags: int = 0) -> int:
    return int(frame_bits(frame(id, data, flags))[0])


def reference_bits(id: int, data: bytes, extended: bool) -> int:
    """A classic data frame as a string of bits, checksum by long division, stuffing as a sender does it."""
    text = "0"
    text += f"{id >> 18:011b}11{id & 0x3FFFF:018b}000" if extended else f"{id:011b}000"
    text += f"{len(data):04b}" + "".join(f"{byte:08b}" for byte in data)
    rest = int(text + "0" * 15, 2)
    for k in range(rest.bit_length() - 1, 14, -1):
        if rest >> k & 1:
            rest ^= 0b1100010110011001 << (k - 15)
    text += f"{rest:015b}"
    sent = ""
    for bit in text:
        sent += bit
        if sent[-5:] in ("00000", "11111"):
            sent += "1" if bit == "0" else "0"
    return len(sent) + 13


def test_the_bits_of_the_shortest_frame_counted_by_hand() -> None:
    # Id 0 without data is 19 zeros and a checksum of 15 zeros: a stuff bit after every fifth makes 6; 13 more follow.
    assert bits(0) == 34 + 6 + 13


def test_remote_error_and_flexible_frames() -> None:
    assert bits(0x123, b"", REMOTE) - bits(0x123) in (-1, 0, 1)
    assert bits(0x123, b"12345678", REMOTE) < 60
    assert bits(0x20, b"\0" * 8, ERROR) == 17
    # By hand: 22 bits of header without five equal ones in a row (the last four, the length code of 64 bytes, are
    # 1111), 512 of data, 32 of checksum, 13 after it. Data that begin with a 1 make a run of five and one stuff bit.
    assert bits(0x2AA, b"\x55" * 64, FD) == 22 + 512 + 32 + 13
    assert bits(0x2AA, b"\xaa" * 64, FD) == 22 + 512 + 32 + 13 + 1
    assert bits(0x2AA, b"\xaa" * 16, FD) < bits(0x2AA, b"\xaa" * 20, FD) - 32


@given(st.booleans(), st.integers(0, (1 << 29) - 1), st.binary(max_size=8))
def test_frame_bits_equal_the_reference_and_keep_the_published_bounds(extended: bool, id: int, data: bytes) -> None:
    id = id if extended else id >> 18
    count = bits(id, data, EXTENDED if extended else 0)
    assert count == reference_bits(id, data, extended)
    stuffable = (54 if extended else 34) + 8 * len(data)
    assert stuffable + 13 <= count <= stuffable + 13 + (stuffable - 1) // 4


def test_priority_is_the_order_of_the_bits_on_the_wire() -> None:
    in_order = [
        frame(0x7FF, b"", ERROR),
        frame(0x100),
        frame(0x100, b"", REMOTE),
        frame(0x100 << 18, b"", EXTENDED),
        frame((0x100 << 18) + 1, b"", EXTENDED),
        frame((0x100 << 18) + 1, b"", EXTENDED | REMOTE),
        frame(0x101),
        frame(0x7FF),
        frame(0x1FFFFFFF, b"", EXTENDED),
    ]
    ranks = priority(FrameTable.concatenate(in_order))
    assert (np.diff(ranks) > 0).all()


def test_bus_load() -> None:
    table = FrameTable.concatenate([frame(0)] * 3)
    assert bus_load(table, 500_000) == 0.0
    table.t[:] = [0.0, 0.5, 1.0]
    assert bus_load(table, 1590) == pytest.approx(3 * 53 / 1590)


def test_the_lowest_id_goes_first_and_nobody_is_interrupted() -> None:
    ready = np.array([0.0, 1.0, 2.0])
    end, served = arbitrate(ready, np.full(3, 5.0), np.array([9, 5, 1]), np.arange(3))
    assert end.tolist() == [5.0, 15.0, 10.0]
    assert served == 3


def test_a_waiting_frame_is_overwritten_by_the_next_of_its_mailbox() -> None:
    ready = np.array([0.0, 1.0, 2.0])
    end, _ = arbitrate(ready, np.full(3, 5.0), np.array([1, 7, 7]), np.array([0, 1, 1]))
    assert end[0] == 5.0
    assert np.isnan(end[1])
    assert end[2] == 10.0


def test_after_the_bus_has_caught_up_the_rest_is_left_alone() -> None:
    ready = np.array([0.0, 1.0, 20.0, 21.0])
    end, served = arbitrate(ready, np.full(4, 5.0), np.arange(4), np.arange(4), settle=2.0)
    assert end[:2].tolist() == [5.0, 10.0]
    assert served == 2
    assert np.isnan(end[2:]).all()


def test_a_frame_that_cannot_make_its_deadline_is_given_up() -> None:
    end, _ = arbitrate(
        np.array([0.0, 1.0]), np.full(2, 5.0), np.array([0, 1]), np.arange(2), deadline=np.array([np.inf, 9.0])
    )
    assert end[0] == 5.0
    assert np.isnan(end[1])


Traffic = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@st.composite
def traffic(draw: st.DrawFn) -> Traffic:
    """(ready, duration, rank, mailbox) of up to 60 frames in whole seconds, so that many are ready at once."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 60))
    ready = np.sort(rng.integers(0, draw(st.sampled_from([10, 60, 400])), n)).astype(float)
    mailbox = rng.integers(0, 8, n)
    return ready, rng.integers(1, 7, n).astype(float), rng.permutation(8)[mailbox], mailbox


@given(traffic())
def test_laws_of_arbitration(made: Traffic) -> None:
    ready, duration, rank, mailbox = made
    end, served = arbitrate(ready, duration, rank, mailbox)
    start = end - duration
    sent = np.flatnonzero(~np.isnan(end))
    assert served == len(ready)
    order = sent[np.argsort(end[sent])]
    assert (start[order] >= ready[order]).all()
    assert (start[order[1:]] >= end[order[:-1]]).all(), "two frames at once"
    for winner in order:
        rivals = order[(ready[order] <= start[winner]) & (start[order] > start[winner])]
        assert all((rank[other], other) > (rank[winner], winner) for other in rivals), "a smaller id had to wait"
    for before, after in itertools.pairwise(order):
        assert start[after] in (end[before], ready[after]), "the bus idled while a frame waited"
    for lost in np.setdiff1d(np.arange(len(ready)), sent):
        successors = np.flatnonzero((mailbox == mailbox[lost]) & (np.arange(len(ready)) > lost))
        assert len(successors), "a frame vanished that nothing overwrote"


@given(traffic())
def test_with_a_mailbox_a_frame_nothing_is_lost(made: Traffic) -> None:
    ready, duration, rank, _ = made
    end, _ = arbitrate(ready, duration, rank, np.arange(len(ready)))
    assert not np.isnan(end).any()
    assert end.max() >= duration.sum()
