"""Names of headers as they may be on the wire."""

from __future__ import annotations


class Name(str):
    """A header's name of any bytes, which kafka-python only takes as text."""

    raw: bytes

    def encode(self, *_: object) -> bytes:
        return self.raw


def named(name: bytes) -> Name:
    """A header's name of these bytes."""
    made = Name()
    made.raw = name
    return made
