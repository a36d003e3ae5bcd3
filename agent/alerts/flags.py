"""The flag rate over its certificate: an exact test of what each model flagged lately, at each station."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from sqlalchemy import Engine

from agent.alerts.base import Alarms
from agent.phrases import Phrase
from agent.store import alerts, products, registry, stations, trends
from agent.store.alerts import fitted
from agent.store.engine import reading
from agent.store.trends import DecidedRate
from model.statistics import binomial_tail, exceeds_rate

WINDOW = timedelta(hours=24)
EVERY_S = 900.0
AT_LEAST = 100  # inspected frames; fewer say nothing
LEVEL = 0.001  # false alarms per day of one model at one station, at most
LOOKS = math.ceil(WINDOW.total_seconds() / (EVERY_S * 0.9))  # a day's, as close together as agents.chores lets them be


class FlagRates:
    """Raises `flag_rate` where more is flagged than the certificate allows of good parts.

    The test is exact and one-sided, of the last 24 hours, with the day's looks corrected for (`exceeds_rate`). It
    assumes that the certificate holds, and flags that are independent: several frames of one part are not, and a
    certificate over several stations speaks of their mix. It ends once no more is flagged than allowed.

    Args:
        engine: the database.
        alarms: takes what it finds.
        certified: the deployments whose certificate speaks of the scorer in use; others flag everything.
    """

    def __init__(self, engine: Engine, alarms: Alarms, *, certified: Callable[[], Collection[int]]) -> None:
        self._engine, self._alarms, self._certified = engine, alarms, certified

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            StoreError: the database is away.
        """
        with reading(self._engine) as conn:
            found = trends.decided_rates(conn, now - WINDOW)
            live = {one.id: one.certificate for one in registry.live_all(conn).values()}
            places = {one.id: one.name for one in stations.all(conn)}
            made = {one.id: one.name for one in products.all(conn)}
            ended = {one.subject: one for one in alerts.standing(conn) if one.kind == "flag_rate"}
        certified = set(self._certified())
        for one in found:
            certificate = live.get(one.deployment_id)
            station, product = places.get(one.station_id), made.get(one.product_id)
            if certificate and one.deployment_id in certified and station and product:
                allowed = float(certificate["certified_review_rate"])
                subject = f"station:{station} product:{product}"
                before = ended.get(fitted(subject))
                same = before is not None and before.detail.get("deployment") == one.deployment_id
                if self._stands(one, allowed, same):
                    ended.pop(fitted(subject), None)
                    if not same:
                        self._raise(subject, station, product, one, allowed)
        for subject in ended:
            self._alarms.cleared("flag_rate", subject)

    def _stands(self, one: DecidedRate, allowed: float, raised: bool) -> bool:
        if one.inspected < AT_LEAST:
            return False
        if raised:
            return one.flagged > allowed * one.inspected
        return exceeds_rate(one.flagged, one.inspected, allowed, level=LEVEL, looks=LOOKS)

    def _raise(self, subject: str, station: str, product: str, one: DecidedRate, allowed: float) -> None:
        words = Phrase(
            "{station} flagged {flagged} of {inspected} frames of {product} in 24 h ({rate:.1%}); the certificate "
            "allows {allowed:.1%} of good ones. Either the pictures drift, or there are more defects: review a sample "
            "of the flagged parts to tell",
            station=station, flagged=one.flagged, inspected=one.inspected, product=product,
            rate=one.flagged / one.inspected, allowed=allowed,
        )  # fmt: skip
        p_value = binomial_tail(one.flagged, one.inspected, allowed)
        self._alarms.raised(
            "flag_rate", subject, words, deployment=one.deployment_id, inspected=one.inspected, flagged=one.flagged,
            allowed=allowed, p_value=p_value,
        )  # fmt: skip
