"""Keyed draws: chance that only the secret's holder can foretell."""

from __future__ import annotations

import hashlib


def keyed_fraction(secret: bytes, person: str, key: str) -> float:
    """A number in [0, 1) that only the secret's holder can foretell: BLAKE2b of the key, keyed, personalised.

    Uniform and independent over distinct keys as far as BLAKE2b is a pseudo-random function. `person` separates uses
    (roles, audits) so that one draw says nothing of another.

    Args:
        secret: 16 .. 64 bytes.
        person: at most 16 bytes of ASCII.
        key: what is drawn, for example a serial.

    Source: Aumasson, Neves, Wilcox-O'Hearn & Winnerlein, ACNS 2013, "BLAKE2: simpler, smaller, fast as MD5".
    """
    digest = hashlib.blake2b(key.encode(), digest_size=8, key=secret, person=person.encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)
