"""GraphStore: every window's graph in packed, memory-mapped tensors, with a manifest of what they were made from."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data

from credit_like.can.captures import Capture
from credit_like.config import UserError, closest
from credit_like.graphs._build import (
    FORMAT,
    MANIFEST,
    SCHEMA,
    TENSORS,
    WINDOWS,
    building,
    manifest_digest,
    store_facts,
    write_store,
)
from credit_like.graphs._tensor_files import fault_of, file_sha256, map_tensor
from credit_like.graphs.plan import SplitPlan
from credit_like.graphs.windows import WINDOW_DTYPE, WindowSettings, WindowTable, cut_windows

_log = logging.getLogger(__name__)


class StoreError(UserError):
    """A graph store is missing, damaged, foreign, or cannot be written."""


class GraphStore:
    """``n`` graphs on disk, one a window; made by ``build``, read by ``open``.

    ``x``, ``key``, ``edge_index``, ``edge_attr``, ``node_ptr`` and ``edge_ptr`` are read-only memory-mapped arrays with
    the shapes and meaning of ``GraphArrays``. ``windows`` says of each graph where it comes from, ``manifest`` (plain
    JSON data) what the store was made from: settings, captures, plan, and size and SHA-256 of every file. ``digest``
    is a digest of all that is in the store; equal input gives an equal digest on any machine.

    The folder must be on a file system with ``flock``. A store can be pickled: what travels is its folder's name.
    """

    x: NDArray[np.float32]
    key: NDArray[np.int64]
    edge_index: NDArray[np.int32]
    edge_attr: NDArray[np.float32]
    node_ptr: NDArray[np.int64]
    edge_ptr: NDArray[np.int64]

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        """Of a folder whose manifest was checked; use ``open``."""
        self.folder = folder
        self.manifest = manifest
        self.digest: str = manifest["digest"]
        for name, file in TENSORS.items():
            setattr(self, name, map_tensor(folder / file))
        records = map_tensor(folder / WINDOWS)
        self.windows = WindowTable(
            **{name: np.ascontiguousarray(records[name]) for name in WINDOW_DTYPE.names or ()},
            capture_names=tuple(capture["name"] for capture in manifest["captures"]),
            split_names=tuple(manifest["split_names"]),
            families=tuple(manifest["families"]),
            dropped_frames=manifest["dropped_frames"],
            skipped_frames=manifest["skipped_frames"],
        )

    @classmethod
    def build(
        cls,
        folder: str | Path,
        captures: Sequence[Capture],
        plan: SplitPlan,
        settings: WindowSettings,
        progress: bool = True,
    ) -> GraphStore:
        """The store of these captures, plan and settings in ``folder``: opened where it is there, else built.

        A store of other input, or a damaged one, is replaced; a folder that holds anything else is refused. The new
        store is whole on disk before it takes its name, and of two processes that build the same the second waits and
        opens it. ``progress`` shows a bar on a terminal when it takes longer than two seconds.

        Raises StoreError when no segment has room for a window, the folder holds other files, or it cannot be written
        (read-only, disk full; nothing is left behind); ValueError for a plan that does not fit the captures.
        """
        folder = Path(folder)
        facts = store_facts(captures, plan, settings)
        ready = cls.reusable(folder, facts["key"])
        if ready is not None:
            return ready
        windows = cut_windows(captures, plan, settings)
        if not len(windows):
            raise StoreError(
                f"no graph can be built: none of the {len(plan.segments)} segments of {len(captures)} captures holds "
                f"{settings.window} consecutive frames of one bus. Record longer logs, or set a shorter window."
            )
        refuse_foreign(folder)
        try:
            with building(folder) as aside:
                ready = cls.reusable(folder, facts["key"])  # another process may have built it while this one waited
                if ready is None:
                    write_store(aside, captures, windows, settings, facts, progress)
        except OSError as error:
            raise StoreError(
                f"the graph store {folder} cannot be written: {error.strerror or error}. "
                "Choose a folder that can be written to, on a disk with space left."
            ) from error
        return ready or cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> GraphStore:
        """The store in ``folder``; every file is checked for its size and header, not for its content (``verify``).

        Raises StoreError when there is none, it is of another schema, or a file is missing, cut or another.
        """
        folder = Path(folder)
        remedy = "Build it from the logs."
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
        except OSError as error:
            raise StoreError(f"{folder} holds no graph store ({MANIFEST}: {error.strerror}). {remedy}") from error
        except ValueError as error:
            raise StoreError(
                f"the graph store {folder} is damaged: {MANIFEST} is no JSON ({error}). {remedy}"
            ) from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise StoreError(f"{folder / MANIFEST} is not the manifest of a graph store")
        if manifest.get("schema") != SCHEMA:
            raise StoreError(
                f"the graph store {folder} has schema {manifest.get('schema')}; this version reads {SCHEMA}. {remedy}"
            )
        try:
            problems = [fault_of(manifest["files"][name], folder / name) for name in (*TENSORS.values(), WINDOWS)]
            if manifest["digest"] != manifest_digest(manifest):
                problems.append(f"{MANIFEST} does not match its own digest")
        except (KeyError, TypeError) as error:
            raise StoreError(f"the graph store {folder} is damaged: {MANIFEST} lacks {error}. {remedy}") from error
        for problem in filter(None, problems):
            raise StoreError(f"the graph store {folder} is damaged: {problem}. {remedy}")
        return cls(folder, manifest)

    def verify(self) -> None:
        """Read every file and compare it with its SHA-256. Raises StoreError naming the first that differs."""
        for name, entry in self.manifest["files"].items():
            if file_sha256(self.folder / name) != entry["sha256"]:
                raise StoreError(
                    f"the graph store {self.folder} is damaged: {name} has changed since it was written. "
                    "Delete the folder and build it anew from the logs."
                )

    def __len__(self) -> int:
        return len(self.windows)

    def __reduce__(self) -> tuple[Any, ...]:
        return GraphStore.open, (self.folder,)

    def select(
        self, split: str | None = None, label: int | None = None, *, without_interval_overlap: bool = False
    ) -> NDArray[np.int64]:
        """Indices int64[m], ascending, of the graphs of a split (None: all) and a label (None: any).

        ``without_interval_overlap`` leaves out windows without an attack frame that overlap a declared attack interval
        (where frames are missing, say): they are neither benign nor attack. Raises ValueError for an unknown split.
        """
        windows = self.windows
        chosen = np.ones(len(self), np.bool_)
        if split is not None:
            if split not in windows.split_names:
                raise ValueError(
                    f"the store has no split {split!r}{closest(split, windows.split_names)}; it has "
                    f"{', '.join(windows.split_names)}"
                )
            chosen &= windows.split == windows.split_names.index(split)
        if label is not None:
            chosen &= windows.label == label
        if without_interval_overlap:
            chosen &= (windows.label == 1) | ~windows.in_interval
        return np.flatnonzero(chosen)

    def graph(self, index: int) -> Data:
        """One graph as a PyG ``Data`` of its own memory.

        ``x`` float32[N, 36], ``edge_index`` int64[2, E], ``edge_attr`` float32[E, 11], ``y`` int64[1] (the label),
        ``key`` int64[N], ``window`` int64[1] (``index``). Raises IndexError outside 0 .. len - 1.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"the store has graphs 0..{len(self) - 1}; got {index}")
        nodes = slice(self.node_ptr[index], self.node_ptr[index + 1])
        edges = slice(self.edge_ptr[index], self.edge_ptr[index + 1])
        return Data(
            x=torch.from_numpy(self.x[nodes].copy()),
            edge_index=torch.from_numpy(self.edge_index[:, edges].astype(np.int64, order="C")),
            edge_attr=torch.from_numpy(self.edge_attr[edges].copy()),
            y=torch.tensor([int(self.windows.label[index])]),
            key=torch.from_numpy(self.key[nodes].copy()),
            window=torch.tensor([index]),
        )

    @classmethod
    def reusable(cls, folder: Path, key: str) -> GraphStore | None:
        """The store in ``folder`` when it is whole and of this key, else None; that one is damaged is logged."""
        if not (folder / MANIFEST).exists():
            return None
        try:
            store = cls.open(folder)
        except StoreError as error:
            _log.warning("%s It is being built anew.", error)
            return None
        return store if store.manifest["key"] == key else None


def rows_of(ptr: NDArray[np.int64], indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[m]: the rows ``ptr[i] .. ptr[i + 1] - 1`` of every graph i of ``indices``, one graph after the other."""
    count = ptr[indices + 1] - ptr[indices]
    before = np.cumsum(count) - count
    return np.repeat(ptr[indices] - before, count) + np.arange(count.sum())


def refuse_foreign(folder: Path) -> None:
    """Raises StoreError where building would remove files that are not a store's."""
    known = {MANIFEST, WINDOWS, *TENSORS.values()}
    try:
        foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in known) if folder.exists() else []
        if (folder / MANIFEST).exists() and FORMAT not in (folder / MANIFEST).read_text(errors="replace"):
            foreign.append(MANIFEST)
    except OSError as error:
        raise StoreError(f"the graph store {folder} cannot be read: {error.strerror}") from error
    if foreign:
        raise StoreError(
            f"{folder} is to become a graph store but holds other files ({foreign[0]}); choose an empty or new folder"
        )
