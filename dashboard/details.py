"""What an event of the audit trail says beyond who, what and whom, as people read it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.codes import shown
from dashboard.words import say

LISTED = 5
NOTHING = "–"
ARROW = " → "
CHANGE = ("from", "to")


def told(detail: Mapping[str, object], people: Mapping[int, str]) -> str:
    """The names and values of a detail in its order, such as `decision: defect, note: “a long one”`.

    A change (`from` and `to`) is told as one, of many fields by those that differ. What is empty is left out, of a
    list what comes after the fifth; the audit trail itself has it.

    Args:
        detail: an event's.
        people: their names by id.
    """
    changes = set(CHANGE) <= set(detail)
    pairs = [
        f"{shown(name)}: {_value(_named(name, value, people))}"
        for name, value in detail.items()
        if value not in (None, "", [], {}) and not (changes and name in CHANGE)
    ]
    return ", ".join(filter(None, [_change(detail["from"], detail["to"]) if changes else "", *pairs]))


def _change(before: object, after: object) -> str:
    if not (isinstance(before, Mapping) and isinstance(after, Mapping)):
        return _value(before) + ARROW + _value(after)
    names = dict.fromkeys([*before, *after])
    return ", ".join(
        f"{shown(name)}: {_value(before.get(name))}{ARROW}{_value(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    )


def _named(name: str, value: object, people: Mapping[int, str]) -> object:
    return people.get(value, value) if name.endswith("_by") and isinstance(value, int) else value


def _value(value: object) -> str:
    match value:
        case None | "":
            return NOTHING
        case bool():
            return say("yes") if value else say("no")
        case float():
            return f"{value:.6g}"
        case str():
            return shown(value) if value.isidentifier() else f"“{value}”"
        case Mapping():
            return f"({told(value, {})})" if value else NOTHING
        case Sequence():
            more = len(value) - LISTED
            listed = ", ".join(map(_value, value[:LISTED])) or NOTHING
            return listed if more <= 0 else say("{listed} and {n:,} more", listed=listed, n=more)
        case _:
            return str(value)
