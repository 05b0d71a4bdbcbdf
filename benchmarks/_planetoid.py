"""Citation graphs in the Planetoid layout (Yang, Cohen & Salakhutdinov, ICML 2016), read without trusting them.

PyG reads the same files with ``pickle.load``, which runs whatever a file asks for; here nothing is called but what
rebuilds numpy arrays, scipy CSR matrices and plain containers.
"""

from __future__ import annotations

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from torch_geometric.data import Data
from torch_geometric.utils import coalesce, index_to_mask, remove_self_loops

from credit_like.config import UserError


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 3 names for bytes in files for Python 2: its ``_codecs.encode``, of this encoding alone."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


#: What the files may name, as Python 2 wrote it and as it is called today.
_ADMITTED: dict[tuple[str, str], Any] = {
    **{
        (module, "_reconstruct"): np.zeros(0).__reduce__()[0]  # numpy's maker of empty arrays
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    },
    **{
        (module, "_frombuffer"): np.zeros(1).__reduce_ex__(5)[0]  # and of those with content, since protocol 5
        for module in ("numpy.core.numeric", "numpy._core.numeric")
    },
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (module, "csr_matrix"): scipy.sparse.csr_matrix
        for module in ("scipy.sparse.csr", "scipy.sparse._csr", "scipy.sparse")
    },
    ("_codecs", "encode"): _latin1,
    ("collections", "defaultdict"): collections.defaultdict,
    **{(module, kind.__name__): kind for module in ("__builtin__", "builtins") for kind in (list, dict, set)},
}

#: Nodes of the validation set: those that follow the labelled training nodes.
VALIDATION_NODES = 500


def read_planetoid(folder: Path, name: str) -> Data:
    """The graph ``ind.NAME.*`` in ``folder`` with its published split.

    ``x`` float32[N, F], each row divided by its sum, as Velickovic et al. (2018, 2019) and Kipf & Welling (2017) do;
    ``y`` int64[N]; ``edge_index`` int64[2, E], both directions of each edge once, no self-loops; ``train_mask`` (the
    labelled nodes), ``val_mask`` (the 500 after them) and ``test_mask`` bool[N]. Test nodes that the files leave out
    (isolated ones of Citeseer) have zero features, label 0, and are in no mask.

    Raises UserError where a file is missing, is not what the layout says, or names anything but arrays and containers.
    The relations of NELL are not supported.
    """
    folder = Path(folder)
    x, tx, allx = (_matrix(folder, name, part) for part in ("x", "tx", "allx"))
    y, ty, ally = (_array(folder, name, part) for part in ("y", "ty", "ally"))
    tested = _test_index(folder, name)
    known = len(allx)
    sizes = ((len(x), len(y)), (len(tx), len(ty)), (known, len(ally)), (len(tested), len(tx)))
    widths = {part.shape[1:] for part in (x, tx, allx)} | {None}, {part.shape[1:] for part in (y, ty, ally)} | {None}
    if any(a != b for a, b in sizes) or any(len(width) != 2 for width in widths) or tested.min() != known:
        raise UserError(f"the files ind.{name}.* in {folder} do not belong together: their sizes differ")
    total = int(tested.max()) + 1
    features, labels = np.zeros((total, x.shape[1]), np.float32), np.zeros((total, y.shape[1]), np.float32)
    features[:known], labels[:known] = allx, ally
    features[tested], labels[tested] = tx, ty
    features /= np.maximum(features.sum(1, keepdims=True), 1e-12)

    return Data(
        x=torch.from_numpy(features),
        y=torch.from_numpy(labels.argmax(1)),
        edge_index=_edges(folder, name, total),
        train_mask=index_to_mask(torch.arange(len(x)), total),
        val_mask=index_to_mask(torch.arange(len(x), min(len(x) + VALIDATION_NODES, known)), total),
        test_mask=index_to_mask(torch.from_numpy(tested), total),
    )


class _Restricted(pickle.Unpickler):
    """Finds nothing but ``_ADMITTED``."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is neither an array nor a container")
        return _ADMITTED[module, name]


def _load(folder: Path, name: str, part: str) -> Any:
    path = folder / f"ind.{name}.{part}"
    try:
        with open(path, "rb") as file:
            return _Restricted(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there; a folder in the Planetoid layout holds ind.{name}.{part}") from error
    except Exception as error:  # a pickle that is not whole raises whatever its bytes lead to
        raise UserError(f"{path} is refused: {error}") from error


def _matrix(folder: Path, name: str, part: str) -> NDArray[np.float32]:
    """float32[n, F] of a CSR matrix or an array."""
    loaded = _load(folder, name, part)
    if isinstance(loaded, scipy.sparse.csr_matrix):
        try:
            loaded.check_format(full_check=True)  # indices that point outside would be followed
            loaded = loaded.toarray()
        except (ValueError, AttributeError, TypeError, MemoryError) as error:
            raise UserError(f"{folder / f'ind.{name}.{part}'} holds a broken CSR matrix: {error}") from error
    return _as_floats(loaded, folder, name, part)


def _array(folder: Path, name: str, part: str) -> NDArray[np.float32]:
    return _as_floats(_load(folder, name, part), folder, name, part)


def _as_floats(loaded: Any, folder: Path, name: str, part: str) -> NDArray[np.float32]:
    if not isinstance(loaded, np.ndarray) or loaded.ndim != 2 or loaded.dtype.kind not in "biuf" or not loaded.size:
        raise UserError(f"{folder / f'ind.{name}.{part}'} must hold a matrix of numbers; it holds {type(loaded)}")
    return loaded.astype(np.float32)


def _test_index(folder: Path, name: str) -> NDArray[np.int64]:
    path = folder / f"ind.{name}.test.index"
    try:
        index = np.array(path.read_text().split(), np.int64)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} must hold a node number a line: {error}") from error
    if not len(index) or len(np.unique(index)) < len(index):
        raise UserError(f"{path} must name at least one node, and none twice")
    return index


def _edges(folder: Path, name: str, total: int) -> torch.Tensor:
    graph = _load(folder, name, "graph")
    try:
        pairs = [(int(node), int(other)) for node, others in graph.items() for other in others]
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{folder / f'ind.{name}.graph'} must map nodes to lists of nodes: {error}") from error
    edges = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).t()
    if edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < total:
        raise UserError(f"{folder / f'ind.{name}.graph'} names nodes outside 0..{total - 1}")
    both, _ = remove_self_loops(torch.cat([edges, edges.flip(0)], dim=1))
    merged: torch.Tensor = coalesce(both, num_nodes=total)
    return merged
