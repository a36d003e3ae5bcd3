"""What people say of items. For operators; an escalated item needs an engineer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Engine

from agent.service import teach
from agent.service.acts import Done, current, perform
from agent.service.ranks import Invalid, PermissionDenied, may
from agent.settings import Samples
from agent.store import closings, items, lineage, reviews, samples, teachings, withdrawals
from agent.store.engine import writing
from agent.store.errors import Conflict
from agent.store.items import Item
from agent.store.rows import values
from agent.store.users import User

DECISIONS = ("normal", "defect", "unsure")
CLAIM_FOR = timedelta(minutes=5)
ORIGINS = {"audit": "audit", "teach": "import"}  # no model had a say in choosing these
DEFAULTS = Samples()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An item after a review.

    `sample_id`, `role` and `sample_state` are those of the sample that the review made; `unused` says why it made none.
    `live` is the number of the live model that learnt from a sample which an undo took back.
    """

    item_id: int
    state: str  # open | escalated | closed
    decision: str | None
    sample_id: int | None = None
    role: str | None = None
    unused: str | None = None
    sample_state: str | None = None
    live: int | None = None


def decide(
    engine: Engine,
    actor: User,
    item_id: int,
    decision: str,
    reason: str | None = None,
    *,
    note: str | None = None,
    rules: Samples = DEFAULTS,
    key: str,
    now: datetime,
) -> Outcome:
    """Records a decision: normal and defect close the item and make a sample of it, unsure escalates it.

    A flagged part called normal is only proposed for training: it waits for the quarantine check or a second person,
    where `rules` want one of them.

    A part that a product is being taught from leaves the set as a defect, by an engineer; there is no other decision.

    Args:
        engine: the database.
        actor: an operator or higher; an engineer or higher where the item is escalated.
        item_id: of the item.
        decision: normal, defect or unsure.
        reason: the defect's reason code; only for defects, and required there.
        note: free words.
        rules: [samples].
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the decision or its reason cannot be used.
        NotFound: there is no such item.
        Conflict: it is closed, or someone else has claimed it.
    """
    _check(decision, reason)
    request = {"item_id": item_id, "decision": decision, "reason": reason, "note": note}

    def work(conn: Connection, actor: User) -> Done:
        item = items.lock(conn, item_id)
        _check_open(conn, item, actor, now)
        if item.kind == teachings.KIND:
            teach.leave(conn, item, decision, actor, now)
        state = "escalated" if decision == "unsure" else "closed"
        closing = decision if state == "closed" else None
        reviews.add(conn, item_id, actor.id, decision, reason=reason, note=note, now=now)
        items.set_state(conn, item_id, state, expected=("open", "escalated"), decision=closing, now=now)
        reviews.release(conn, item_id, actor.id)
        if closing:
            closings.add(conn, item, closing, reason, 1)
        sample, unused = _sample(conn, item, decision, reason, actor, rules, now)
        made = (sample.id, sample.role, unused, sample.state) if sample else (None, None, unused)
        outcome = Outcome(item_id, state, closing, *made)
        return Done(values(outcome), f"item:{item_id}", request | {"state": state, "sample_id": outcome.sample_id})

    return Outcome(**perform(engine, actor, "review.decide", request, work, least="operator", key=key, now=now))


def undo(engine: Engine, actor: User, item_id: int, *, key: str, now: datetime) -> Outcome:
    """Takes back the item's last review: the item, the counts and the samples are as before it.

    A sample that is in a snapshot stays there, revoked. One that measures models leaves only by two people, once its
    window is admitted, a training run has used it, or two people have moved it: see `agent.service.withdrawals`.

    Raises:
        PermissionDenied: the actor is no operator, or no engineer and the review is another's.
        NotFound: there is no such item.
        Conflict: it has no review to take back, its evidence is no longer kept, or its sample measures models.
    """

    def work(conn: Connection, actor: User) -> Done:
        item = items.lock(conn, item_id)
        standing = reviews.standing(item.reviews)
        if not standing:
            raise Conflict(f"item {item_id} has no review to take back")
        if item.released_at is not None:
            raise Conflict(f"the evidence of item {item_id} is no longer kept: nobody could review it again")
        last, before = standing[-1], standing[:-1]
        if last.user_id != actor.id and not may(actor, "engineer"):
            raise PermissionDenied(f"the last review is {last.user}'s: only they or an engineer may take it back")
        if item.kind == teachings.KIND:
            teach.come_back(conn, item, actor)
        state = "escalated" if before else "open"
        made = samples.of_item(conn, item_id)
        for one in made:
            _check_may_leave(conn, one)
        traced = [lineage.of_sample(conn, one.id) for one in made]
        reviews.add(conn, item_id, actor.id, "undo", now=now)
        items.set_state(conn, item_id, state, expected=(item.state,), decision=None, now=now)
        if item.decision:
            closings.add(conn, item, item.decision, last.reason, -1)
        revoked = samples.revoke_of_item(conn, item_id, now)
        seen_by = sorted({version.number for one in traced for version in one.versions})
        live = next((one.live for one in traced if one.live), None)
        detail = {"took_back": last.decision, "of": last.user_id, "state": state, "revoked_samples": revoked}
        detail |= {"seen_by": seen_by, "live": live}
        return Done(values(Outcome(item_id, state, None, live=live)), f"item:{item_id}", detail)

    request = {"item_id": item_id}
    return Outcome(**perform(engine, actor, "review.undo", request, work, least="operator", key=key, now=now))


def claim(engine: Engine, actor: User, item_id: int, *, now: datetime, span: timedelta = CLAIM_FOR) -> bool:
    """Keeps others off an item for a while; False while someone else does. A lease, so no key and no audit event.

    Raises:
        PermissionDenied: the actor is no operator.
        NotFound: there is no such item.
    """
    with writing(engine) as conn:
        actor = current(conn, actor, "operator", "review.claim")
        items.get(conn, item_id)
        return reviews.claim_item(conn, item_id, actor.id, now + span, now)


def release(engine: Engine, actor: User, item_id: int) -> None:
    """Gives one's claim on an item back."""
    with writing(engine) as conn:
        reviews.release(conn, item_id, actor.id)


def _check(decision: str, reason: str | None) -> None:
    if decision not in DECISIONS:
        raise Invalid(f"{decision!r} is not a decision; {', '.join(DECISIONS)} are")
    if decision == "defect" and not (reason and reason.strip()):
        raise Invalid("a defect needs a reason code, such as scratch")
    if decision != "defect" and reason:
        raise Invalid("only a defect has a reason code; say it in the note")
    if reason and len(reason) > 64:
        raise Invalid("a reason code has at most 64 characters; say more in the note")


def _check_open(conn: Connection, item: Item, actor: User, now: datetime) -> None:
    if item.state == "closed":
        raise Conflict(f"item {item.id} is closed as {item.decision} already; undo that first")
    if item.state == "escalated" and not may(actor, "engineer"):
        raise PermissionDenied(f"item {item.id} is escalated: an engineer decides; {actor.name} is {actor.role}")
    other = reviews.claimed_by_other(conn, item.id, actor.id, now)
    if other is not None:
        raise Conflict(f"{other} is looking at item {item.id}: take the next one")


def _check_may_leave(conn: Connection, sample: samples.Sample) -> None:
    if sample.role == "train":
        return
    if sample.role != "defect" and sample.epoch_id is not None:
        # By now its score is known: who takes out the highest ones moves the threshold.
        why = f"sample {sample.id} is one of those that measure models ({sample.role})"
    elif lineage.used_as(conn, sample.id, sample.role):
        why = f"a training run has used sample {sample.id} as {sample.role}"
    elif withdrawals.confirmed(conn, sample.id):
        why = f"two people have made sample {sample.id} what it is"
    else:
        return
    group = "bank" if sample.role == "defect" else "samples"
    raise Conflict(f"{why}: two people take it out, the first with goodpart {group} withdraw {sample.id}")


def _sample(
    conn: Connection, item: Item, decision: str, reason: str | None, actor: User, rules: Samples, now: datetime
) -> tuple[samples.Sample | None, str | None]:
    """The sample that a decision makes, or why it makes none.

    What was chosen because of its score trains only, and nobody decides that alone (see `_state`); what was drawn
    before scoring calibrates only, once its audit window is admitted (`agent.retrain.admission`). Pixels and serials
    that have another role keep it.
    """
    if decision == "unsure":
        return None, None
    if item.kind == "failed":
        return None, "the frame could not be inspected"
    if item.frame_sha256 is None:
        return None, "its evidence is no longer kept"
    role = "defect" if decision == "defect" else "train" if item.kind == "flagged" else "calibration"
    # There is no decoder here; identical bytes are identical pixels.
    known = samples.find(conn, item.product_id, item.frame_sha256)
    if known is not None and known.revoked_at is None:
        return None, f"the same image is a {known.role} sample already"
    if item.serial and role != "defect":
        same = {"calibration", "holdout"} if role == "calibration" else {role}
        others = samples.roles_of_serial(conn, item.product_id, item.serial) - same - {"defect"}
        if others:
            return None, f"other images of part {item.serial} are {' and '.join(sorted(others))} samples"
    new = samples.NewSample(
        product_id=item.product_id,
        role=role,
        origin=ORIGINS.get(item.kind, "flagged"),
        blob_sha256=item.frame_sha256,
        pixels_sha256=item.frame_sha256,
        item_id=item.id,
        serial=item.serial,
        reason=reason,
        added_by=actor.id,
        state=_state(role, rules),
        station_id=item.station_id,
        lot=item.lot,
    )
    return samples.add(conn, new, now), None


def _state(role: str, rules: Samples) -> str:
    """Where a sample of a review starts."""
    if role != "train":
        return "accepted"
    if rules.quarantine:
        return "proposed"
    return "quarantined" if rules.second_person == "always" else "accepted"
