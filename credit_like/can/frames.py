"""FrameTable: CAN frames as columns. Every reader yields it, every later stage starts from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

#: Bits of ``FrameTable.flags``.
EXTENDED, REMOTE, ERROR, FD = 1, 2, 4, 8

_DTYPES = {
    "t": np.float64,
    "id": np.int32,
    "flags": np.uint8,
    "bus": np.uint8,
    "length": np.uint8,
    "payload": np.uint8,
    "label": np.int8,
    "attack": np.int16,
    "capture": np.int32,
}


@dataclass(frozen=True, eq=False)
class FrameTable:
    """``n`` CAN frames in the order in which the bus carried them.

    ==========  ==============  =============================================================================
    column      dtype, shape    meaning
    ==========  ==============  =============================================================================
    ``t``       float64[n]      seconds on the capture's own clock (epoch or from 0); never decreases in a capture
    ``id``      int32[n]        arbitration id, 0..0x7FF, or 0..0x1FFFFFFF where ``flags & EXTENDED``
    ``flags``   uint8[n]        bits ``EXTENDED | REMOTE | ERROR | FD``
    ``bus``     uint8[n]        channel number; 0 where the log has one bus
    ``length``  uint8[n]        payload bytes that are present (0..8, 0..64 for FD)
    ``payload`` uint8[n, w]     w is 8, or 64 when the table holds FD frames; bytes beyond ``length`` are 0
    ``label``   int8[n]         1 attack, 0 normal, -1 not labelled
    ``attack``  int16[n]        index into ``attack_names``; 0 is "" (no attack, or not known)
    ``capture`` int32[n]        index into ``capture_names``
    ==========  ==============  =============================================================================

    Raises ValueError when a column has another shape or dtype. Columns are not copied.
    """

    t: NDArray[np.float64]
    id: NDArray[np.int32]
    flags: NDArray[np.uint8]
    bus: NDArray[np.uint8]
    length: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    label: NDArray[np.int8]
    attack: NDArray[np.int16]
    capture: NDArray[np.int32]
    attack_names: tuple[str, ...] = ("",)
    capture_names: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        n = len(self.t)
        for name, dtype in _DTYPES.items():
            column = getattr(self, name)
            rank = 2 if name == "payload" else 1
            if column.dtype != dtype or column.ndim != rank or len(column) != n:
                raise ValueError(
                    f"FrameTable column {name!r} must be {np.dtype(dtype).name} with {rank} dimension(s) and {n} rows; "
                    f"got {column.dtype} of shape {column.shape}"
                )
        if self.payload.shape[1] not in (8, 64):
            raise ValueError(f"FrameTable payload must be 8 or 64 bytes wide; got {self.payload.shape[1]}")

    def __len__(self) -> int:
        return len(self.t)

    def __getitem__(self, rows: slice | NDArray[np.bool_] | NDArray[np.integer]) -> FrameTable:
        """The same columns at ``rows`` (a slice, a mask or an index array); the names stay."""
        return replace(self, **{name: getattr(self, name)[rows] for name in _DTYPES})

    @property
    def key(self) -> NDArray[np.int64]:
        """int64[n] node key ``extended << 32 | id``: 11- and 29-bit ids with the same number stay apart."""
        return (self.flags & EXTENDED).astype(np.int64) << 32 | self.id.astype(np.int64)

    @staticmethod
    def build(
        t: NDArray[np.float64],
        id: NDArray[np.int32],
        payload: NDArray[np.uint8],
        length: NDArray[np.uint8],
        *,
        flags: NDArray[np.uint8] | None = None,
        bus: NDArray[np.uint8] | None = None,
        label: NDArray[np.int8] | None = None,
        attack: NDArray[np.int16] | None = None,
        attack_names: tuple[str, ...] = ("",),
        capture_name: str = "",
    ) -> FrameTable:
        """A table of one capture; columns that are left out are zeros, a missing ``label`` is -1."""
        n = len(t)
        return FrameTable(
            t=t,
            id=id,
            flags=np.zeros(n, np.uint8) if flags is None else flags,
            bus=np.zeros(n, np.uint8) if bus is None else bus,
            length=length,
            payload=payload,
            label=np.full(n, -1, np.int8) if label is None else label,
            attack=np.zeros(n, np.int16) if attack is None else attack,
            capture=np.zeros(n, np.int32),
            attack_names=attack_names,
            capture_names=(capture_name,),
        )

    @staticmethod
    def empty(payload_width: int = 8) -> FrameTable:
        """A table of no frames."""
        columns = {k: np.zeros((0, payload_width) if k == "payload" else 0, d) for k, d in _DTYPES.items()}
        return FrameTable(**columns)  # type: ignore[arg-type]

    @staticmethod
    def concatenate(tables: Sequence[FrameTable]) -> FrameTable:
        """The tables one after another; names are united by value, payloads widened to the widest."""
        if not tables:
            return FrameTable.empty()
        width = max(table.payload.shape[1] for table in tables)
        united: dict[str, tuple[str, ...]] = {}
        columns: dict[str, list[NDArray[np.generic]]] = {name: [] for name in _DTYPES}
        for names in ("attack_names", "capture_names"):
            united[names] = tuple(dict.fromkeys(name for table in tables for name in getattr(table, names)))
        for table in tables:
            for name in _DTYPES:
                column = getattr(table, name)
                if name == "payload" and column.shape[1] < width:
                    column = np.pad(column, ((0, 0), (0, width - column.shape[1])))
                elif name in ("attack", "capture"):
                    names = getattr(table, f"{name}_names")
                    column = np.array([united[f"{name}_names"].index(x) for x in names], column.dtype)[column]
                columns[name].append(column)
        return FrameTable(**{name: np.concatenate(parts) for name, parts in columns.items()}, **united)  # type: ignore[arg-type]


COLUMNS = tuple(field.name for field in fields(FrameTable) if field.name in _DTYPES)
