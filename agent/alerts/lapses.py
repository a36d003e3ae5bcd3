"""Certificates that do not speak for the stream as it is now, or not at the rate asked for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.alerts.standing import Said, follow
from agent.phrases import Phrase
from agent.settings import Settings
from agent.store import alerts, lapses, products
from agent.store.engine import reading

EVERY_S = 60.0
KIND = "certificate_lapsed"


class Lapses:
    """Raises `certificate_lapsed` for each product whose certificate has lapsed, until it has a new one."""

    def __init__(self, engine: Engine, settings: Settings, alarms: Alarms) -> None:
        self._engine, self._settings, self._alarms = engine, settings, alarms

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            StoreError: the database is away.
        """
        with reading(self._engine) as conn:
            lapsed = lapses.all(conn, self._settings.certificate)
            names = {one.id: one.name for one in products.all(conn)}
            standing = alerts.standing(conn)
        found = {
            f"product:{names[product_id]}": Said(
                Phrase("{product}: {lapse}", product=names[product_id], lapse=lapse.words),
                detail={
                    "epoch": lapse.since.id,
                    "calibration": lapse.next.n,
                    "needed": lapse.next.needed,
                    "look": lapse.next.look,
                    "best": lapse.next.best,
                },
            )
            for product_id, lapse in lapsed.items()
        }
        follow(self._alarms, standing, KIND, found)
