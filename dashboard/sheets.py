"""CSV that spreadsheets show and do not run."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what spreadsheets read as the start of a formula


def to_csv(*tables: Sequence[Mapping[str, object]]) -> str:
    """Tables one after another, an empty line between them, each under its first row's keys; empty ones: none."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC)  # or a text is cut where another separator stands
    for at, rows in enumerate(rows for rows in tables if rows):
        if at:
            writer.writerow([])
        writer.writerow([safe(name) for name in rows[0]])
        writer.writerows([safe(value) for value in row.values()] for row in rows)
    return out.getvalue()


def safe(value: object) -> object:
    """A text that a spreadsheet takes for a formula gets an apostrophe before it (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
