"""A language that nobody speaks: each text in brackets, so that a word which no translation reaches stands out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from babel.messages.pofile import read_po, write_po
from playwright.sync_api import Page
from sqlalchemy import Engine

from agent.store.engine import reading
from agent.store.tables import audit_event, metadata
from dashboard import codes
from dashboard.catalogues import TEMPLATE

LANGUAGE = "en_XA"
OPENS, CLOSES = "⟦", "⟧"
LETTERS = re.compile("[A-Za-z]{2}")
# All texts of a page in its order, shadow trees included, and what screen readers are told; not keys, and not icons,
# which are words to a browser.
COLLECT = """
() => {
  const found = [];
  const left = "script, style, noscript, kbd, [data-testid*=Icon], [data-testid=stToolbar], [role=progressbar]";
  const take = (text) => { if (text && text.trim()) found.push(text); };
  const go = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return take(node.data);
    if (node.matches?.(left)) return;
    if (!node.closest?.("svg, canvas"))
      for (const name of ["aria-label", "alt", "title", "placeholder"]) take(node.getAttribute?.(name));
    if (node.shadowRoot) go(node.shadowRoot);
    for (const child of node.childNodes) go(child);
  };
  go(document.body);
  return found;
}
"""


def write(folder: Path) -> None:
    """The catalogue of that language."""
    with TEMPLATE.open("rb") as file:
        catalogue = read_po(file)
    for message in catalogue:
        if isinstance(message.id, tuple):
            message.string = tuple(f"{OPENS}{one}{CLOSES}" for one in message.id)
        elif message.id:
            message.string = f"{OPENS}{message.id}{CLOSES}"
    with (folder / f"{LANGUAGE}.po").open("wb") as out:
        write_po(out, catalogue)


def unsaid(page: Page) -> Iterator[str]:
    """What a page shows outside the brackets."""
    depth, text = 0, ""
    for one in page.evaluate(COLLECT):
        for sign in one:
            depth += (sign == OPENS) - (sign == CLOSES)
            text += sign if not depth and sign != CLOSES else ""
        if not depth:
            yield text
            text = ""
    assert depth == 0, "a text was cut"


def stored(engine: Engine) -> list[str]:
    """All texts that the database holds, the longest first; but not what stands for a code."""
    with reading(engine) as conn:
        found = {
            text for table in metadata.sorted_tables for row in conn.execute(sa.select(table)) for text in _of(row)
        }
    known = {one for name, words in vars(codes).items() if name.isupper() for one in words}
    data = (one for one in found if LETTERS.search(one) and one.replace("_", " ") not in known)
    return sorted(data, key=len, reverse=True)


def named(engine: Engine) -> list[str]:
    """The names in details of the audit trail, as the page Audit writes them: codes, the same in every language."""
    with reading(engine) as conn:
        found = {name for detail in conn.execute(sa.select(audit_event.c.detail)).scalars() for name in _names(detail)}
    return sorted((f"{name.replace('_', ' ')}: " for name in found), key=len, reverse=True)


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _names(one)


def _of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _of(list(value.values()))
    elif isinstance(value, list | tuple | sa.Row):
        for one in value:
            yield from _of(one)
