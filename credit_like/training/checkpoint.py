"""One checkpoint file: written so that no kill point leaves a pair that does not verify, read only after its digest.

Beside ``name`` stands ``name.sha256``. Before the rename it lists the old and the new digest, afterwards the new one
only: whatever moment the process dies at, the file that is there matches a digest that is there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from torch import Tensor, nn

from credit_like.config import UserError

FORMAT_VERSION = 1
_CHUNK = 1 << 22


class CheckpointError(UserError):
    """A checkpoint cannot be written, or is not what it claims to be."""


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically: temporary file in the same folder, digest, fsync, rename, fsync.

    Raises TypeError, naming the entry, where ``state`` holds anything but plain data and tensors; CheckpointError when
    the disk refuses. The file that stood at ``path`` before is whole until the new one is.
    """
    replace(path, stage(path, state))


def stage(path: Path, state: dict[str, Any]) -> tuple[Path, str]:
    """Write ``state`` to a temporary file beside ``path``; returns it and its SHA-256. Touches nothing else."""
    require_plain(state)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            digesting = _DigestingWriter(file)
            torch.save({"format_version": FORMAT_VERSION, **state}, cast(IO[bytes], digesting))
            file.flush()
            os.fsync(file.fileno())
        return temporary, digesting.digest.hexdigest()
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        cause = digesting.error if isinstance(error, RuntimeError) else error
        if cause is None:
            raise
        raise _cannot_write(path, cause) from error


def replace(path: Path, staged: tuple[Path, str]) -> None:
    """Put a staged file in the place of ``path``."""
    temporary, digest = staged
    sidecar = sidecar_of(path)
    try:
        _write_sidecar(sidecar, [*read_sidecar(sidecar), digest])
        os.replace(temporary, path)
        _fsync_folder(path.parent)
        _write_sidecar(sidecar, [digest])
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def duplicate(source: Path, digest: str, target: Path) -> None:
    """Make ``target`` another name of ``source``'s content, as safely as a write; a hard link where there are such.

    ``digest`` is what ``source`` was found or written to have; taking it afresh here would certify a damaged file.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        replace(target, (temporary, digest))
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(target, error) from error


def read_checkpoint(path: str | Path, map_location: torch.device | str = "cpu") -> dict[str, Any]:
    """The state in ``path``. Raises CheckpointError, naming the file, when it is missing, cut, altered or foreign.

    The digest is compared before a byte is parsed; parsing uses ``weights_only=True``, so that a file never runs code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}")
    known = read_sidecar(sidecar_of(path))
    if not known:
        raise CheckpointError(
            f"{path}: its digest file {sidecar_of(path).name} is missing or unreadable, so it cannot be told from a "
            "damaged or a foreign one; not loaded. Restore both from a copy"
        )
    digest = file_digest(path)
    if digest not in known:
        raise CheckpointError(
            f"{path} is damaged or was altered: its SHA-256 is {digest[:16]}..., recorded was {known[-1][:16]}...; "
            "not loaded. Restore it from a copy; a resume goes on from the newest checkpoint that is whole"
        )
    try:
        state: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path} is not a credit-like checkpoint: {reason}") from error
    version = state.get("format_version") if isinstance(state, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{path} has checkpoint format {version!r}; this version reads format {FORMAT_VERSION}")
    return state


def verifies(path: Path) -> bool:
    """Whether ``path`` is there and matches a digest of its sidecar."""
    return path.is_file() and file_digest(path) in read_sidecar(sidecar_of(path))


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_sidecar(sidecar: Path) -> list[str]:
    """The digests that a sidecar lists; empty when it is missing or holds anything else."""
    try:
        words = [line.split()[0] for line in sidecar.read_text("ascii").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []
    return words if all(len(word) == 64 and set(word) <= set("0123456789abcdef") for word in words) else []


def require_plain(value: Any, where: str = "checkpoint") -> None:
    """Raises TypeError naming the entry where ``value`` is anything but plain data, tensors and containers of them."""
    if type(value) in (type(None), bool, int, float, str, bytes, complex, Tensor, nn.Parameter):
        return
    if type(value) in (dict, OrderedDict):
        for key, entry in value.items():
            if type(key) not in (str, int, float, bool):
                raise TypeError(f"{where} has a key of type {type(key).__name__}; use str or int keys")
            require_plain(entry, f"{where}.{key}")
    elif type(value) in (list, tuple, set):
        for index, entry in enumerate(value):
            require_plain(entry, f"{where}[{index}]")
    elif not isinstance(value, torch.Size | torch.dtype | torch.device):
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__name__}; a checkpoint holds plain data and tensors "
            "only (float(...), str(...) or torch.as_tensor(...) makes it so)"
        )


class _DigestingWriter:
    """A file for ``torch.save`` that hashes what passes through. torch hides an OSError of a write, so it is kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.digest = hashlib.sha256()
        self.error: OSError | None = None
        self._file = file

    def write(self, data: Any) -> int:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()


def _write_sidecar(sidecar: Path, digests: list[str]) -> None:
    name = sidecar.name.removesuffix(".sha256")
    temporary = sidecar.with_name(f".{sidecar.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="ascii") as file:
            file.write("".join(f"{digest}  {name}\n" for digest in digests))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, sidecar)
    finally:
        temporary.unlink(missing_ok=True)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"cannot write {path}: {error.strerror or error}. The files that were there are whole; free some space or "
        "choose another save_loc, then resume"
    )
