"""What a check of the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor. `fix` is empty where all is well; `needed` is False where the line runs without it."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True
