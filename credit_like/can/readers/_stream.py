"""The logs inside a file: plain, gzip, zstd, or the members of a zip, told by content and unpacked block by block.

Nothing is ever written to disk under the name of a member, so that it cannot lead anywhere; what a small file may
expand to is limited.
"""

from __future__ import annotations

import gzip
import hashlib
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from credit_like.can.errors import LogError, UnknownFormatError
from credit_like.can.readers._zstd import ZstdError, ZstdStream

#: A file that unpacks to more than this many times its size is refused; CAN logs reach 30, deflate can reach 1032.
MAX_EXPANSION = 250
#: ... but only beyond this many bytes, since a short log of one repeated frame packs very well.
_FREE_BYTES = 64 << 20
_MAX_MEMBERS = 256

_GZIP, _ZIP, _ZIP_EMPTY, _ZSTD = b"\x1f\x8b", b"PK\x03\x04", b"PK\x05\x06", b"\x28\xb5\x2f\xfd"
_DAMAGED = (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, ZstdError)


@dataclass
class _Allowance:
    """Bytes that one file may expand to, all members together, and those that each is known to expand to."""

    limit: int
    known: dict[str, int] = field(default_factory=dict)

    def take(self, member: str, size: int) -> bool:
        """Whether the first ``size`` bytes of ``member`` are within the limit."""
        self.known[member] = max(size, self.known.get(member, 0))
        return sum(self.known.values()) <= self.limit


@dataclass(frozen=True)
class LogText:
    """One text: the whole of ``path``, or its zip member ``member``."""

    path: Path
    member: str = ""
    _allowance: _Allowance = field(default_factory=lambda: _Allowance(0), repr=False)

    @property
    def label(self) -> str:
        """How messages and the record of sources call it: ``drive.zip/drive.log``."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def blocks(self, size: int) -> Generator[bytes, None, None]:
        """The unpacked bytes in blocks of ``size`` at most.

        Raises LogError when the file cannot be opened, is damaged, cut short or encrypted, or expands beyond reason.
        """
        try:
            with ExitStack() as stack:
                stream = self._open(stack)
                read = 0
                while block := stream.read(size):
                    read += len(block)
                    if not self._allowance.take(self.member, read):
                        raise LogError(
                            f"{self.label}: unpacks to more than {MAX_EXPANSION} times its size, as no CAN log does; "
                            "unpack it yourself if you trust it"
                        )
                    yield block
        except _DAMAGED as error:
            raise LogError(
                f"{self.label}: the compressed file is damaged, cut short or encrypted ({error}); fetch it again, or "
                "unpack what can be saved and read that"
            ) from error
        except OSError as error:
            raise LogError(
                f"{self.label}: cannot be read ({error.strerror or error}); check the path and its rights"
            ) from error

    @contextmanager
    def whole(self, size: int) -> Iterator[tuple[Path, str]]:
        """The content as a file, for formats that are not read from front to back, and the SHA-256 of its bytes.

        That is the file itself, or an unpacked copy in the folder for temporary files, which goes when the block ends.
        Raises LogError as ``blocks``, and when there is no room for the copy.
        """
        digest = hashlib.sha256()
        with self._copy() if self._is_packed() else nullcontext() as copy:
            for block in self.blocks(size):
                digest.update(block)
                if copy is not None:
                    self._write(copy, block)
            yield (self.path if copy is None else Path(copy.name)), digest.hexdigest()

    def _is_packed(self) -> bool:
        with ExitStack() as stack:
            return bool(self.member) or isinstance(self._open(stack), gzip.GzipFile | ZstdStream)

    def _copy(self) -> AbstractContextManager[IO[bytes]]:
        try:
            return tempfile.NamedTemporaryFile(prefix="credit-like-")
        except OSError as error:
            raise self._no_room(error) from error

    def _write(self, copy: IO[bytes], block: bytes) -> None:
        try:
            copy.write(block)
            copy.flush()
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> LogError:
        return LogError(
            f"{self.label}: cannot be unpacked to the folder for temporary files ({error.strerror or error}); make "
            "room there, name another folder in TMPDIR, or unpack the log yourself"
        )

    def _open(self, stack: ExitStack) -> Any:
        raw: Any = stack.enter_context(self.path.open("rb"))
        if self.member:
            archive = stack.enter_context(zipfile.ZipFile(raw))
            raw = stack.enter_context(archive.open(self.member))
        magic = raw.peek(4)[:4]
        if magic.startswith(_GZIP):
            return stack.enter_context(gzip.GzipFile(fileobj=raw))
        if magic == _ZSTD:
            return ZstdStream(raw)
        return raw


def texts_in(path: Path) -> list[LogText]:
    """The texts in ``path``: one, or those of a zip in the order of their names.

    Raises LogError when the path does not exist, is not a regular file, or is a zip that cannot be listed.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder; give a log in it" if path.is_dir() else "not a regular file; give a log"
            raise LogError(f"{path}: is {kind}")
        if status.st_size == 0:
            raise UnknownFormatError(str(path), "is empty", "give a log with frames")
        allowance = _Allowance(max(_FREE_BYTES, MAX_EXPANSION * status.st_size))
        with path.open("rb") as file:
            magic = file.read(4)
            if magic not in (_ZIP, _ZIP_EMPTY):
                return [LogText(path, _allowance=allowance)]
            members = [member for member in zipfile.ZipFile(file).infolist() if not member.is_dir()]
    except FileNotFoundError as error:
        if path.is_symlink():
            raise LogError(
                f"{path}: is a link to {path.readlink()}, which is not there; mend the link or remove it"
            ) from error
        raise LogError(f"{path}: no such file; check the path") from error
    except _DAMAGED as error:
        raise LogError(f"{path}: the zip is damaged or cut short ({error}); fetch it again") from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror or error}); check the path and its rights") from error
    names = sorted({member.filename for member in members})
    if not names or len(names) != len(members) or len(names) > _MAX_MEMBERS:
        raise LogError(
            f"{path}: the zip holds {len(members)} files, of which 1 to {_MAX_MEMBERS} of different names can be read; "
            "unpack it and read the folder"
        )
    return [LogText(path, name, allowance) for name in names]
