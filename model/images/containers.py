"""What is read of an image file besides its pixels: whether it ends, and what a TIFF would have done to its picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_TAGS = {274: 1, 338: 0}  # orientation: as stored; extra samples: unspecified, so that colours are left as they are
_SHORT, MOST = 3, 65_535  # a type; entries that are read
_SCAN, _ALONE = 0xDA, frozenset((0x01, *range(0xD0, 0xD9)))  # start of a JPEG's scan, markers that have no length


def ends(data: bytes, kind: str) -> bool:
    """Whether the file of a kind that Pillow names has its end, whatever follows it; True for kinds without one."""
    if kind in ("JPEG", "MPO"):
        scan = _scan(data)
        return scan > 0 and data.rfind(b"\xff\xd9", scan) >= 0
    return kind != "PNG" or data.rfind(b"IEND") >= 0


def _scan(data: bytes) -> int:
    """Where a JPEG's first scan begins: an end marker before it is a thumbnail's. 0 where it has none."""
    at = 2
    while 0 <= at < len(data) - 4:
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, 0xFF):
            at = data.find(b"\xff", at + 1)
        elif marker in _ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            if marker == _SCAN:
                return at
    return 0


def as_stored(tiff: bytes) -> bytes | bytearray:
    """A TIFF whose readers neither turn its picture nor multiply its colours by their alpha."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        changes = list(_changes(tiff, order))
    except struct.error:  # cut off: whoever decodes it says so
        return tiff
    changed = bytearray(tiff) if changes else tiff
    for place, value in changes:
        struct.pack_into(f"{order}H", changed, place, value)
    return changed


def _changes(tiff: bytes, order: str) -> Iterator[tuple[int, int]]:
    """Where the first directory holds a value of `_TAGS`, and what it should be."""
    big = struct.unpack_from(f"{order}H", tiff, 2)[0] == 43
    offset, count, begins = ("Q", "Q", 8) if big else ("I", "H", 4)
    head = struct.Struct(f"{order}HH{offset}")  # tag, type, number of values; the value or its place comes next
    size = head.size + struct.calcsize(offset)
    at = struct.unpack_from(order + offset, tiff, begins)[0]
    first = at + struct.calcsize(count)
    entries = min(struct.unpack_from(order + count, tiff, at)[0], MOST)
    for place in range(first, first + entries * size, size):
        tag, kind, values = head.unpack_from(tiff, place)
        if tag in _TAGS and (kind, values) == (_SHORT, 1):
            yield place + head.size, _TAGS[tag]
