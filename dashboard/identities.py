"""Whom a provider of identities has named: what of its claims counts here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import structlog

from agent.settings import Oidc

log = structlog.get_logger()
FRESH_S = 120.0  # Streamlit keeps the answer for 30 days; it counts right after it was given


def named(claims: Mapping[str, Any], provider: Oidc, now: datetime) -> str | None:
    """The name of a user here, which the provider says is theirs; None: it says nothing, not now, or is not sure."""
    value, issued = claims.get(provider.claim), claims.get("iat")
    if not isinstance(value, str) or not value.isprintable() or not isinstance(issued, int | float):
        log.warning("sign_in_refused", method="provider", why=f"no {provider.claim} or no iat")
        return None
    if abs(now.timestamp() - issued) > FRESH_S:
        log.warning("sign_in_refused", method="provider", why="iat: said long ago, or by another clock")
        return None
    if provider.claim == "email" and provider.verified and claims.get("email_verified") not in (True, "true"):
        log.warning("sign_in_refused", method="provider", why="email_verified is not true: see oidc.verified")
        return None
    return value
