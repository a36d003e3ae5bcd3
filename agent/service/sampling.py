"""The sample that a review makes of its item, or why it makes none."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from agent.phrases import Phrase, together, word
from agent.service.samples import MEASURING
from agent.settings import Samples
from agent.store import audit, drawing, lineage, samples
from agent.store.drawing import Drawing
from agent.store.items import Item
from agent.store.samples import NewSample, Sample
from agent.store.users import User

ORIGINS = {"audit": "audit", "teach": "import"}  # no model had a say in choosing these


def make(
    conn: Connection,
    item: Item,
    decision: str,
    reason: str | None,
    actor: User,
    rules: Samples,
    drawn: Drawing | None,
    now: datetime,
) -> tuple[Sample | None, str | None]:
    """The sample that a decision makes, or why it makes none.

    What was chosen because of its score trains only, and nobody decides that alone (see `_state`); what was drawn
    before scoring calibrates only, once its audit window is admitted (`agent.retrain.admission`). Pixels and serials
    that have another role keep it, but for proposals of drawn parts (see `_no_place`).
    """
    if decision == "unsure":
        return None, None
    if item.kind == "failed":
        return None, Phrase("the frame could not be inspected")
    if item.frame_sha256 is None:
        return None, Phrase("its evidence is no longer kept")
    role = "defect" if decision == "defect" else "train" if item.kind == "flagged" else "calibration"
    pixels_sha256 = item.pixels_sha256 or item.frame_sha256  # identical bytes are identical pixels
    known = samples.find(conn, item.product_id, pixels_sha256, item.frame_sha256)
    if known is not None and known.revoked_at is None:
        return None, Phrase("the same image is a {role} sample already", role=word(known.role))
    if known is not None:
        pixels_sha256 = known.pixels_sha256
    if item.serial and role != "defect":
        why = _no_place(conn, item, item.serial, role, actor, drawn, now)
        if why:
            return None, why
    new = NewSample(
        product_id=item.product_id,
        role=role,
        origin=ORIGINS.get(item.kind, "flagged"),
        blob_sha256=item.frame_sha256,
        pixels_sha256=pixels_sha256,
        item_id=item.id,
        serial=item.serial,
        reason=reason,
        added_by=actor.id,
        state=_state(role, rules),
        station_id=item.station_id,
        lot=item.lot,
    )
    return samples.add(conn, new, now), None


def _no_place(
    conn: Connection, item: Item, serial: str, role: str, actor: User, drawn: Drawing | None, now: datetime
) -> Phrase | None:
    """Why a part has no place for this view of a normal; None where it has.

    A part that is drawn never trains, whoever flags another view of it: were that view's proposal its first role, the
    audited view would not calibrate, and the calibration set would lack the very parts that score high. A proposal that
    is there all the same, since rates have changed, gives way to the audited normal, until a run has taken it.
    """
    same = MEASURING if role in MEASURING else {role}
    others = [one for one in samples.of_serial(conn, item.product_id, serial) if one.role not in {*same, "defect"}]
    if role == "calibration" and item.kind == "audit" and all(_gives_way(conn, one) for one in others):
        for one in others:
            _withdraw(conn, one, item, actor, now)
        return None
    if others:
        roles = together("{one} and {other}", map(word, sorted({one.role for one in others})))
        return Phrase("other images of part {serial} are {roles} samples", serial=serial, roles=roles)
    if role == "train" and drawn and drawing.of_serial(conn, item.product_id, serial, item.station_id, drawn):
        return Phrase("part {serial} is drawn for the audit: it measures models, so it trains none", serial=serial)
    return None


def _gives_way(conn: Connection, one: Sample) -> bool:
    return (one.role, one.origin) == ("train", "flagged") and not lineage.used_as(conn, one.id, one.role)


def _withdraw(conn: Connection, one: Sample, item: Item, actor: User, now: datetime) -> None:
    samples.revoke(conn, one.id, now)
    why = Phrase(
        "its part is drawn for the audit: the audited normal of item {item_id} takes its place", item_id=item.id
    )
    detail = {"reason": why, "from": one.state, "item_id": item.id}
    audit.append(conn, actor.id, "sample.revoke", f"sample:{one.id}", detail, now)


def _state(role: str, rules: Samples) -> str:
    """Where a sample of a review starts."""
    if role != "train":
        return "accepted"
    if rules.quarantine:
        return "proposed"
    return "quarantined" if rules.second_person == "always" else "accepted"
