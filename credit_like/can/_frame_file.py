"""The columns and the metadata of our Parquet files, from and to frames and what is said of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_like.can.captures import AttackInterval, Defect, SourceFile
from credit_like.can.frames import EXTENDED, FD, FrameTable
from credit_like.can.log_scan import CaptureFacts

#: Rows of one capture after another; the payload has as many bytes as the frame. ``attack`` and ``capture`` are indices
#: into lists of the metadata. All else is as in ``FrameTable``.
COLUMNS: dict[str, Any] = {
    "t": pl.Float64(),
    "id": pl.Int32(),
    "flags": pl.UInt8(),
    "bus": pl.UInt8(),
    "payload": pl.Binary(),
    "label": pl.Int8(),
    "attack": pl.Int16(),
    "capture": pl.Int32(),
}
FACTS_KEY, SCHEMA = "credit_like.frames", 1


def to_columns(frames: FrameTable, attack: NDArray[np.int16], capture: int) -> pl.DataFrame:
    """The rows of ``frames``, with these numbers for ``attack`` and ``capture``."""
    table = pl.DataFrame(
        {
            "t": frames.t,
            "id": frames.id,
            "flags": frames.flags,
            "bus": frames.bus,
            "payload": pl.Series(np.ascontiguousarray(frames.payload)),
            "label": frames.label,
            "attack": attack,
            "capture": np.full(len(frames), capture, np.int32),
            "length": frames.length,
        }
    )
    payload = pl.col("payload").arr.to_list().list.head(pl.col("length")).cast(pl.Binary)
    return table.with_columns(payload=payload).drop("length")


def to_frames(table: pl.DataFrame, attack_names: Sequence[str], capture_name: str) -> FrameTable:
    """Rows of one capture as frames; raises ValueError where they hold what no frame can be."""
    if any(table[name].null_count() for name in COLUMNS):
        raise ValueError("a value is missing")
    column = {name: table[name].to_numpy() for name in COLUMNS if name != "payload"}
    size = table["payload"].bin.size().to_numpy()
    fd, extended = column["flags"] & FD != 0, column["flags"] & EXTENDED != 0
    if (size > np.where(fd, 64, 8)).any():
        raise ValueError("a payload is longer than a frame's")
    if not ((column["id"] >= 0) & (column["id"] <= np.where(extended, 0x1FFFFFFF, 0x7FF))).all():
        raise ValueError("an id does not fit its bits")
    if not np.isfinite(column["t"]).all() or (np.diff(column["t"]) < 0).any():
        raise ValueError("time is no number, or runs backwards")
    if not (np.abs(column["label"]) <= 1).all():
        raise ValueError("a label is none of -1, 0 and 1")
    attack = column["attack"]
    if not ((attack >= 0) & (attack < len(attack_names))).all():
        raise ValueError("an attack has no name")
    payload = np.zeros((len(table), 64 if fd.any() else 8), np.uint8)
    data = table["payload"].cast(pl.List(pl.UInt8)).explode().drop_nulls().to_numpy()
    if len(data) == payload.size:
        payload[:] = data.reshape(payload.shape)
    else:
        payload[np.arange(payload.shape[1]) < size[:, None]] = data
    count = np.bincount(attack, minlength=1)
    count[0] += 1  # the name of no attack is always there
    used = np.flatnonzero(count)
    frames = FrameTable.build(
        t=column["t"],
        id=column["id"],
        payload=payload,
        length=size.astype(np.uint8),
        flags=column["flags"],
        bus=column["bus"],
        label=column["label"],
        attack=np.searchsorted(used, attack).astype(np.int16),
        attack_names=tuple(attack_names[number] for number in used.tolist()),
    )
    return replace(frames, capture_names=(capture_name,))


def to_text(captures: Sequence[CaptureFacts], attack_names: Sequence[str]) -> str:
    """What is to be said of the captures, as JSON."""
    sources = list(dict.fromkeys(capture.source for capture in captures))
    return json.dumps(
        {
            "schema": SCHEMA,
            "attack_names": list(attack_names),
            "sources": [
                {
                    "path": source.path,
                    "sha256": source.sha256,
                    "format": source.format,
                    "reason": source.reason,
                    "frames": source.frames,
                    "defects": [[defect.line, defect.reason] for defect in source.defects],
                }
                for source in sources
            ],
            "captures": [
                {
                    "name": capture.name,
                    "frames": capture.frames,
                    "source": sources.index(capture.source),
                    "vehicle": capture.vehicle,
                    "intervals": [[i.family, i.start, i.stop, i.declared] for i in capture.intervals],
                }
                for capture in captures
            ],
        },
        allow_nan=False,
    )


def from_text(text: str) -> tuple[list[CaptureFacts], tuple[str, ...]]:
    """The captures and the names of attacks. Raises ValueError, KeyError or TypeError for what no ingest wrote."""
    content = json.loads(text)
    if content["schema"] != SCHEMA:
        raise ValueError(f"its schema is {content['schema']}, this version reads {SCHEMA}")
    sources = [
        SourceFile(
            path=str(entry["path"]),
            sha256=str(entry["sha256"]),
            format=str(entry["format"]),
            reason=str(entry["reason"]),
            frames=int(entry["frames"]),
            defects=tuple(Defect(int(line), str(reason)) for line, reason in entry["defects"]),
        )
        for entry in content["sources"]
    ]
    captures = [
        CaptureFacts(
            name=str(entry["name"]),
            frames=int(entry["frames"]),
            source=sources[entry["source"]],
            vehicle=str(entry["vehicle"]),
            intervals=tuple(
                AttackInterval(str(family), float(start), float(stop), bool(declared))
                for family, start, stop, declared in entry["intervals"]
            ),
        )
        for entry in content["captures"]
    ]
    return captures, tuple(str(name) for name in content["attack_names"])
