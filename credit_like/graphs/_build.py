"""Writing a graph store: its key, the captures in blocks through the compiled builder, and the manifest at the end."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from credit_like.can.captures import Capture
from credit_like.can.frames import COLUMNS, FrameTable
from credit_like.graphs._tensor_files import TensorWriter
from credit_like.graphs.features import EDGE_FEATURES, NODE_FEATURES, GraphSizes, build_graphs, count_graphs
from credit_like.graphs.plan import SplitPlan
from credit_like.graphs.windows import WINDOW_DTYPE, WindowSettings, WindowTable, rows_of_bus

FORMAT = "credit_like graph store"
#: To be raised whenever the meaning of a tensor or of the manifest changes; stores of another schema are rebuilt.
SCHEMA = 1
MANIFEST = "manifest.json"
WINDOWS = "windows.npy"
#: File of each tensor of the store.
TENSORS = {name: f"{name}.npy" for name in ("x", "key", "edge_index", "edge_attr", "node_ptr", "edge_ptr")}
#: Those that hold the graphs themselves; what they are to hold follows from the windows.
CONTENT = ("x", "key", "edge_index", "edge_attr")

#: Frames that are turned into graphs at a time: about 60 MB of graphs, which bounds memory whatever the captures hold.
_BLOCK_FRAMES = 1 << 19
#: Rows that are hashed at a time, so that a column that is no contiguous array is not copied whole.
_HASHED_ROWS = 1 << 20


def store_facts(captures: Sequence[Capture], plan: SplitPlan, settings: WindowSettings) -> dict[str, Any]:
    """Everything that a store is made from, as plain JSON data, ``key`` included: the digest of all of it but paths.

    The key depends on the frames themselves as well as on the files' hashes, so that a reader that has learnt to read
    a file better makes a new store.
    """
    facts = {
        "format": FORMAT,
        "schema": SCHEMA,
        "settings": {"window": settings.window, "stride": settings.step},
        "node_features": list(NODE_FEATURES),
        "edge_features": list(EDGE_FEATURES),
        "captures": [
            {
                "name": capture.name,
                "vehicle": capture.vehicle,
                "frames": len(capture.frames),
                "frames_sha256": _frames_digest(capture.frames),
                "intervals": [[attack.family, attack.start, attack.stop] for attack in capture.intervals],
                "source_sha256": capture.source.sha256,
                "source_format": capture.source.format,
            }
            for capture in captures
        ],
        "plan": {
            "segments": [[s.capture, s.split, s.row_start, s.row_stop] for s in plan.segments],
            "policy": plan.policy,
            "groups": [list(group) for group in plan.groups],
            "record": plan.record,
        },
    }
    key = digest_of(facts)
    return facts | {"key": key, "source_paths": [capture.source.path for capture in captures]}


def digest_of(data: Any) -> str:
    """SHA-256 of plain JSON data in its canonical form."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def manifest_digest(manifest: dict[str, Any]) -> str:
    """The digest of a store: of its manifest, and by the hashes in it of every file, but not of where the logs lay."""
    return digest_of({name: value for name, value in manifest.items() if name not in ("digest", "source_paths")})


def write_store(
    folder: Path,
    captures: Sequence[Capture],
    windows: WindowTable,
    settings: WindowSettings,
    facts: dict[str, Any],
    progress: bool,
) -> None:
    """Write tensors, then the manifest, into ``folder``, which must be empty. Raises OSError from the file system."""
    sizes = _count(captures, windows, settings)
    with (
        filling(folder, windows, sizes, facts) as writers,
        # delay: a store that is built at once shows no bar; disable=None: neither does a log file.
        tqdm(
            total=len(windows), desc="building graphs", unit="graph", delay=2, disable=None if progress else True
        ) as bar,
    ):
        for rows, frames, starts in _blocks(captures, windows, settings):
            known = GraphSizes(sizes.nodes[rows], sizes.edges[rows])
            graphs = build_graphs(frames, starts, settings.window, known)
            for name in CONTENT:
                writers[name].append(getattr(graphs, name))
            bar.update(len(starts))


@contextlib.contextmanager
def filling(
    folder: Path, windows: WindowTable, sizes: GraphSizes, facts: dict[str, Any]
) -> Iterator[dict[str, TensorWriter]]:
    """Yields the writers of ``CONTENT``, to be filled in the order of ``windows``; all other files, the manifest last,
    are written here. Raises OSError from the file system."""
    node_ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.nodes)])
    edge_ptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.edges)])
    nodes, edges = int(node_ptr[-1]), int(edge_ptr[-1])
    with contextlib.ExitStack() as stack:

        def writer(name: str, dtype: Any, shape: tuple[int, ...], fortran: bool = False) -> TensorWriter:
            made = TensorWriter(folder / name, dtype, shape, fortran)
            stack.callback(made.abandon)
            return made

        writers = {
            "x": writer(TENSORS["x"], np.float32, (nodes, len(NODE_FEATURES))),
            "key": writer(TENSORS["key"], np.int64, (nodes,)),
            "edge_index": writer(TENSORS["edge_index"], np.int32, (2, edges), fortran=True),
            "edge_attr": writer(TENSORS["edge_attr"], np.float32, (edges, len(EDGE_FEATURES))),
            "node_ptr": writer(TENSORS["node_ptr"], np.int64, node_ptr.shape),
            "edge_ptr": writer(TENSORS["edge_ptr"], np.int64, edge_ptr.shape),
            "windows": writer(WINDOWS, WINDOW_DTYPE, (len(windows),)),
        }
        writers["node_ptr"].append(node_ptr)
        writers["edge_ptr"].append(edge_ptr)
        writers["windows"].append(windows.records())
        yield {name: writers[name] for name in CONTENT}
        files = {TENSORS.get(name, WINDOWS): made.close() for name, made in writers.items()}
    manifest = facts | {
        "split_names": list(windows.split_names),
        "families": list(windows.families),
        "dropped_frames": windows.dropped_frames,
        "skipped_frames": windows.skipped_frames,
        "graphs": len(windows),
        "nodes": nodes,
        "edges": edges,
        "files": files,
    }
    manifest["digest"] = manifest_digest(manifest)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``folder``, under a lock; at the end it takes the place of ``folder``, or goes.

    The lock (``.<name>.lock``, which stays) makes a second process wait. What a killed process left behind is removed.
    Raises OSError from the file system.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside, old = (folder.with_name(f".{folder.name}.{state}") for state in ("building", "old"))
    with folder.with_name(f".{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in (aside, old):
            if left.exists():
                shutil.rmtree(left)
        aside.mkdir()
        try:
            yield aside
            if any(aside.iterdir()):
                if folder.exists():
                    folder.rename(old)
                aside.rename(folder)
                _flush(folder.parent)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _count(captures: Sequence[Capture], windows: WindowTable, settings: WindowSettings) -> GraphSizes:
    sizes = GraphSizes(np.zeros(len(windows), np.int64), np.zeros(len(windows), np.int64))
    for rows, frames, starts in _blocks(captures, windows, settings):
        found = count_graphs(frames, starts, settings.window)
        sizes.nodes[rows], sizes.edges[rows] = found.nodes, found.edges
    return sizes


def _blocks(
    captures: Sequence[Capture], windows: WindowTable, settings: WindowSettings
) -> Iterator[tuple[slice, FrameTable, np.ndarray]]:
    """The windows in order, a block at a time: which they are, frames of their capture and bus, and their starts."""
    at_most = max(1, _BLOCK_FRAMES // settings.window)
    change = (np.diff(windows.capture) != 0) | (np.diff(windows.bus) != 0) | (np.diff(windows.row_start) <= 0)
    borders = [0, *(np.flatnonzero(change) + 1).tolist(), len(windows)]
    for begin, end in itertools.pairwise(borders):
        for first in range(begin, end, at_most):
            rows = slice(first, min(first + at_most, end))
            frames, bus = captures[windows.capture[first]].frames, int(windows.bus[first])
            row_start, row_stop = int(windows.row_start[first]), int(windows.row_stop[rows.stop - 1])
            if (frames.bus[row_start:row_stop] == bus).all():
                yield rows, frames[row_start:row_stop], windows.row_start[rows] - row_start
            else:
                own = rows_of_bus(frames, bus, row_start, row_stop)
                yield rows, frames[own], np.searchsorted(own, windows.row_start[rows])


def _frames_digest(frames: FrameTable) -> str:
    digest = hashlib.sha256(json.dumps([frames.attack_names, frames.payload.shape[1]]).encode())
    for name in COLUMNS:
        if name != "capture":
            for row in range(0, len(frames), _HASHED_ROWS):
                digest.update(np.ascontiguousarray(getattr(frames, name)[row : row + _HASHED_ROWS]).data)
    return digest.hexdigest()
