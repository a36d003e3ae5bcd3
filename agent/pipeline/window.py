"""The frames of one partition in consumption order, whatever order they finish in."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Window(Generic[T]):
    """Knows the longest finished prefix: all that may be committed without leaving a gap. Not thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[int, T | None] = {}
        self._last = -1

    def __len__(self) -> int:
        return len(self._entries)

    def arrive(self, offset: int) -> None:
        """A frame was read; offsets only rise, but may have holes where the log has none.

        Raises:
            ValueError: the offset is not after the last one.
        """
        if offset <= self._last:
            raise ValueError(f"offset {offset} arrived after {self._last}")
        self._entries[offset] = None
        self._last = offset

    def finish(self, offset: int, result: T) -> None:
        """What became of a frame is known.

        Raises:
            ValueError: it never arrived, or has finished before.
        """
        if self._entries.get(offset, result) is not None:
            raise ValueError(f"offset {offset} is not in flight")
        self._entries[offset] = result

    def prefix(self, limit: int) -> list[T]:
        """At most `limit` results from the start of the window up to the first unfinished frame."""
        return list(islice(self._finished(), limit))

    def pop(self, count: int) -> None:
        """Takes the first `count` frames out: they are committed."""
        for offset in list(islice(self._entries, count)):
            del self._entries[offset]

    def results(self) -> list[T]:
        """Every finished result still here, prefix or not."""
        return [result for result in self._entries.values() if result is not None]

    def _finished(self) -> Iterator[T]:
        for result in self._entries.values():
            if result is None:
                return
            yield result
