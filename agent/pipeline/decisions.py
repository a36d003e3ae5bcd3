"""The message that tells the line what was decided: a CloudEvent of JSON, and its headers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from agent.pipeline.work import DEAD_LETTER, NOT_INSPECTED, Work
from agent.sources.base import Decision
from agent.store.outbox import Decision as Stored

EVENT_TYPE = "goodpart.decision.v1"
_JSON = json.JSONEncoder(allow_nan=False)  # json.dumps makes one each time


def body(work: Work, *, late: bool) -> bytes:
    """The JSON of one decision.

    Keys: id, frame_id, station, product, serial, lot, captured_at, event_at, decided_at, late, verdict, reason, detail,
    score, p_value, severity, deployment. What is unknown is null. A dead letter's verdict is not_inspected.
    """
    outcome, envelope, place = work.outcome, work.envelope, work.place
    if outcome is None:
        raise ValueError("a frame without an outcome has no decision")
    said: dict[str, Any] = {
        "id": event_id(work.lane.key.topic_id, work.record.partition, work.record.offset),
        "frame_id": envelope.frame_id if envelope else None,
        "station": place.station if place else envelope.station if envelope else None,
        "product": place.product if place else envelope.product if envelope else None,
        "serial": envelope.serial if envelope else None,
        "lot": envelope.lot if envelope else None,
        "captured_at": _text(envelope.captured_at if envelope else None),
        "event_at": _text(work.event_at),
        "decided_at": _text(outcome.decided_at),
        "late": late,
        "verdict": NOT_INSPECTED if outcome.verdict == DEAD_LETTER else outcome.verdict,
        "reason": outcome.reason,
        "detail": outcome.detail or None,
        "score": outcome.score,
        "p_value": outcome.p_value,
        "severity": outcome.severity,
        "deployment": outcome.deployment_id,
    }
    return _JSON.encode(said).encode()


def event_id(stream: str, partition: int, offset: int) -> str:
    """The same for a frame however often its decision is sent: consumers deduplicate by it."""
    return f"{stream}/{partition}/{offset}"


def message(stored: Stored, *, stream: str, install_id: str) -> Decision:
    """The record of the decisions topic: CloudEvents Kafka binding, binary mode."""
    headers = {
        "ce_specversion": "1.0",
        "ce_type": EVENT_TYPE,
        "ce_id": event_id(stream, stored.partition, stored.offset),
        "ce_source": f"goodpart/{install_id}",
        "ce_time": stored.created_at.isoformat(),
        "content-type": "application/json",
    }
    return Decision(stored.key, tuple((name, text.encode()) for name, text in headers.items()), stored.value)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
