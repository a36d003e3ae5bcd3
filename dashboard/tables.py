"""Tables of words and numbers as HTML that a screen reader can walk; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from dashboard.words import say

JOINER = "\u2060"  # without width
SENTENCE = 40  # characters; what is longer is one
HYPHENED = re.compile(r"(?<!\S)(?=\S{1,24}(?!\S))\S+-\S+")  # a word that a line would break in
# What is looked for only once escapes are gone: addresses, `:names:` (but not times), arrows.
TORN = re.compile(r"(?<=:)(?=\S)(?!\d\d\b)|(?<=@)(?=\S)|(?<=www)(?=\.)|(?<=[-<])(?=[->])", re.IGNORECASE)


def plain(text: str) -> str:
    """Text within Markdown that stays text, in one line: nothing that Markdown or Streamlit knows comes of it."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", TORN.sub(JOINER, re.sub(r"\s+", " ", text)))


def table(rows: Sequence[Mapping[str, object]], *, low: bool = False) -> str:
    """A row each, under the keys of the first one as headings, said; with the class `line` of `dashboard.style`.

    Not as `st.dataframe`: that offers a CSV of its own, in which a text may be a formula (see `dashboard.sheets`).

    Args:
        rows: the table.
        low: scrolled by itself where it has many rows.
    """
    head = "".join(f"<th scope='col'>{escape(say(name))}</th>" for name in (rows[0] if rows else ()))
    body = "".join("<tr>" + "".join(map(_cell, row.values())) + "</tr>" for row in rows)
    inside = f"<table class='line'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # Scrolled by itself where it is wider, by keys too.
    return f"<div class='wide{' low' if low else ''}' tabindex='0'>{inside}</div>"


def _cell(value: object) -> str:
    """Sentences get room; dates and names do not break at their hyphens, however narrow the table is."""
    text = str(value)
    if len(text) > SENTENCE:
        return f"<td class='long'>{escape(text)}</td>"
    return "<td>" + HYPHENED.sub(r"<span class='whole'>\g<0></span>", escape(text)) + "</td>"
