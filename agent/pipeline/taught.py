"""Which frames of a product that is being taught are kept: those of its first parts, counted in the database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from agent.pipeline.work import Work
from agent.store import commands, teachings
from agent.store.engine import reading

log = structlog.get_logger()


def wanted(engine: Engine, work: Work) -> bool:
    """Whether the frame's part is one of those to teach from, or may become one."""
    product_id, part = _part(work)
    with reading(engine) as conn:
        found = teachings.find(conn, product_id)
        if found is None or found.state != "collecting":
            return False
        there, refused = teachings.parts(conn, product_id), teachings.defective(conn, found)
    return part in there or (len(there) < found.parts and part not in refused)


def admit(conn: Connection, works: Sequence[Work], now: datetime) -> list[Work]:
    """The frames to keep as items, in one partition's transaction: without the parts beyond those wanted.

    A part that was taken out as a defect does not come back as a good one when it passes the station again.

    A teaching whose last part is among them is `looking` from then on, and an agent is asked to look through its parts.

    Args:
        conn: a writing transaction.
        works: frames that have their evidence.
        now: the time.
    """
    kept = {id(work) for work in works if not work.taught}
    for product_id in sorted({_part(work)[0] for work in works if work.taught}):
        found = teachings.lock(conn, product_id)
        if found.state != "collecting":
            continue
        there, refused = teachings.parts(conn, product_id), teachings.defective(conn, found)
        for work in works:
            own, part = _part(work) if work.taught else (None, "")
            if own == product_id and (part in there or (len(there) < found.parts and part not in refused)):
                there.add(part)
                kept.add(id(work))
        if len(there) >= found.parts:
            teachings.move(conn, product_id, "looking", now, expected=("collecting",))
            commands.add(conn, teachings.LOOK, {"product_id": product_id}, found.by, now)
            log.info("teaching_collected", product_id=product_id, parts=len(there))
    return [work for work in works if id(work) in kept]


def _part(work: Work) -> tuple[int, str]:
    if work.place is None or work.envelope is None:
        raise ValueError("a frame that is taught from has its product and its headers")
    return work.place.product_id, work.envelope.serial or work.envelope.frame_id
