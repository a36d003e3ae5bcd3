"""Epochs: spans of a product's stream, and which one's calibration set speaks for the stream now.

Calibration and hold-out belong to one epoch and are never pooled across epochs. Source: goodpart's model.md, "Roles
and the audit sample".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import MADE, Phrase, made_of, remade, word
from agent.settings import Certificates
from agent.store import audit, products
from agent.store.products import Product
from agent.store.rows import columns, one, read_all
from agent.store.tables import certificate, epoch, sample
from model.statistics import needed_n

GIVEN = frozenset({"import", "teach"})  # their images were chosen by people, not drawn from the stream
CUTTING = frozenset({"drift", "camera", "person"})  # calibration sets before them no longer speak for the stream
RESTS_ON = {
    "import": Phrase("it rests on the imported images and assumes that the stream looks like them"),
    "teach": Phrase("it rests on the parts that it was taught with and assumes that the stream looks like them"),
}


@dataclass(frozen=True, slots=True)
class Epoch:
    """One of them; the open one has no `closed_at`. Its span is [opened_at, closed_at)."""

    id: int
    product_id: int
    cause: str  # import | teach | stream | drift | camera | person
    words: str  # why it was opened
    cuts: bool  # calibration sets before it no longer speak for the stream
    by: int | None  # None: the agent
    opened_at: datetime
    closed_at: datetime | None
    made: Mapping[str, Any] | None = None  # of the words

    @property
    def told(self) -> str:
        """Why it was opened, as that was made, so that a page can say it in the plant's language."""
        return remade(self.words, self.made)

    @property
    def rests_on(self) -> Phrase:
        """What a certificate of this epoch rests on and assumes, for people."""
        if self.cause in GIVEN:
            return RESTS_ON[self.cause]
        epoch = Phrase("epoch {id}", id=self.id)
        if self.cuts:
            epoch = Phrase("epoch {id}, {cause}: {words}", id=self.id, cause=word(self.cause), words=self.told)
        return Phrase(
            "it rests on audited parts since {time} UTC ({epoch}) and assumes that the stream has stayed as it was "
            "then",
            time=f"{self.opened_at:%Y-%m-%d %H:%M}",
            epoch=epoch,
        )

    @property
    def began(self) -> Phrase:
        """When it was opened, and why, for people."""
        time = f"{self.opened_at:%Y-%m-%d %H:%M}"
        return Phrase("{time} UTC ({cause}: {words})", time=time, cause=word(self.cause), words=self.told)

    @property
    def grows_by(self) -> Phrase:
        """What a person does so that it gets more calibration parts."""
        given = self.cause in GIVEN
        return Phrase("add good images") if given else Phrase("review the audit items, or raise audit.rate")


@dataclass(frozen=True, slots=True)
class Held:
    """What an epoch has: parts, or frames where not every one of its images names its serial."""

    calibration: int = 0
    holdout: int = 0


def open(
    conn: Connection,
    product_id: int,
    cause: str,
    words: str,
    *,
    by: int | None = None,
    at: datetime | None = None,
    now: datetime,
) -> Epoch:
    """Opens an epoch, closes the one of that moment, and appends an audit event.

    One that begins before a later one ends where that begins, so that spans never overlap.

    Args:
        conn: a writing transaction; openers take turns.
        product_id: whose.
        cause: import, teach, stream, drift, camera or person; what it cuts follows from it.
        words: why.
        by: the user; None: the agent.
        at: where it begins; None: now.
        now: the time.

    Raises:
        NotFound: there is no such product.
    """
    audit.take_turn(conn)
    products.get(conn, product_id)
    start = now if at is None else at
    history = of_product(conn, product_id)
    before = next((one for one in reversed(history) if one.opened_at <= start), None)
    after = next((one for one in history if one.opened_at > start), None)
    if before and (before.closed_at is None or before.closed_at > start):
        conn.execute(sa.update(epoch).where(epoch.c.id == before.id).values(closed_at=start))
    new = {
        "product_id": product_id, "cause": cause, "words": words, "cuts": cause in CUTTING, "by": by,
        "opened_at": start, "closed_at": after.opened_at if after else None, MADE: made_of(words),
    }  # fmt: skip
    made = get(conn, int(conn.execute(sa.insert(epoch).values(**new).returning(epoch.c.id)).scalar_one()))
    detail = {"product_id": product_id, "cause": cause, "words": words, "opened_at": start.isoformat()}
    audit.append(conn, by, "epoch.open", f"epoch:{made.id}", detail, now)
    return made


def get(conn: Connection, epoch_id: int) -> Epoch:
    """The epoch of that id.

    Raises:
        NotFound: there is none.
    """
    return one(conn, Epoch, epoch, epoch_id)


def of_product(conn: Connection, product_id: int) -> list[Epoch]:
    """The product's epochs, oldest first."""
    query = sa.select(*columns(epoch, Epoch)).where(epoch.c.product_id == product_id)
    return read_all(Epoch, conn.execute(query.order_by(epoch.c.opened_at, epoch.c.id)))


def current(conn: Connection, product_id: int) -> Epoch | None:
    """The open one; None where the product has none yet."""
    return next((one for one in of_product(conn, product_id) if one.closed_at is None), None)


def at(conn: Connection, product_id: int, moment: datetime) -> Epoch | None:
    """The epoch whose span holds that moment; None before the first one."""
    return next((one for one in reversed(of_product(conn, product_id)) if one.opened_at <= moment), None)


def of_import(conn: Connection, product_id: int, now: datetime) -> Epoch:
    """The epoch of the product's imported images; the first import opens it.

    Raises:
        NotFound: there is no such product.
    """
    found = [one for one in of_product(conn, product_id) if one.cause == "import"]
    return found[-1] if found else open(conn, product_id, "import", Phrase("imported images"), now=now)


def of_certificate(conn: Connection, certificate_id: int | None) -> Epoch | None:
    """The epoch that a certificate rests on; None where it is not known."""
    query = sa.select(certificate.c.epoch_id).where(certificate.c.id == certificate_id)
    found = conn.execute(query).scalar_one_or_none()
    return None if found is None else get(conn, found)


def held(conn: Connection, product_id: int) -> dict[int, Held]:
    """What calibrates and is held out, by epoch id; epochs without any are left out."""
    row = sample.c
    # A part is one at a station: the same serial at another station is another one, as in a certificate.
    part = sa.func.coalesce(sa.cast(row.station_id, sa.Text), "") + "/" + row.serial
    frames, named, serials = sa.func.count(), sa.func.count(row.serial), sa.func.count(sa.distinct(part))
    query = sa.select(row.epoch_id, row.role, frames, named, serials).where(
        row.product_id == product_id, row.epoch_id.is_not(None), row.role.in_(("calibration", "holdout")),
        row.state == "accepted", row.revoked_at.is_(None),
    )  # fmt: skip
    rows = conn.execute(query.group_by(row.epoch_id, row.role)).all()
    nameless = {epoch_id for epoch_id, _, n, n_named, _ in rows if n_named < n}
    found: dict[int, dict[str, int]] = {}
    for epoch_id, role, n, _, parts in rows:
        found.setdefault(epoch_id, {})[role] = n if epoch_id in nameless else parts
    return {epoch_id: Held(**by_role) for epoch_id, by_role in found.items()}


def asked(product: Product, certificates: Certificates) -> int:
    """Calibration parts that the product's review rate needs at an epoch's first look, with two thresholds."""
    return needed_n(product.review_rate or certificates.review_rate, certificates.confidence, 1)


def chosen(history: Sequence[Epoch], n: Mapping[int, int], needed_n: int) -> Epoch | None:
    """Which epoch's set calibrates. A pure function.

    Among the epochs from the newest cutting one on (all, where none cuts) the newest that has `needed_n`. Where none
    has: the newest cutting one, whose set certifies the best rate that so few allow; without any, the newest one of
    given images (import, teach) that has some, else the newest of them, else the newest.

    Looks count in `agent.store.next_looks` alone: an epoch that has taken over stays, and grows for its next look,
    rather than giving way to older parts that nobody has looked at so often.

    Args:
        history: the product's epochs, oldest first.
        n: calibration parts by epoch id.
        needed_n: what the review rate asked for needs at a first look, as `asked` says.
    """
    cut = newest_cut(history)
    enough = [one for one in history[cut or 0 :] if n.get(one.id, 0) >= needed_n]
    if enough:
        return enough[-1]
    if cut is not None:
        return history[cut]
    given = [one for one in history if one.cause in GIVEN]
    filled = [one for one in given if n.get(one.id, 0)]
    return next(reversed(filled or given or history), None)


def newest_cut(history: Sequence[Epoch]) -> int | None:
    """The place of the newest cutting one; None where none cuts."""
    return max((place for place, one in enumerate(history) if one.cuts), default=None)


def changed_at(conn: Connection, product_id: int) -> datetime | None:
    """Since when the stream is another one: when the newest cutting epoch opened; None where none cuts."""
    history = of_product(conn, product_id)
    cut = newest_cut(history)
    return None if cut is None else history[cut].opened_at


def calibrating(conn: Connection, product_id: int, needed_n: int) -> Epoch | None:
    """As `chosen`; None where the product has no epoch yet."""
    n = {epoch_id: one.calibration for epoch_id, one in held(conn, product_id).items()}
    return chosen(of_product(conn, product_id), n, needed_n)


def outdated(conn: Connection, product_id: int, epoch_id: int | None) -> Phrase | None:
    """Why a certificate of that epoch speaks for the stream no more, in words; None where it does, or has no epoch."""
    history = of_product(conn, product_id)
    cut = newest_cut(history)
    if cut is None or epoch_id not in {one.id for one in history[:cut]}:
        return None
    return Phrase(
        "the stream is another one since {since}, and its certificate is from before: train again with audited parts "
        "of now",
        since=history[cut].began,
    )
