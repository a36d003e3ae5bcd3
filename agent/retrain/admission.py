"""Admits audit windows: once every drawn part of one is decided, its good parts calibrate or are held out.

Until then their samples wait, because those decided last are not like the others: dropping only the oddest part of 299
breaks the rate. Source: goodpart's model.md, "Roles and the audit sample".
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.base import Alarms
from agent.alerts.standing import Said, follow
from agent.phrases import Phrase
from agent.settings import Settings
from agent.store import alerts, audit, audits, epochs, products, windows
from agent.store.audits import Drawn, Place, Undecided
from agent.store.engine import reading, writing
from agent.store.epochs import GIVEN, Epoch
from agent.store.install import install_of
from agent.store.products import Product
from agent.store.windows import Window
from model.statistics import keyed_fraction

EVERY_S = 60.0
HELD_OUT = 0.375  # of the parts beyond those that the review rate needs: calibration to hold-out as 25 to 15
PATIENCE = 2  # windows that one may wait for decisions before an alert says so
KIND = "audit_waits"
NOTHING = Undecided(0, 0, ())
Part = Sequence[Drawn]  # the frames of one part, by the time they were seen

log = structlog.get_logger()


class Admission:
    """Looks at every product's windows. Any number of agents may do so at once: each window is admitted once.

    A window is over once no frame of it can still be scored: `pipeline.max_age_s` after its end. A part belongs to the
    window of its first frame, and all its frames must be decided, those of the windows before and after too. What
    comes later (a frame sent again, a review taken back and made anew) joins once its part is decided.

    Args:
        engine: the database.
        settings: audit, certificate, pipeline.max_age_s, the plant's timezone.
        alarms: hear of windows that wait too long.
    """

    def __init__(self, engine: Engine, settings: Settings, alarms: Alarms) -> None:
        self._engine, self._settings, self._alarms = engine, settings, alarms

    def check(self, now: datetime) -> None:
        """Looks once, in short transactions.

        Raises:
            StoreError: the database is away; what was admitted until then is.
        """
        with reading(self._engine) as conn:
            made, standing = products.all(conn), alerts.standing(conn)
        late = {f"product:{product.name}": self._look(product, now) for product in made}
        follow(self._alarms, standing, KIND, {subject: said for subject, said in late.items() if said})

    def _look(self, product: Product, now: datetime) -> Said | None:
        settings = self._settings
        over = now - timedelta(seconds=settings.pipeline.max_age_s)
        with reading(self._engine) as conn:
            found = windows.waiting(conn, product.id, settings.audit.window_h, settings.timezone, over)
        late: list[tuple[Window, Undecided]] = []
        for window in found:
            left = self._admit(product, window, now)
            if left.n and window.ends_at + PATIENCE * window.length <= now:
                late.append((window, left))
        self._join(product, now)
        return self._said(product, late) if late else None

    def _said(self, product: Product, late: Sequence[tuple[Window, Undecided]]) -> Said:
        n, escalated = (sum(getattr(left, name) for _, left in late) for name in ("n", "escalated"))
        ids = [item for _, left in late for item in left.items][: audits.SHOWN]
        until = max(window.ends_at for window, _ in late).astimezone(self._settings.timezone)
        which = {"n": n, "product": product.name, "until": f"{until:%Y-%m-%d %H:%M}"}
        frames = Phrase("{n} audited frames of {product} from before {until} wait for a decision", **which)
        if escalated:
            frames = Phrase("{frames} ({n} of an engineer)", frames=frames, n=escalated)
        items = ", ".join(map(str, ids))
        words = Phrase(
            "{frames}, so no part of their windows may calibrate: items {items}",
            frames=frames,
            items=Phrase("{items} and others", items=items) if n > len(ids) else items,
        )
        return Said(words, detail={"windows": len(late), "frames": n, "escalated": escalated, "items": ids})

    def _admit(self, product: Product, window: Window, now: datetime) -> Undecided:
        """Admits a window; what is undecided where it cannot be."""
        with reading(self._engine) as conn:
            left, _ = _frames(conn, product, window)
        if left.n:
            return left
        with writing(self._engine) as conn:
            audit.take_turn(conn)  # nobody reviews, or takes a review back, until this is committed
            left, frames = _frames(conn, product, window)
            if left.n:
                return left
            said = Counter(one.decision for one in frames if window.holds(one.event_at))
            counts = {"drawn": said.total(), "normal": said["normal"], "defect": said["defect"]}
            if not windows.record(conn, product.id, window, **counts, now=now):
                return NOTHING
            began = [part for part in _parts(frames) if window.holds(part[0].event_at)]
            placed = self._place(conn, product, began, window, now)
            detail = {"starts_at": window.starts_at.isoformat(), **counts, **placed}
            audit.append(conn, None, "audit_window.admit", f"product:{product.id}", detail, now)
        log.info("audit_window_admitted", product=product.name, **detail)
        return NOTHING

    def _join(self, product: Product, now: datetime) -> None:
        """Admits what waits though the window in which its part began is admitted."""
        with reading(self._engine) as conn:
            ready = _late(conn, product)
        for window in ready:
            with writing(self._engine) as conn:
                audit.take_turn(conn)
                parts = _late(conn, product).get(window)
                if not parts:  # another agent was faster
                    continue
                placed = self._place(conn, product, parts, window, now)
                detail = {"starts_at": window.starts_at.isoformat(), **placed}
                audit.append(conn, None, "audit_window.join", f"product:{product.id}", detail, now)
            log.info("audit_parts_joined", product=product.name, **detail)

    def _place(
        self, conn: Connection, product: Product, parts: Iterable[Part], window: Window, now: datetime
    ) -> dict[str, int]:
        """Gives the good ones of these parts their epoch and role; returns how many samples got which."""
        waits = {one.item_id: one.id for one in audits.pending(conn, product.id)}
        good = [part for part in parts if _good(part) and any(one.id in waits for one in part)]
        first = audits.places(conn, product.id, {part[0].serial for part in good if part[0].serial})
        n = Counter({epoch_id: held.calibration for epoch_id, held in epochs.held(conn, product.id).items()})
        secret, needed = install_of(conn).secret, epochs.asked(product, self._settings.certificate)
        groups: dict[Place, list[int]] = defaultdict(list)
        for part in good:
            place = first.get(part[0].serial or "")
            if place is None:
                epoch = _epoch(conn, product, part[0].event_at, window, now)
                grown = n[epoch.id] >= needed and keyed_fraction(secret, "role", part[0].key) < HELD_OUT
                place = Place("holdout" if grown else "calibration", epoch.id)
                n[epoch.id] += 0 if grown else len({one.station_id for one in part})
            groups[place] += [waits[one.id] for one in part if one.id in waits]
        for place, ids in groups.items():
            audits.admit(conn, ids, place, now)
        roles = Counter({"calibration": 0, "holdout": 0})
        for place, ids in groups.items():
            roles[place.role] += len(ids)
        return dict(roles)


def _frames(conn: Connection, product: Product, window: Window) -> tuple[Undecided, list[Drawn]]:
    """What is undecided of a window's parts; where nothing is, the frames of it and of its neighbours."""
    left = audits.undecided(conn, product.id, window.starts_at, window.ends_at)
    if left.n:
        return left, []
    frames = _around(conn, product, window)
    own = {one.part for one in frames if window.holds(one.event_at)}
    beside = [one for one in frames if one.part in own and one.state != "closed"]
    escalated = sum(one.state == "escalated" for one in beside)
    return Undecided(len(beside), escalated, tuple(one.id for one in beside[: audits.SHOWN])), frames


def _around(conn: Connection, product: Product, window: Window) -> list[Drawn]:
    return audits.drawn(conn, product.id, window.starts_at - window.length, window.ends_at + window.length)


def _late(conn: Connection, product: Product) -> Mapping[Window, list[Part]]:
    """Good parts with samples that wait, by the admitted window in which they began."""
    waits = audits.pending(conn, product.id)
    done = windows.admitted(conn, product.id) if waits else []
    found: dict[Window, dict[tuple[str, str], Part]] = {}
    for window in sorted({over for one in waits if (over := _over(done, one.event_at))}):
        wanted = {one.item_id for one in waits if window.holds(one.event_at)}
        for part in _parts(_around(conn, product, window)):
            began = _over(done, part[0].event_at)
            if began and _good(part) and any(one.id in wanted for one in part):
                found.setdefault(began, {})[part[0].part] = part
    return {window: list(parts.values()) for window, parts in found.items()}


def _over(done: Iterable[Window], moment: datetime) -> Window | None:
    return next((one for one in done if one.holds(moment)), None)


def _parts(frames: Iterable[Drawn]) -> list[Part]:
    found: dict[tuple[str, str], list[Drawn]] = {}
    for one in frames:
        found.setdefault(one.part, []).append(one)
    return list(found.values())


def _good(part: Part) -> bool:
    """Whether every frame of it is decided, and none shows a defect."""
    return all(one.state == "closed" and one.decision == "normal" for one in part)


def _epoch(conn: Connection, product: Product, moment: datetime, window: Window, now: datetime) -> Epoch:
    """The epoch open at that moment; audited parts are of the stream, never of given images."""
    found = epochs.at(conn, product.id, moment)
    if found and found.cause not in GIVEN:
        return found
    start = max(window.starts_at, found.opened_at) if found else window.starts_at
    return epochs.open(conn, product.id, "stream", Phrase("audited parts"), at=start, now=now)
