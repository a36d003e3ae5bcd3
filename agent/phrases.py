"""Words for people that remember what they were made of, so that a page can say them in the plant's language.

What the agent stores, logs and sends stays their English. What people or frames say is a value, never a template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from math import isfinite
from typing import Any, Self

MADE = "made"  # the key of `made_of` where a record's JSON keeps it beside the English


class Phrase(str):
    """A text in English.

    Attributes:
        template: what it was made of, its `{placeholders}` unfilled; a literal, which the dashboard's catalogue has.
        values: what fills them; phrases among them are said in the plant's language, too.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, /, **values: object) -> Self:
        """Fills the template; without values its braces are text."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values
        return made


class Worded(Exception):
    """An error that people read; as text it is English."""

    def __init__(self, template: str, /, **values: object) -> None:
        self.phrase = template if isinstance(template, Phrase) else Phrase(template, **values)
        super().__init__(self.phrase)


def word(code: str) -> Phrase:
    """A code of ours, such as a state, in a phrase."""
    return Phrase(code.replace("_", " "))


def together(template: str, words: Iterable[str]) -> str:
    """Several in one, such as by `{one} or {other}`; "" where there are none."""
    found = list(words)
    return reduce(lambda one, other: Phrase(template, one=one, other=other), found) if found else ""


def made_of(words: str | None) -> dict[str, Any] | None:
    """What a text was made of, for JSON; None where that is not known, or there is none."""
    if not isinstance(words, Phrase):
        return None
    return {"template": words.template, "values": {name: _plain(one) for name, one in words.values.items()}}


def kept(words: str) -> dict[str, Any]:
    """What a record's JSON keeps beside the words; nothing where it is not known what they were made of."""
    made = made_of(words)
    return {MADE: made} if made else {}


def bare(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record's JSON without what `kept` put there."""
    return {name: value for name, value in record.items() if name != MADE}


def _plain(value: object) -> object:
    """A value as JSON has it, which knows no NaN."""
    if isinstance(value, Phrase):
        return made_of(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def remade(words: str, made: object) -> str:
    """The text again as it was made; the record as it stands where `made`, as `made_of` gave it, does not give that."""
    try:
        phrase = _phrase(made)
    except (LookupError, TypeError, ValueError, AttributeError):
        return words
    return phrase if phrase == words else words


def _phrase(made: Any) -> Phrase:
    values = {name: _phrase(one) if isinstance(one, dict) else one for name, one in made["values"].items()}
    return Phrase(made["template"], **values)
