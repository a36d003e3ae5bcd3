"""What people read: English as it stands in the source, or the plant's translation of it, the same for a whole server.

A word goes to the screen through `say` or `several`, as it is drawn. What a constant holds is marked by `later` where
it stands, and said where it is shown; what the agent says is a phrase (`agent.phrases`), and `retold` here.
`tests/words_template.py` gathers all of them into `dashboard/words.pot`.
"""

from __future__ import annotations

from gettext import NullTranslations

from agent.phrases import Phrase

_spoken = NullTranslations()


def say(text: str, /, **values: object) -> str:
    """The text in the server's language, its `{placeholders}` filled with `values`."""
    said = _spoken.gettext(text) if text else text  # of "" it has the header
    return said.format(**values) if values else said


def several(one: str, many: str, n: int, /, **values: object) -> str:
    """The form for so many, in the server's language; `{n}` is the number."""
    return _spoken.ngettext(one, many, n).format(n=n, **values)


def later(text: str) -> str:
    """The text as it is, marked for the template: `say` it where it is shown."""
    return text


def retold(words: str) -> str:
    """What the agent says, in the server's language; what is no phrase, such as a person's own words, as it stands."""
    if not isinstance(words, Phrase):
        return words
    values = {name: retold(one) if isinstance(one, str) else one for name, one in words.values.items()}
    return say(words.template, **values)


def opening(text: str) -> str:
    """The text as it opens a sentence."""
    return text[:1].upper() + text[1:]


def use(translations: NullTranslations) -> None:
    """Makes all that is said from now on be said so."""
    global _spoken
    _spoken = translations
