"""Shards: a store's windows built in parts, by jobs that need not know of each other, and put together afterwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from credit_like.can.captures import Capture
from credit_like.graphs._build import CONTENT, building, filling, store_facts, write_store
from credit_like.graphs.features import GraphSizes
from credit_like.graphs.plan import SplitPlan
from credit_like.graphs.store import GraphStore, StoreError, refuse_foreign
from credit_like.graphs.windows import WINDOW_DTYPE, WindowSettings, WindowTable, cut_windows

_NAME = re.compile(r"(\d+)_of_(\d+)")
#: Rows of a tensor that are copied at a time: 40 MB of node features.
_ROWS = 1 << 18
_POINTERS = ("node", "edge")
#: What a shard's manifest says of itself and not of the whole.
_OWN = ("digest", "shard", "graphs", "nodes", "edges", "files", "split_names", "families")
_COUNTS = ("dropped_frames", "skipped_frames")


def shards_of(folder: Path) -> Path:
    """The folder, beside the store ``folder``, in which its shards lie."""
    return folder.with_name(f"{folder.name}.shards")


def build_shard(
    folder: Path,
    captures: Sequence[Capture],
    plan: SplitPlan,
    settings: WindowSettings,
    shard: int,
    shards: int,
    progress: bool = True,
) -> Path:
    """Build the ``shard``-th of ``shards`` equal parts of the windows of the store ``folder`` (from 1); returns where.

    One that is there and whole is left as it is, so that a job array can be submitted again. Raises StoreError as
    ``GraphStore.build`` does, and when there are fewer windows than shards; ValueError for a shard outside 1..shards.
    """
    if not 1 <= shard <= shards:
        raise ValueError(f"a shard is one of 1..{shards}; got {shard}")
    facts = store_facts(captures, plan, settings) | {"shard": [shard, shards]}
    own = shards_of(folder) / f"{shard}_of_{shards}"
    ready = GraphStore.reusable(own, facts["key"])
    if ready is not None:
        return own
    windows = cut_windows(captures, plan, settings)
    if len(windows) < shards:
        raise StoreError(f"{len(windows)} windows cannot be parted into {shards} shards; build the store whole")
    rows = slice(len(windows) * (shard - 1) // shards, len(windows) * shard // shards)
    try:
        with building(own) as aside:
            write_store(aside, captures, windows[rows], settings, facts, progress)
    except OSError as error:
        raise StoreError(
            f"the shard {own} cannot be written: {error.strerror or error}. Free some space, or choose another folder"
        ) from error
    return own


def merge_shards(folder: Path, progress: bool = True) -> GraphStore:
    """The store ``folder`` of its shards, byte for byte what one process would have built; the shards stay.

    Each shard's files are compared with their SHA-256 first. Raises StoreError when shards are missing (which ones),
    damaged, or of different logs or settings.
    """
    parts = _shards(folder)
    for part in parts:
        part.verify()
    refuse_foreign(folder)
    first = parts[0].manifest
    facts = {name: value for name, value in first.items() if name not in _OWN + _COUNTS}
    windows = _windows(parts)
    sizes = GraphSizes(*(np.concatenate([np.diff(getattr(p, f"{kind}_ptr")) for p in parts]) for kind in _POINTERS))
    try:
        with building(folder) as aside, filling(aside, windows, sizes, facts) as writers:
            rows = sum(len(part.key) + part.edge_index.shape[1] for part in parts)
            with tqdm(
                total=rows, desc="merging shards", unit="row", delay=2, disable=None if progress else True
            ) as bar:
                for name in CONTENT:
                    for part in parts:
                        for piece in _pieces(getattr(part, name), name == "edge_index"):
                            writers[name].append(piece)
                            bar.update(len(piece) if name in ("x", "edge_attr") else 0)
    except OSError as error:
        raise StoreError(
            f"the graph store {folder} cannot be written: {error.strerror or error}. "
            "Choose a folder that can be written to, on a disk with space left."
        ) from error
    return GraphStore.open(folder)


def _shards(folder: Path) -> list[GraphStore]:
    """Every shard of the store, in order, once they are known to belong together."""
    where = shards_of(folder)
    found = {
        (int(match[1]), int(match[2])): path
        for path in (where.iterdir() if where.is_dir() else ())
        if (match := _NAME.fullmatch(path.name))
    }
    if not found:
        raise StoreError(f"there are no shards in {where}; build them with `credit-like prepare CONF --shard i/n`")
    counts = sorted({shards for _, shards in found})
    if len(counts) > 1:
        listed = " and of ".join(map(str, counts))
        raise StoreError(f"{where} holds shards of {listed}; remove those that are not to be merged")
    missing = [shard for shard in range(1, counts[0] + 1) if (shard, counts[0]) not in found]
    if missing:
        listed = ", ".join(map(str, missing[:12])) + (", ..." if len(missing) > 12 else "")
        raise StoreError(f"{where} lacks {len(missing)} of {counts[0]} shards: {listed}. Build them, then merge again")
    parts = [GraphStore.open(found[shard, counts[0]]) for shard in range(1, counts[0] + 1)]
    for part in parts:
        if part.manifest["key"] != parts[0].manifest["key"]:
            raise StoreError(
                f"{part.folder} and {parts[0].folder} were built from different logs or settings; remove {where} and "
                "build all of its shards anew"
            )
    return parts


def _windows(parts: Sequence[GraphStore]) -> WindowTable:
    """The windows of all parts, one after the other."""
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part.windows, name) for part in parts]) for name in WINDOW_DTYPE.names or ()
    }
    return replace(parts[0].windows, **columns)


def _pieces(array: np.ndarray, pairs: bool) -> list[np.ndarray]:
    """Views of a mapped tensor that are read from the disk one after the other."""
    length = array.shape[1] if pairs else len(array)
    cuts = [slice(start, start + _ROWS) for start in range(0, length, _ROWS)]
    return [array[:, cut] if pairs else array[cut] for cut in cuts]
