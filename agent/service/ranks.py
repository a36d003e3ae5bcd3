"""Who may do what: roles in order, and the refusals of the service."""

from __future__ import annotations

from agent.phrases import Worded, word
from agent.store.users import ROLES, User


class Refused(Worded):
    """An act that is not done; the message says what is allowed."""


class PermissionDenied(Refused):
    """The actor's role does not allow it."""


class Invalid(Refused):
    """An argument cannot be used."""


def may(actor: User, least: str) -> bool:
    """Whether this user's role is at least `least`; each role may do what the lower ones may."""
    return actor.disabled_at is None and ROLES.index(actor.role) >= ROLES.index(least)


def require(actor: User, least: str, action: str = "this") -> None:
    """Lets the actor pass.

    Raises:
        PermissionDenied: their role is lower than `least`, or they are disabled.
    """
    if actor.disabled_at is not None:
        raise PermissionDenied("{name} is disabled", name=actor.name)
    if not may(actor, least):
        raise PermissionDenied(
            "{action} needs the role {least} or higher; {name} is {role}",
            action=action,
            least=word(least),
            name=actor.name,
            role=word(actor.role),
        )
