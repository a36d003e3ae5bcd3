"""A record's headers as text that a database takes and a page shows."""

from __future__ import annotations

from collections.abc import Sequence

MOST = 50  # headers
LONGEST = 1000  # characters of a name, and of a value
ITEM = 8_000  # characters of all headers of an item: one has some hundred, and there are many items


def texts(headers: Sequence[tuple[str, bytes]], room: int | None = None) -> list[tuple[str, str]]:
    """The first headers as (name, text) pairs; bytes that are no UTF-8 are replaced.

    Args:
        headers: as a record has them.
        room: characters of all of them together, without those that find no place; None: `MOST` of `LONGEST`.
    """
    found = [
        (name[:LONGEST], value[: 4 * LONGEST].decode("utf-8", "replace")[:LONGEST]) for name, value in headers[:MOST]
    ]
    if room is None:
        return found
    kept = []
    for name, text in found:
        if len(name) + len(text) <= room:
            room -= len(name) + len(text)
            kept.append((name, text))
    return kept
