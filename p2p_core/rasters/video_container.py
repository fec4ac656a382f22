"""What the container of a video tells without a decoder: its kind, and whether the file is as long as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

__all__ = ["Container", "container_of", "is_cut"]

Container = Literal["avi", "matroska", "mp4", "other"]
"""AVI counts its frames and tells no times; Matroska (WebM) tells times and no number of frames; MP4 (MOV) tells both."""

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")


def container_of(path: Path) -> Container:
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"RIFF"):
        return "avi"
    if start.startswith(_EBML):
        return "matroska"
    return "mp4" if start[4:] in _FIRST_BOXES else "other"


def is_cut(path: Path) -> bool:
    """Whether the end of the file is missing. False where the file does not tell its length."""
    length, kind = path.stat().st_size, container_of(path)
    with path.open("rb") as file:
        if kind == "avi":
            file.seek(4)
            return 8 + int.from_bytes(file.read(4), "little") > length  # of a large AVI, the first of its parts
        if kind == "matroska":
            return _segment_end(file) > length
        return kind == "mp4" and any(end > length for end in _box_ends(file, length))


def _segment_end(file: BinaryIO) -> int:
    """RFC 8794: an element is an id, a size and as many bytes. A file is a head and a segment. 0 for an open end."""
    file.seek(4)
    head = _vint(file)
    file.seek(head, 1)
    if file.read(4) != _SEGMENT:
        return 0
    size = _vint(file)
    return 0 if size < 0 else file.tell() + size


def _vint(file: BinaryIO) -> int:
    """An EBML number: the zeros that lead its first byte tell how many bytes follow. All ones stand for unknown, here -1."""
    first = file.read(1)
    if not first or not first[0]:
        return 0
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    value = int.from_bytes(first + file.read(more), "big") & ((1 << bits) - 1)
    return -1 if value == (1 << bits) - 1 else value


def _box_ends(file: BinaryIO, length: int) -> Iterator[int]:
    """ISO 14496-12: boxes follow one another, each with its size first; 1 for a size of eight bytes, 0 for up to the end."""
    begin = 0
    while begin + 8 <= length:
        file.seek(begin)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8:
            return
        begin += size
        yield begin
