"""Each promise of the stream has tests that name it, and docs/promises.md says which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def marked() -> Iterator[tuple[int, str, str]]:
    """Promise, file and name of every test that is marked."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.promise":
                    for number in mark.args:
                        yield int(ast.unparse(number)), file.relative_to(ROOT).as_posix(), node.name


def listed() -> Iterator[tuple[int, str, str]]:
    """The same, as the page says."""
    sections = re.split(r"^## (\d+)\.", (ROOT / "docs" / "promises.md").read_text(encoding="utf-8"), flags=re.M)[1:]
    for number, text in zip(sections[::2], sections[1::2], strict=True):
        for file, name in re.findall(r"^- `(\S+)` `(\w+)`$", text, flags=re.M):
            yield int(number), file, name


def test_every_promise_has_tests_and_the_page_lists_them() -> None:
    found = sorted(marked())
    assert {number for number, _, _ in found} == {*range(1, 11)}
    assert sorted(listed()) == found
