"""`goodpart words`."""

from __future__ import annotations

import sys
from pathlib import Path


def words(file: Path) -> None:
    """Begin a translation of the dashboard's words, or add to one what is new. Example: goodpart words words/de.po

    It is a gettext catalogue: any editor of .po files opens it. With its folder in `dashboard.words` and its name,
    de, in `dashboard.language` the dashboard speaks it. What has no translation yet is shown in English.

    Args:
        file: of the translation, named by its language's code, such as de.po; what it has stays.
    """
    from dashboard import catalogues

    renewed = catalogues.renew(file)
    print(f"{file}: {renewed.texts} texts, {renewed.left} of them without a translation")
    for problem in renewed.wrong:
        print(f"- {problem}")
    sys.exit(bool(renewed.wrong))
