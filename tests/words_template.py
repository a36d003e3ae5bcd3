"""The template of the dashboard's words, from its source: `python -m tests.words_template > dashboard/words.pot`.

What is said stands as a literal in `say`, `several` or `later` (`dashboard.words`), wherever in the source that is.
"""

from __future__ import annotations

import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

import dashboard
from dashboard.catalogues import WIDTH

SOURCE = Path(dashboard.__file__).parent
HEADER = """\
# The words of goodpart's dashboard. `goodpart words de.po` begins a translation of them, or adds what is new.
# What stands in braces is filled in, so each has to stand in the translation, too; ** and ` are Markdown."""
UNSAID = re.compile(rb'"(Project-Id|Report|POT-Creation|PO-Revision|Last-Tr|Language-Team|Generated)')  # of nobody yet
TEXTS = {"say": 1, "later": 1, "several": 2}
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
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE.parent).as_posix()
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            catalogue.add(text, locations=[(place, 1)])
    out = io.BytesIO()
    write_po(out, catalogue, width=WIDTH, include_lineno=False)
    return b"".join(one for one in out.getvalue().splitlines(keepends=True) if not UNSAID.match(one))


def texts(tree: ast.AST) -> Iterator[Said]:
    """What is said in a module, in its order."""
    calls = [one for one in ast.walk(tree) if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)]
    for call in sorted(calls, key=lambda one: (one.lineno, one.col_offset)):
        count = TEXTS.get(getattr(call.func, "id", ""), 0)
        found = [one.value for one in call.args[:count] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        if count and len(found) == count:
            yield found[0] if count == 1 else tuple(found)


if __name__ == "__main__":
    main()
