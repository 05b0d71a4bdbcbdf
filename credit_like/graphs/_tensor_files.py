"""Tensors on disk as .npy files of a length known beforehand: written in pieces, hashed on the way, read by mapping."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray


class TensorWriter:
    """A .npy file that grows by ``append`` until ``shape`` is full; ``close`` returns its entry for the manifest.

    ``fortran`` stores a (2, n) array pair by pair, so that it can be appended to along its last axis. Raises OSError
    from the file system as it is.
    """

    def __init__(self, path: Path, dtype: DTypeLike, shape: tuple[int, ...], fortran: bool = False) -> None:
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": fortran, "shape": shape})
        self._dtype, self._shape, self._fortran = np.dtype(dtype), shape, fortran
        self._hash = hashlib.sha256()
        self._left = self._dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        self._bytes = 0
        self._file = path.open("wb", buffering=0)
        self._write(header.getbuffer())

    def append(self, array: NDArray[Any]) -> None:
        """Write ``array``, the next rows (the next columns where ``fortran``)."""
        data = array.T if self._fortran else array
        if data.dtype != self._dtype or not data.flags.c_contiguous:
            raise ValueError(f"expected contiguous {self._dtype}; got {array.dtype} with strides {array.strides}")
        self._left -= data.nbytes
        if data.nbytes:
            self._write(data.reshape(-1).view(np.uint8).data)

    def close(self) -> dict[str, Any]:
        """Flush to the disk; the entry holds file size (bytes), SHA-256, dtype and shape."""
        with self._file:
            os.fsync(self._file.fileno())
        if self._left:
            raise ValueError(f"{self._file.name} was to have shape {self._shape}; {self._left} bytes are missing")
        return {
            "bytes": self._bytes,
            "sha256": self._hash.hexdigest(),
            "dtype": str(np.lib.format.dtype_to_descr(self._dtype)),
            "shape": list(self._shape),
        }

    def abandon(self) -> None:
        """Close without a word; whoever calls removes the file."""
        self._file.close()

    def _write(self, data: memoryview) -> None:
        self._hash.update(data)
        self._bytes += len(data)
        while data:
            data = data[self._file.write(data) :]


def map_tensor(path: Path, mode: Literal["r", "c"] = "r") -> NDArray[Any]:
    """The array of a .npy file without reading it: ``mode`` "r" is read-only, "c" private (writes stay in memory).

    Raises OSError or ValueError where the file is missing, cut or no .npy.
    """
    return np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))


def fault_of(entry: dict[str, Any], path: Path) -> str:
    """What is wrong with the file of a manifest entry, judged by its size and header; "" where nothing is."""
    try:
        size = path.stat().st_size
        if size != entry["bytes"]:
            return f"{path} has {size} bytes instead of {entry['bytes']}"
        array = map_tensor(path)
    except (OSError, ValueError) as error:
        return f"{path} cannot be read: {error}"
    found = {"dtype": str(np.lib.format.dtype_to_descr(array.dtype)), "shape": list(array.shape)}
    if any(found[name] != entry[name] for name in found):
        return f"{path} holds {found} instead of { ({name: entry[name] for name in found}) }"
    return ""


def file_sha256(path: Path) -> str:
    """SHA-256 of a whole file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
