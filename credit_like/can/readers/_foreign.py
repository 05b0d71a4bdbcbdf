"""Files that are no logs as they stand although one may be in them: what they are, and what to do with them."""

from __future__ import annotations

_PACKED = "unpack it, or pack it with gzip, zip or zstd, which are read as they are"

#: How a file begins, what it is then, and the remedy.
_BEGINNINGS = (
    (b"BZh", "is packed with bzip2", _PACKED),
    (b"\xfd7zXZ\0", "is packed with xz", _PACKED),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _PACKED),
    (b"Rar!\x1a\x07", "is a RAR archive", _PACKED),
    (b"MDF     3", "is an MDF file of version 3", "convert it to version 4"),
    (b"\xd4\xc3\xb2\xa1", "is a pcap file", "save the log with candump -L, or convert it to a known format"),
    (b"\x0a\x0d\x0d\x0a", "is a pcapng file", "save the log with candump -L, or convert it to a known format"),
)
_UTF_8 = "save it as UTF-8, with `iconv -f UTF-16 -t UTF-8`, say"
#: Where a tar archive says that it is one (POSIX.1-1988, ustar).
_TAR_MAGIC, _TAR_OFFSET = b"ustar", 257
_UTF_16_BYTES = 64


def foreign(head: bytes) -> tuple[str, str] | None:
    """What a file that begins with ``head`` is, and the remedy; None where nothing is known against it."""
    for beginning, what, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return what, remedy
    if head[_TAR_OFFSET:].startswith(_TAR_MAGIC):
        return "is a tar archive", "unpack it and read the folder"
    if _is_utf_16(head):
        return "is text in UTF-16", _UTF_8
    if b"\r" in head and b"\n" not in head:
        return "has lines that end in CR alone", "end them in LF, with `tr '\\r' '\\n'`, say"
    return None


def _is_utf_16(head: bytes) -> bool:
    """By its byte order mark, or where every other byte of its beginning is zero, as in ASCII text without a mark."""
    start = head[:_UTF_16_BYTES]
    odd, even = start[1::2], start[::2]
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or (
        len(start) == _UTF_16_BYTES and any(not any(one) and all(other) for one, other in ((odd, even), (even, odd)))
    )
