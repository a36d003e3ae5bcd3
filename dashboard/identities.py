"""Whom a provider of identities has named: what of its claims counts here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

FRESH_S = 120.0  # Streamlit keeps the answer for 30 days; it counts right after it was given


def named(claims: Mapping[str, Any], claim: str, now: datetime) -> str | None:
    """The name of a user here, which the provider says is theirs; None: it says nothing, not now, or is not sure."""
    value, issued = claims.get(claim), claims.get("iat")
    if not isinstance(value, str) or not isinstance(issued, int | float):
        return None
    if abs(now.timestamp() - issued) > FRESH_S or (claim == "email" and claims.get("email_verified") is False):
        return None
    return value
