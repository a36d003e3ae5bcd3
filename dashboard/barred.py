"""Why the acting user may not do something, in words: what a page says before the press."""

from __future__ import annotations

from dashboard import context

PEOPLE = {"operator": "Operators", "engineer": "Engineers", "admin": "Admins"}


def barred(least: str) -> str | None:
    """A sentence where they may not do what takes at least this role; None where they may."""
    if context.may(least):
        return None
    user = context.actor()
    return f"{PEOPLE[least]} do this{f'; {user.name} is {user.role}' if user else ''}."
