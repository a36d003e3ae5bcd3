"""Passwords and PINs: what may be one, and their Argon2 hashes (argon2-cffi's defaults: RFC 9106, 64 MB)."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from threading import BoundedSemaphore

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from agent.service.ranks import Invalid

SHORTEST, LONGEST = 10, 200
PIN_SHORTEST, PIN_LONGEST = 4, 8
_hasher = PasswordHasher()
_room = BoundedSemaphore(2)  # each takes 64 MB: a flood of tries waits here, not in memory


def check_password(password: str) -> str:
    """The password as it is.

    Raises:
        Invalid: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(
            "a password has {shortest} to {longest} characters: a few words do", shortest=SHORTEST, longest=LONGEST
        )
    return password


def check_pin(pin: str) -> str:
    """The PIN as it is.

    Raises:
        Invalid: it is no PIN, or everybody's first guess.
    """
    digits = pin.isascii() and pin.isdigit() and PIN_SHORTEST <= len(pin) <= PIN_LONGEST
    steps = {ord(after) - ord(before) for before, after in pairwise(pin)}
    if not digits or steps in ({0}, {1}, {-1}):
        raise Invalid(
            "a PIN has {shortest} to {longest} digits, neither all the same nor in a row like 1234",
            shortest=PIN_SHORTEST,
            longest=PIN_LONGEST,
        )
    return pin


def digest(text: str) -> str:
    """What is stored of it."""
    with _room:
        return _hasher.hash(text)


def matches(stored: str | None, text: str) -> bool:
    """Whether it is the one that was stored. Takes as long where none was, so that nobody learns who has one."""
    with _room:
        try:
            return _hasher.verify(stored or _nobodys(), text[: 4 * LONGEST]) and stored is not None
        except VerificationError:
            return False


@cache
def _nobodys() -> str:
    return _hasher.hash("nobody's")
