"""What people say of items. For operators; an escalated item needs an engineer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import Phrase, word
from agent.service import sampling, teach
from agent.service.acts import Done, perform
from agent.service.claims import SPAN
from agent.service.ranks import Invalid, PermissionDenied, may
from agent.settings import Samples
from agent.store import claims, closings, items, lineage, reviews, samples, teachings, withdrawals
from agent.store.drawing import Drawing
from agent.store.errors import Conflict
from agent.store.install import install_of
from agent.store.items import Item
from agent.store.rows import values
from agent.store.users import User
from model.statistics import keyed_fraction

DECISIONS = ("normal", "defect", "unsure")
DEFAULTS = Samples()


@dataclass(frozen=True, slots=True)
class Outcome:
    """An item after a review.

    `sample_id`, `role` and `sample_state` are those of the sample that the review made; `unused` says why it made none.
    `live` is the number of the live model that learnt from a sample which an undo took back, `review_id` the review's.
    """

    item_id: int
    state: str  # open | escalated | closed
    decision: str | None
    sample_id: int | None = None
    role: str | None = None
    unused: str | None = None
    sample_state: str | None = None
    live: int | None = None
    review_id: int | None = None


def decide(
    engine: Engine,
    actor: User,
    item_id: int,
    decision: str,
    reason: str | None = None,
    *,
    note: str | None = None,
    rules: Samples = DEFAULTS,
    double: float = 0.0,
    drawn: Drawing | None = None,
    key: str,
    now: datetime,
) -> Outcome:
    """Records a decision: normal and defect close the item and make a sample of it, unsure escalates it to another.

    In the share `double` the first decision leaves the item open, for a second person who does not know of it: the same
    decision closes it (a defect with the second one's reason), another one escalates it.

    A flagged part called normal is only proposed for training: it waits for the quarantine check or a second person,
    where `rules` want one of them. One that is `drawn` for the audit, at whatever station, is not: it measures models.

    A part that a product is being taught from leaves the set as a defect, by an engineer; there is no other decision.

    Args:
        engine: the database.
        actor: an operator or higher; an engineer or higher where the item is escalated, and not who was unsure of it.
        item_id: of the item.
        decision: normal, defect or unsure.
        reason: the defect's reason code; only for defects, and required there.
        note: free words.
        rules: [samples].
        double: share of the parts that two people judge, 0 .. 1, drawn by a keyed hash of the serial or frame id.
        drawn: by which settings parts are drawn for the audit; None: none are.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the decision or its reason cannot be used.
        NotFound: there is no such item.
        Conflict: it is closed, the actor decided first on it or was unsure last, or someone else has claimed it.
    """
    check(decision, reason)
    request = {"item_id": item_id, "decision": decision, "reason": reason, "note": note}

    def work(conn: Connection, actor: User) -> Done:
        item = items.lock(conn, item_id)
        _check_open(conn, item, actor, now)
        if item.kind == teachings.KIND:
            teach.leave(conn, item, decision, actor, now)
        state = _state_after(item, decision, lambda: _drawn(conn, item, double))
        closing = decision if state == "closed" else None
        review_id = reviews.add(
            conn, item_id, actor.id, decision, reason=reason, note=note, state=state, now=now
        )  # fmt: skip
        waits_past = actor.id if _needs_another(state, decision) else None
        items.set_state(
            conn, item_id, state, expected=("open", "escalated"), decision=closing, judged_by=waits_past, now=now
        )
        if item.judged_by is not None and item.state == "open":
            items.set_agreed(conn, item_id, decision == reviews.standing(item.reviews)[-1].decision)
        claims.clear(conn, item_id)
        if closing:
            closings.add(conn, item, closing, reason, 1)
        sample, unused = None, None
        if closing:
            sample, unused = sampling.make(conn, item, decision, reason, actor, rules, drawn, now)
        made = (sample.id, sample.role, unused, sample.state) if sample else (None, None, unused)
        outcome = replace(Outcome(item_id, state, closing, *made), review_id=review_id)
        return Done(values(outcome), f"item:{item_id}", request | {"state": state, "sample_id": outcome.sample_id})

    return Outcome(**perform(engine, actor, "review.decide", request, work, least="operator", key=key, now=now))


def undo(
    engine: Engine,
    actor: User,
    item_id: int,
    *,
    own: bool = False,
    hold: bool = True,
    expected: int | None = None,
    key: str,
    now: datetime,
) -> Outcome:
    """Takes back the item's last review: the item, the counts and the samples are as before it.

    The actor holds the item's claim then, where it is theirs to judge and `hold` says so.

    A sample that is in a snapshot stays there, revoked; a proposal that gave way to an audited normal stays withdrawn,
    since its part is drawn. One that measures models leaves only by two people, once its
    window is admitted, a training run has used it, or two people have moved it: see `agent.service.withdrawals`.

    Args:
        engine: the database.
        actor: an operator or higher.
        item_id: of the item.
        own: only a review of the actor's own, even where they are an engineer.
        hold: keep others off the item, since the actor has it on screen.
        expected: only the review of that id; None: whichever is the last.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor is no operator, or the review is another's and they are no engineer, or `own`.
        NotFound: there is no such item.
        Conflict: it has no review to take back, or another one than expected, its evidence is no longer kept, or its
            sample measures models.
    """

    def work(conn: Connection, actor: User) -> Done:
        item = items.lock(conn, item_id)
        standing = reviews.standing(item.reviews)
        if not standing:
            raise Conflict("item {item_id} has no review to take back", item_id=item_id)
        if item.released_at is not None:
            raise Conflict(
                "the evidence of item {item_id} is no longer kept: nobody could review it again", item_id=item_id
            )
        last, before = standing[-1], standing[:-1]
        if expected is not None and last.id != expected:
            raise Conflict(
                "item {item_id} was judged again since, as {decision} by {user}: that stays",
                item_id=item_id,
                decision=word(last.decision),
                user=last.user,
            )
        if last.user_id != actor.id and (own or not may(actor, "engineer")):
            raise PermissionDenied(
                "the last review is {user}'s: only they or an engineer may take it back", user=last.user
            )
        if item.kind == teachings.KIND:
            teach.come_back(conn, item, actor)
        state = (before[-1].state if before else None) or "open"
        first = before[-1].user_id if before and _needs_another(state, before[-1].decision) else None
        made = samples.of_item(conn, item_id)
        for one in made:
            _check_may_leave(conn, one)
        traced = [lineage.of_sample(conn, one.id) for one in made]
        review_id = reviews.add(conn, item_id, actor.id, "undo", now=now)
        items.set_state(conn, item_id, state, expected=(item.state,), decision=None, judged_by=first, now=now)
        if first is not None and state == "open":
            items.set_agreed(conn, item_id, None)
        theirs = item.kind != teachings.KIND and first != actor.id and (state == "open" or may(actor, "engineer"))
        if hold and theirs:
            claims.hold(conn, item_id, actor.id, now + SPAN, now)
        if item.decision:
            closings.add(conn, item, item.decision, last.reason, -1)
        revoked = samples.revoke_of_item(conn, item_id, now)
        seen_by = sorted({version.number for one in traced for version in one.versions})
        live = next((one.live for one in traced if one.live), None)
        detail = {"took_back": last.decision, "of": last.user_id, "state": state, "revoked_samples": revoked}
        detail |= {"seen_by": seen_by, "live": live}
        return Done(values(Outcome(item_id, state, None, live=live, review_id=review_id)), f"item:{item_id}", detail)

    request = {"item_id": item_id} | ({"own": True} if own else {})
    request |= {} if expected is None else {"expected": expected}
    return Outcome(**perform(engine, actor, "review.undo", request, work, least="operator", key=key, now=now))


def check(decision: str, reason: str | None) -> None:
    """Whether a decision and its reason can be used.

    Raises:
        Invalid: they cannot.
    """
    if decision not in DECISIONS:
        raise Invalid(
            "{decision!r} is not a decision; {decisions} are", decision=decision, decisions=", ".join(DECISIONS)
        )
    if decision == "defect" and not (reason and reason.strip()):
        raise Invalid("a defect needs a reason code, such as scratch")
    if decision != "defect" and reason:
        raise Invalid("only a defect has a reason code; say it in the note")
    if reason and len(reason) > 64:
        raise Invalid("a reason code has at most 64 characters; say more in the note")


def _check_open(conn: Connection, item: Item, actor: User, now: datetime) -> None:
    if item.state == "closed":
        raise Conflict(
            "item {item_id} is closed as {decision} already; undo that first",
            item_id=item.id,
            decision=word(item.decision or ""),
        )
    if item.state == "escalated" and not may(actor, "engineer"):
        raise PermissionDenied(
            "item {item_id} is escalated: an engineer decides; {name} is {role}",
            item_id=item.id,
            name=actor.name,
            role=word(actor.role),
        )
    if item.judged_by == actor.id and item.state == "escalated":
        raise Conflict(
            "you were unsure of item {item_id}: now a second person decides, or you take that back first",
            item_id=item.id,
        )
    if item.judged_by == actor.id:
        raise Conflict("you have judged item {item_id}: now a second person does", item_id=item.id)
    other = claims.held_by_other(conn, item.id, actor.id, now)
    if other is not None:
        raise Conflict("{other} is looking at item {item_id}: take the next one", other=other, item_id=item.id)


def _state_after(item: Item, decision: str, drawn: Callable[[], bool]) -> str:
    if decision == "unsure":
        return "escalated"
    if item.state == "escalated":
        return "closed"
    if item.judged_by is not None:
        return "closed" if decision == reviews.standing(item.reviews)[-1].decision else "escalated"
    return "open" if drawn() else "closed"


def _needs_another(state: str, decision: str) -> bool:
    """Whether the item waits for somebody other than whoever decided so."""
    return state == "open" or decision == "unsure"


def _drawn(conn: Connection, item: Item, double: float) -> bool:
    """Whether two people judge this part; all of its frames, or none."""
    if double == 0 or item.kind == teachings.KIND:
        return False
    return keyed_fraction(install_of(conn).secret, "double", item.serial or item.frame_id) < double


def _check_may_leave(conn: Connection, sample: samples.Sample) -> None:
    if sample.role == "train":
        return
    named = {"sample_id": sample.id, "role": word(sample.role)}
    if sample.role != "defect" and sample.epoch_id is not None:
        # By now its score is known: who takes out the highest ones moves the threshold.
        why = Phrase("sample {sample_id} is one of those that measure models ({role})", **named)
    elif lineage.used_as(conn, sample.id, sample.role):
        why = Phrase("a training run has used sample {sample_id} as {role}", **named)
    elif withdrawals.confirmed(conn, sample.id):
        why = Phrase("two people have made sample {sample_id} what it is", sample_id=sample.id)
    else:
        return
    group = "bank" if sample.role == "defect" else "samples"
    raise Conflict(
        "{why}: two people take it out, the first with goodpart {group} withdraw {sample_id}",
        why=why,
        group=group,
        sample_id=sample.id,
    )
