"""Marks: what happened to a line that can explain a step in a trend."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from agent.phrases import Phrase, remade, word
from agent.store.tables import data_gap, deployment, epoch, model_version, product


@dataclass(frozen=True, slots=True)
class Mark:
    """One event. `kind` is model (another one decides), epoch (lighting, camera or material changed) or gap."""

    at: datetime
    kind: str
    words: Phrase


def between(conn: Connection, since: datetime, until: datetime, product_id: int | None = None) -> list[Mark]:
    """The marks of [since, until), oldest first: of one product (gaps are of the whole stream), or of all."""
    found = _models(conn, since, until, product_id) + _epochs(conn, since, until, product_id)
    return sorted(found + _gaps(conn, since, until), key=lambda mark: (mark.at, mark.kind, mark.words))


def _models(conn: Connection, since: datetime, until: datetime, product_id: int | None) -> list[Mark]:
    query = (
        sa.select(
            deployment.c.live_from, product.c.name, model_version.c.number, deployment.c.reason, deployment.c.made
        )
        .join(model_version, model_version.c.id == deployment.c.model_version_id)
        .join(product, product.c.id == deployment.c.product_id)
        .where(deployment.c.live_from >= since, deployment.c.live_from < until)
    )
    if product_id is not None:
        query = query.where(deployment.c.product_id == product_id)
    return [
        Mark(at, "model", Phrase("{product}: v{number} decides ({why})", product=name, number=number, why=remade(*why)))
        for at, name, number, *why in conn.execute(query)
    ]


def _epochs(conn: Connection, since: datetime, until: datetime, product_id: int | None) -> list[Mark]:
    query = (
        sa.select(epoch.c.opened_at, product.c.name, epoch.c.cause, epoch.c.words, epoch.c.made)
        .join(product, product.c.id == epoch.c.product_id)
        .where(epoch.c.opened_at >= since, epoch.c.opened_at < until, epoch.c.cuts)
    )
    if product_id is not None:
        query = query.where(epoch.c.product_id == product_id)
    return [
        Mark(at, "epoch", Phrase("{product}: {cause}: {words}", product=name, cause=word(cause), words=remade(*why)))
        for at, name, cause, *why in conn.execute(query)
    ]


def _gaps(conn: Connection, since: datetime, until: datetime) -> list[Mark]:
    row = data_gap.c
    query = sa.select(row.created_at, row.partition, row.kind, row.from_offset, row.to_offset)
    return [
        Mark(at, "gap", _gap(*of))
        for at, *of in conn.execute(query.where(row.created_at >= since, row.created_at < until))
    ]


def _gap(partition: int, kind: str, first: int, last: int) -> Phrase:
    return Phrase(
        "partition {partition}: {kind}, offsets {first} to {last}",
        partition=partition, kind=word(kind), first=first, last=last,
    )  # fmt: skip
