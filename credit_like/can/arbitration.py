"""How long a frame holds the bus, and which of the waiting frames gets it next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit_like._compiled import compiled
from credit_like.can.frames import ERROR, EXTENDED, FD, REMOTE, FrameTable

#: Bits after the checksum that are never stuffed: its delimiter, 2 of acknowledgement, 7 of end, 3 of interframe space.
_TAIL_BITS = 13
#: An error frame in its shortest form: 6 of flag, 8 of delimiter, 3 of interframe space (ISO 11898-1, 10.4.4).
_ERROR_BITS = 17
_CRC15 = 0x4599


@compiled
def _header(stream, identifier, flags, length):
    """Write the bits from start of frame to the length code into ``stream``; returns how many."""
    n = 1
    stream[0] = 0
    extended = flags & EXTENDED != 0
    remote = np.uint8(1 if flags & REMOTE else 0)
    base = identifier >> 18 if extended else identifier
    for k in range(10, -1, -1):
        stream[n] = base >> k & 1
        n += 1
    if extended:
        stream[n] = stream[n + 1] = 1
        n += 2
        for k in range(17, -1, -1):
            stream[n] = identifier >> k & 1
            n += 1
    code = length
    if flags & FD:
        # RRS, IDE (of an 11-bit id), FDF = 1, reserved, no switch of the bit rate, error active.
        width = 5 if extended else 6
        for k in range(width):
            stream[n + k] = 1 if k == width - 4 else 0
        n += width
        if length > 8:
            # Codes 9..15 stand for 12, 16, 20, 24, 32, 48, 64 bytes.
            code = 8 + (length - 5) // 4 if length <= 24 else 11 + length // 16
    else:
        stream[n] = remote
        stream[n + 1] = stream[n + 2] = 0
        n += 3
    for k in range(3, -1, -1):
        stream[n] = code >> k & 1
        n += 1
    return n


@compiled
def _stuff_bits(stream, n):
    """How many bits the sender inserts before the nth: one of opposite value after every five equal ones it sent."""
    stuffed = 0
    run = 1
    last = stream[0]
    for k in range(1, n):
        if run == 5:
            stuffed += 1
            last = 1 - last
            run = 1
        if stream[k] == last:
            run += 1
        else:
            last = stream[k]
            run = 1
    return stuffed, run


@compiled
def _count_bits(identifier, flags, length, payload):
    bits = np.empty(len(identifier), np.int32)
    stream = np.empty(600, np.uint8)
    for i in range(len(identifier)):
        if flags[i] & ERROR:
            bits[i] = _ERROR_BITS
            continue
        n = _header(stream, identifier[i], flags[i], length[i])
        if not flags[i] & REMOTE:
            for byte in payload[i, : length[i]]:
                for k in range(7, -1, -1):
                    stream[n] = byte >> k & 1
                    n += 1
        if flags[i] & FD:
            # Stuff count (4) and checksum (17 or 21), with a fixed stuff bit before them and after every fourth bit;
            # the first of these also ends a run of five.
            checksum = 27 if length[i] <= 16 else 32
            bits[i] = n + _stuff_bits(stream, n)[0] + checksum + _TAIL_BITS
            continue
        crc = 0
        for k in range(n):
            top = crc >> 14 & 1
            crc = crc << 1 & 0x7FFF
            if top != stream[k]:
                crc ^= _CRC15
        for k in range(14, -1, -1):
            stream[n] = crc >> k & 1
            n += 1
        stuffed, run = _stuff_bits(stream, n)
        bits[i] = n + stuffed + (1 if run == 5 else 0) + _TAIL_BITS
    return bits


def frame_bits(frames: FrameTable) -> NDArray[np.int32]:
    """int32[n]: the bits that each frame holds the bus, the 3 bits of interframe space included.

    The frame's own bits are built (ISO 11898-1: header, payload, 15-bit checksum with polynomial 0x4599) and its stuff
    bits counted, so the result is exact for classic data and remote frames. It lies between the bounds that
    schedulability analysis uses: 47 + 8n (11-bit id) or 67 + 8n (29-bit id) and that plus ``(g + 8n - 1) // 4`` with
    g = 34 or 54 (Davis, Burns, Bril and Lukkien, "Controller Area Network (CAN) schedulability analysis: Refuted,
    revisited and revised", Real-Time Systems 35, 2007, section 3.1). A remote frame counts with the payload length of
    the table, an error frame with 17 bits, its shortest form.

    Not supported: the second, faster bit rate of FD frames, which no log format of ours records; they count as if sent
    at one bit rate.
    """
    return _count_bits(frames.id, frames.flags, frames.length, frames.payload)


def priority(frames: FrameTable) -> NDArray[np.int64]:
    """int64[n] in the order of arbitration, lowest first: the bits that nodes compare while they send at once.

    Those are the 11 leading id bits, RTR (or SRR, always recessive, in a 29-bit frame), the id-extension bit, the 18
    further id bits, RTR. So a data frame beats a remote frame of its id, and an 11-bit id beats all 29-bit ids that
    start with it. Error frames interrupt whatever is sent and come first.
    """
    extended = frames.flags & EXTENDED != 0
    remote = (frames.flags & REMOTE != 0).astype(np.int64)
    id = frames.id.astype(np.int64)
    short = id << 21 | remote << 20
    long = (id >> 18) << 21 | 0b11 << 19 | (id & 0x3FFFF) << 1 | remote
    return np.where(frames.flags & ERROR != 0, -1, np.where(extended, long, short))


def bus_load(frames: FrameTable, bitrate: int) -> float:
    """Share of the time for which the frames of a one-bus table held a bus of ``bitrate`` bit/s; 0 below two frames."""
    seconds = float(frames.t[-1] - frames.t[0]) if len(frames) > 1 else 0.0
    return float(frame_bits(frames).sum()) / bitrate / seconds if seconds > 0 else 0.0


@compiled
def _serve(ready, alone_end, duration, rank, mailbox, deadline, free, settle):
    n = len(ready)
    end = np.full(n, np.nan)
    mailboxes = mailbox.max() + 1 if n else 0
    waiting = np.empty(mailboxes, np.int64)
    place = np.full(mailboxes, -1, np.int64)
    count = 0
    nxt = 0
    while nxt < n or count > 0:
        if count == 0:
            if ready[nxt] >= settle and ready[nxt] >= free:
                break
            free = max(free, ready[nxt])
        while nxt < n and ready[nxt] <= free:
            box = mailbox[nxt]
            if place[box] < 0:
                place[box] = count
                count += 1
            waiting[place[box]] = nxt
            nxt += 1
        at = 0
        for k in range(1, count):
            a, b = waiting[k], waiting[at]
            if rank[a] < rank[b] or (rank[a] == rank[b] and a < b):
                at = k
        winner = waiting[at]
        count -= 1
        place[mailbox[winner]] = -1
        if at < count:
            waiting[at] = waiting[count]
            place[mailbox[waiting[at]]] = at
        done = alone_end[winner] if ready[winner] == free else free + duration[winner]
        if done <= deadline[winner]:
            end[winner] = done
            free = done
    return end, nxt


def arbitrate(
    ready: NDArray[np.float64],
    duration: NDArray[np.float64],
    rank: NDArray[np.int64],
    mailbox: NDArray[np.int64],
    *,
    alone_end: NDArray[np.float64] | None = None,
    deadline: NDArray[np.float64] | None = None,
    free: float = -np.inf,
    settle: float = np.inf,
) -> tuple[NDArray[np.float64], int]:
    """Put ``n`` frames on one bus: never two at once, never interrupted, the lowest rank first among those waiting.

    A node has one mailbox an id: a frame that still waits when the next one for its mailbox is ready is overwritten by
    it and lost.

    Args:
        ready: float64[n], ascending, seconds: when the frame is handed to its controller.
        duration: float64[n], seconds on the bus.
        rank: int64[n] as from ``priority``; of two equal ranks the one that was ready first goes first.
        mailbox: int64[n], 0..m-1.
        alone_end: float64[n]: when a frame that finds the bus free is over (default ``ready + duration``). A recording
            has its own idea of that, and keeps it for the frames that nothing held up.
        deadline: float64[n]: a frame that cannot be over by then is given up (default never).
        free: the moment from which the bus is free.
        settle: from the first moment after ``settle`` at which nothing waits, the rest is left alone.

    Returns:
        float64[n], when each frame is over, nan where it was lost or given up; and how many frames were served: those
        from that index on have nan too, and are not delayed.
    """
    whole = ready + duration if alone_end is None else alone_end
    late = np.full(len(ready), np.inf) if deadline is None else deadline
    return _serve(ready, whole, duration, rank, mailbox, late, free, settle)
