"""The template of what the dashboard says, from the source: `python -m tests.words_template > dashboard/words.pot`.

Its own words stand as literals in `say`, `several` or `later` (`dashboard.words`), those of the agent as the templates
of phrases (`agent.phrases`): in `Phrase`, `together`, and in the errors that people read.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

import agent
import dashboard
from dashboard.catalogues import WIDTH

SOURCE, AGENT = Path(dashboard.__file__).parent, Path(agent.__file__).parent
HEADER = """\
# The words of goodpart's dashboard. `goodpart words de.po` begins a translation of them, or adds what is new.
# What stands in braces is filled in, so each has to stand in the translation, too; ** and ` are Markdown."""
UNSAID = re.compile(rb'"(Project-Id|Report|POT-Creation|PO-Revision|Last-Tr|Language-Team|Generated)')  # of nobody yet
TEXTS = {"say": 1, "later": 1, "several": 2}
PHRASES = {"Phrase", "together"}
UNHEARD = {  # of the errors: what agents say to each other, and the command line alone
    "Fenced", "Outdated", "Raced", "Interrupted", "Busy", "CannotWrite", "ExportInputError", "ImportRefused",
    "NotMeasured",
}  # fmt: skip
Said = str | tuple[str, ...]


def main() -> None:
    """Prints it."""
    sys.stdout.buffer.write(template())


def template() -> bytes:
    """The template as it should stand in `dashboard/words.pot`: the same for the same source."""
    catalogue = Catalog(
        project="goodpart", header_comment=HEADER, charset="utf-8", fuzzy=False,
        creation_date=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    for folder, functions in ((SOURCE, TEXTS), (AGENT, dict.fromkeys(PHRASES | refusals(), 1))):
        for path in sorted(folder.rglob("*.py")):
            place = path.relative_to(SOURCE.parent).as_posix()
            for text in texts(parsed(path), functions):
                catalogue.add(text, locations=[(place, 1)])
    out = io.BytesIO()
    write_po(out, catalogue, width=WIDTH, include_lineno=False)
    return b"".join(one for one in out.getvalue().splitlines(keepends=True) if not UNSAID.match(one))


@cache
def parsed(path: Path) -> ast.Module:
    """A module."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def refusals() -> frozenset[str]:
    """The agent's errors that people read, by name: those that end in `agent.phrases.Worded`."""
    classes = [one for path in AGENT.rglob("*.py") for one in ast.walk(parsed(path)) if isinstance(one, ast.ClassDef)]
    found = {"Worded"}
    while more := {one.name for one in classes if found & {ast.unparse(base) for base in one.bases}} - found:
        found |= more
    return frozenset(found - {"Worded"} - UNHEARD)


def texts(tree: ast.AST, functions: Mapping[str, int]) -> Iterator[Said]:
    """What is said in a module, in its order, by functions that take so many texts."""
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    for call in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        count = functions.get(getattr(call.func, "id", ""), 0)
        found = [one.value for one in call.args[:count] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if count and len(found) == count:
            yield found[0] if count == 1 else tuple(found)


if __name__ == "__main__":
    main()
