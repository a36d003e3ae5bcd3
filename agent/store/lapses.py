"""Lapses: certificates in use that do not speak for the stream as it is now, or not at the rate asked for.

Source: goodpart's model.md, "Roles and the audit sample".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.settings import Certificates
from agent.store import epochs, next_looks, products
from agent.store.epochs import GIVEN, Epoch
from agent.store.next_looks import NextLook
from agent.store.products import Product
from agent.store.tables import certificate, deployment, epoch


@dataclass(frozen=True, slots=True)
class Live:
    """The certificate that a product is decided by now."""

    epoch_id: int | None  # None: not known
    rate: float | None  # the review rate that it certifies; None: not known


@dataclass(frozen=True, slots=True)
class Lapse:
    """Why a product's certificate does not hold for its stream now, at the rate asked for.

    Attributes:
        since: the newest epoch that cuts, or the one whose certificate holds at a larger rate than asked.
        live: the certificate in use; None: there is none.
        old: whether it is from before `since`.
        next: the look that gives the next one.
    """

    since: Epoch
    live: Live | None
    old: bool
    next: NextLook

    @property
    def bursts(self) -> bool:
        """Whether more parts are drawn meanwhile: until the next certificate has its number of them."""
        return not self.next.enough

    @property
    def words(self) -> Phrase:
        """One line for people: what is wrong, which rate so many parts certify, and what comes next."""
        began, then = self.since.began, self.next.words
        if self.live is None:
            return Phrase("there is no certificate since {since}; {next}", since=began, next=then)
        if self.old:
            return Phrase("its certificate is from before {since}; {next}", since=began, next=then)
        return Phrase(
            "its certificate since {since} holds at {rate:.2%} only, {asked:.2%} are asked for; {next}",
            since=began, rate=self.live.rate, asked=self.next.review_rate, next=then,
        )  # fmt: skip


def of_product(conn: Connection, product: Product, certificates: Certificates) -> Lapse | None:
    """Why the product's certificate has lapsed; None where it has not.

    It has where it is of an epoch before the newest cutting one; where it certifies a larger rate than is asked for, of
    an epoch that audits let grow; and where there is none and the newest cutting epoch lacks its parts. What people
    gave (import, teach) grows by no audit: its certificate says which rate it holds at, and that is no lapse.
    """
    return _of(conn, product, certificates, _live(conn, product.id).get(product.id))


def all(conn: Connection, certificates: Certificates) -> dict[int, Lapse]:
    """Those of the products that are made, by id; cheap where no epoch cuts and every rate is met."""
    live = _live(conn)
    cut = set(conn.execute(sa.select(epoch.c.product_id).where(epoch.c.cuts).distinct()).scalars())
    found = {
        one.id: _of(conn, one, certificates, live.get(one.id))
        for one in products.all(conn)
        if one.id in cut or _misses(live.get(one.id), one, certificates)
    }
    return {product_id: lapse for product_id, lapse in found.items() if lapse}


def bursting(conn: Connection, certificates: Certificates) -> frozenset[int]:
    """The products of which `audit.burst_rate` of the parts are drawn now."""
    return frozenset(product_id for product_id, lapse in all(conn, certificates).items() if lapse.bursts)


def _of(conn: Connection, product: Product, certificates: Certificates, live: Live | None) -> Lapse | None:
    history = epochs.of_product(conn, product.id)
    cut = epochs.newest_cut(history)
    own = next((place for place, one in enumerate(history) if live and one.id == live.epoch_id), None)
    old = live is not None and cut is not None and (own is None or own < cut)
    grows = own is not None and history[own].cause not in GIVEN
    misses = not old and grows and _misses(live, product, certificates)
    since = own if misses else cut if old or live is None else None
    if since is None:
        return None
    next_ = _next(conn, history, own, product, certificates)
    if live is None and (next_.enough or not next_.epoch.cuts):
        return None  # everything goes to review until a training run, which promises nothing
    return Lapse(history[since], live, old, next_)


def _next(
    conn: Connection, history: Sequence[Epoch], own: int | None, product: Product, certificates: Certificates
) -> NextLook:
    """The look that gives the next certificate: at the epoch that calibrates, or at the live one's where it is newer.

    It is newer where a rate was asked for since that its parts cannot certify yet, and older images could.
    """
    n: Mapping[int, int] = {one: held.calibration for one, held in epochs.held(conn, product.id).items()}
    chosen = epochs.chosen(history, n, epochs.asked(product, certificates))
    assert chosen is not None
    place = max(history.index(chosen), own or 0)
    return next_looks.of_epoch(conn, history[place], n.get(history[place].id, 0), product, certificates)


def _misses(live: Live | None, product: Product, certificates: Certificates) -> bool:
    asked = product.review_rate or certificates.review_rate
    # A database may read a number out of JSON with its last digit another.
    return live is not None and live.rate is not None and live.rate > asked * (1 + 1e-9)


def _live(conn: Connection, product_id: int | None = None) -> dict[int, Live]:
    """The certificates that are in use, by product; without the others' many scores."""
    rate = certificate.c.record["certified_review_rate"].as_float()
    query = (
        sa.select(deployment.c.product_id, certificate.c.epoch_id, rate)
        .join(certificate, certificate.c.id == deployment.c.certificate_id)
        .where(deployment.c.live_until.is_(None))
    )
    if product_id is not None:
        query = query.where(deployment.c.product_id == product_id)
    return {product_id: Live(epoch_id, found) for product_id, epoch_id, found in conn.execute(query)}
