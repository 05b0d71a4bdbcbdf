"""Files that are no logs as they stand, though people expect one: each is refused with what it is and a remedy."""

from __future__ import annotations

import bz2
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from credit_like.can import LogError, UnknownFormatError, read_dataset, read_log

CANDUMP = "".join(f"({t / 100:.6f}) can0 {0x100 + t % 5:03X}#{t:08X}\n" for t in range(1, 301)).encode()
PACKED = "; unpack it, or pack it with gzip, zip or zstd, which are read as they are"
UTF_16 = "is text in UTF-16; save it as UTF-8, with `iconv -f UTF-16 -t UTF-8`, say"


def tar(content: bytes, mode: str = "w") -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("drive.log")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return made.getvalue()


def as_utf_16_without_mark(content: bytes) -> bytes:
    return content.decode().encode("utf-16-le")


FILES: list[tuple[Callable[[bytes], bytes], str]] = [
    (bz2.compress, "is packed with bzip2" + PACKED),
    (lzma.compress, "is packed with xz" + PACKED),
    (lambda content: b"7z\xbc\xaf\x27\x1c" + content, "is a 7z archive" + PACKED),
    (lambda content: b"Rar!\x1a\x07\x01\0" + content, "is a RAR archive" + PACKED),
    (tar, "is a tar archive; unpack it and read the folder"),
    (lambda content: tar(content, "w:gz"), "is a tar archive; unpack it and read the folder"),
    (lambda content: b"MDF     3.30" + content, "is an MDF file of version 3; convert it to version 4"),
    (
        lambda content: b"\xd4\xc3\xb2\xa1\x02\0" + content,
        "is a pcap file; save the log with candump -L, or convert it",
    ),
    (lambda content: content.decode().encode("utf-16"), UTF_16),
    (as_utf_16_without_mark, UTF_16),
    (lambda content: content.decode().encode("utf-16-be"), UTF_16),
    (
        lambda content: content.replace(b"\n", b"\r"),
        "has lines that end in CR alone; end them in LF, with `tr '\\r' '\\n'`, say",
    ),
]


@pytest.mark.parametrize(("made", "message"), FILES, ids=[message.partition(";")[0] for _, message in FILES])
def test_is_refused_with_what_it_is(made: Callable[[bytes], bytes], message: str, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    path.write_bytes(made(CANDUMP))
    with pytest.raises(UnknownFormatError) as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_in_a_folder_and_in_a_zip_it_is_noted(tmp_path: Path) -> None:
    (tmp_path / "drive.log").write_bytes(CANDUMP)
    (tmp_path / "more.tar.gz").write_bytes(tar(CANDUMP, "w:gz"))
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("a.log", CANDUMP.replace(b"can0", b"can1"))
        archive.writestr("b.log.xz", lzma.compress(CANDUMP))
    assert read_dataset(tmp_path, progress=False).notes == (
        "more.tar.gz: is a tar archive",
        f"{tmp_path / 'zip'}/a.log: not read from the zip: b.log.xz: is packed with xz",
    )


@pytest.mark.parametrize("content", [b"\r\n" + CANDUMP, CANDUMP.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + CANDUMP])
def test_what_only_looks_unusual_is_read(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "drive.log"
    path.write_bytes(content)
    (capture,) = read_log(path)
    assert len(capture.frames) == 300


@pytest.mark.parametrize(("first", "last"), [("-1.000000", "1.990000"), ("1678840552415.0", "1678840852415.0")])
def test_times_before_zero_or_in_milliseconds_are_refused_with_the_range(first: str, last: str, tmp_path: Path) -> None:
    times = [float(first) + k * (float(last) - float(first)) / 299 for k in range(300)]
    path = tmp_path / "drive.log"
    path.write_text("".join(f"({t:.6f}) can0 123#00\n" for t in times))
    with pytest.raises(LogError, match=r"no frames of candump -L .* from 0 to 1e11 \(the year 5138\): '\("):
        read_log(path)


def test_logs_behind_links_and_in_names_with_blanks_are_read(tmp_path: Path) -> None:
    (tmp_path / "in" / "a folder").mkdir(parents=True)
    (tmp_path / "elsewhere.log").write_bytes(CANDUMP)
    (tmp_path / "in" / "a folder" / "my drive (1).log").write_bytes(CANDUMP.replace(b"can0", b"can1"))
    (tmp_path / "in" / "link.log").symlink_to(tmp_path / "elsewhere.log")
    (tmp_path / "in" / "round").symlink_to(tmp_path / "in")
    names = [capture.name for capture in read_dataset(tmp_path / "in", progress=False).captures]
    assert names == ["a folder/my drive (1).log", "link.log"]
