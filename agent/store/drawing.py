"""The draw of parts for the audit: by a keyed hash, before anything is known of their pictures.

Source: goodpart's model.md, "Roles and the audit sample".
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from agent.settings import Audit, Certificates
from agent.store import audits, lapses, products, stations
from agent.store.install import install_of
from model.statistics import keyed_fraction


@dataclass(frozen=True, slots=True)
class Drawing:
    """By which settings parts are drawn: [audit], and [certificate], whose lapses make more be drawn."""

    audit: Audit
    certificates: Certificates


def draws(secret: bytes, part: str, rate: float) -> bool:
    """Whether a part, by its serial or else its frame's id, is drawn at this rate; all of its views, or none.

    Assumes that who makes the parts does not know the secret. What a smaller rate draws, a larger one does, too.
    """
    return keyed_fraction(secret, "audit", part) < rate


def rate_at(own: float | None, audit: Audit, *, bursts: bool) -> float:
    """The rate of a station (`own`: its own; None: the configured one) for a product; `bursts`: `lapses.bursting`."""
    rate = audit.rate if own is None else own
    return max(rate, audit.burst_rate) if bursts else rate


def of_serial(conn: Connection, product_id: int, serial: str, station_id: int, drawing: Drawing) -> bool:
    """Whether that part is drawn, at the rates in force now, at any station that may see it.

    Those are the ones that run the product or leave it to their frames, and the one given. What was drawn elsewhere, or
    at other rates, shows by an audited view that waits for people.
    """
    if audits.waits(conn, product_id, serial):
        return True
    own = [
        one.audit_rate
        for one in stations.all(conn, retired=True)
        if one.id == station_id or (one.retired_at is None and one.product_id in (None, product_id))
    ]
    secret = install_of(conn).secret
    usually, in_burst = (
        draws(secret, serial, max(rate_at(rate, drawing.audit, bursts=bursts) for rate in own))
        for bursts in (False, True)
    )
    if usually or not in_burst:  # whether there is a burst is worth asking for the others only
        return usually
    lapse = lapses.of_product(conn, products.get(conn, product_id), drawing.certificates)
    return bool(lapse and lapse.bursts)
