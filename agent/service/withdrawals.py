"""Taking out samples that measure models: one person asks, another one decides.

A defect of the bank is revoked. A calibration or hold-out part leaves only as a defect, and joins the bank: with any
other reason the thresholds would hold for the parts that people like. The whole part leaves: its other images would
calibrate as a good part that scores less. An image that cannot be read is just revoked, once that was looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import word
from agent.service.acts import Done, perform
from agent.service.ranks import Invalid, PermissionDenied
from agent.store import closings, commands, items, reviews, samples, teachings, withdrawals
from agent.store.commands import Command
from agent.store.errors import Conflict
from agent.store.rows import values
from agent.store.samples import NewSample, Sample
from agent.store.users import User
from agent.store.withdrawals import Withdrawal

UNREADABLE = "unreadable"  # the reason of a calibration part whose image is damaged or lost
TAKE_OUT = "sample.take_out"  # a command with args {"withdrawal_id"}: an agent looks at the image, then confirms
Readable = Callable[[Sample], bool]  # whether its image can still be decoded
LONGEST = 64  # characters of a reason code


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a withdrawal; `role` is that of the sample before."""

    withdrawal_id: int
    sample_id: int
    role: str
    decision: str  # confirmed | refused
    joined_bank: bool = False


def ask(engine: Engine, actor: User, sample_id: int, reason: str, *, key: str, now: datetime) -> int:
    """Asks for a sample to be taken out; returns the withdrawal's id. It stays in use until another person confirms.

    Args:
        engine: the database.
        actor: an operator or higher.
        sample_id: of a defect, calibration or hold-out sample.
        reason: in words; of a calibration or hold-out part the reason code of its defect, or `UNREADABLE`.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor is no operator.
        Invalid: there is no reason or a wrong one, or the sample is a train sample.
        NotFound: there is no such sample.
        Conflict: it is revoked, or somebody has asked already.
    """
    reason = reason.strip()
    if not reason:
        raise Invalid("say why, for the record")

    def work(conn: Connection, actor: User) -> Done:
        found = _usable(conn, sample_id)
        if found.role == "train":
            raise Invalid(
                "sample {sample_id} is a train sample: goodpart samples revoke {sample_id}", sample_id=sample_id
            )
        if found.role != "defect" and len(reason) > LONGEST:
            raise Invalid(
                "a {role} part leaves only as a defect: give its reason code, such as scratch", role=word(found.role)
            )
        if (earlier := withdrawals.open_of(conn, sample_id)) is not None:
            raise Conflict(
                "withdrawal {withdrawal_id} of sample {sample_id} waits for a second person already",
                withdrawal_id=earlier.id,
                sample_id=sample_id,
            )
        made = withdrawals.ask(conn, sample_id, reason, actor.id, now)
        return Done({"id": made}, f"sample:{sample_id}", {"withdrawal": made, "reason": reason, "role": found.role})

    request = {"sample_id": sample_id, "reason": reason}
    return int(perform(engine, actor, "sample.withdraw", request, work, least="operator", key=key, now=now)["id"])


def confirm(engine: Engine, actor: User, withdrawal_id: int, *, readable: Readable, key: str, now: datetime) -> Decided:
    """Takes the sample out, of a calibration or hold-out part with a defect all samples of its epoch.

    Raises:
        PermissionDenied: the actor is no engineer, or the one who asked.
        NotFound: there is no such withdrawal.
        Conflict: it was decided, its sample revoked, or its image said to be unreadable is not.
    """
    return _decide(engine, actor, withdrawal_id, "confirmed", key, now, readable)


def refuse(engine: Engine, actor: User, withdrawal_id: int, *, key: str, now: datetime) -> Decided:
    """Leaves the sample where it is; raises as `confirm` does."""
    return _decide(engine, actor, withdrawal_id, "refused", key, now, lambda _: False)


def ask_confirm(engine: Engine, actor: User, withdrawal_id: int, *, key: str, now: datetime) -> int:
    """Asks an agent to look at an image that is said to be unreadable, and then to confirm; returns the command's id.

    Args:
        engine: the database.
        actor: an engineer or higher who is not the one who asked, still when the agent does it.
        withdrawal_id: of the withdrawal.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor is no engineer, or the one who asked.
        NotFound: there is no such withdrawal.
        Conflict: it was decided, gives another reason, or an agent was asked for this already.
    """

    def work(conn: Connection, actor: User) -> Done:
        asked = withdrawals.get(conn, withdrawal_id)
        _check_second(asked, actor)
        if asked.decision is not None or asked.reason != UNREADABLE:
            raise Conflict("withdrawal {withdrawal_id} needs no look at its image", withdrawal_id=withdrawal_id)
        last = last_look(conn, withdrawal_id)
        if last is not None and last.state in commands.PENDING:
            raise Conflict("an agent was asked for this already; it is at it, or no agent runs: goodpart agent")
        made = commands.add(conn, TAKE_OUT, {"withdrawal_id": withdrawal_id}, actor.id, now)
        return Done({"id": made}, f"sample:{asked.sample_id}", {"command_id": made, "withdrawal_id": withdrawal_id})

    request, action = {"withdrawal_id": withdrawal_id}, "sample.ask_take_out"
    return int(perform(engine, actor, action, request, work, least="engineer", key=key, now=now)["id"])


def last_look(conn: Connection, withdrawal_id: int) -> Command | None:
    """What an agent was asked last about that withdrawal."""
    found = commands.latest(conn, [TAKE_OUT], 100)
    return next((one for one in found if one.args["withdrawal_id"] == withdrawal_id), None)


def _check_second(asked: Withdrawal, actor: User) -> None:
    if asked.asked_by == actor.id:
        raise PermissionDenied(
            "{name} asked for withdrawal {withdrawal_id}: a second person decides it",
            name=actor.name,
            withdrawal_id=asked.id,
        )


def _decide(
    engine: Engine, actor: User, withdrawal_id: int, decision: str, key: str, now: datetime, readable: Readable
) -> Decided:
    def work(conn: Connection, actor: User) -> Done:
        asked = withdrawals.get(conn, withdrawal_id)
        _check_second(asked, actor)
        withdrawals.decide(conn, withdrawal_id, decision, actor.id, now)
        role, joined = samples.get(conn, asked.sample_id).role, False
        if decision == "confirmed":
            found = _usable(conn, asked.sample_id)
            if found.role != "defect" and asked.reason == UNREADABLE and readable(found):
                raise Conflict(
                    "the image of sample {sample_id} can be read: it leaves only as a defect", sample_id=found.id
                )
            joined = _take_out(conn, asked, found, actor, now)
        done = Decided(withdrawal_id, asked.sample_id, role, decision, joined)
        return Done(values(done), f"sample:{asked.sample_id}", values(done) | {"reason": asked.reason})

    action = "sample.withdrawal_confirm" if decision == "confirmed" else "sample.withdrawal_refuse"
    request = {"withdrawal_id": withdrawal_id}
    return Decided(**perform(engine, actor, action, request, work, least="engineer", key=key, now=now))


def _take_out(conn: Connection, asked: Withdrawal, found: Sample, actor: User, now: datetime) -> bool:
    """Whether it joined the bank."""
    samples.revoke(conn, found.id, now)
    if found.role == "defect" or asked.reason == UNREADABLE:
        return False
    as_defect = NewSample(
        product_id=found.product_id, role="defect", origin=found.origin, blob_sha256=found.blob_sha256,
        pixels_sha256=found.pixels_sha256, mask_sha256=found.mask_sha256, item_id=found.item_id, serial=found.serial,
        reason=asked.reason, added_by=asked.asked_by, station_id=found.station_id, lot=found.lot,
        thumbnail_sha256=found.thumbnail_sha256,
    )  # fmt: skip
    for other in samples.of_part(conn, found):
        samples.revoke(conn, other.id, now)
    samples.add(conn, as_defect, now)
    if found.item_id is not None:
        _review_again(conn, found.item_id, asked.reason, actor, now)
    return True


def _review_again(conn: Connection, item_id: int, reason: str, actor: User, now: datetime) -> None:
    """The part was no normal one: its item says so from now on, and so do the counts."""
    item = items.lock(conn, item_id)
    if (item.state, item.decision) != ("closed", "normal"):
        return
    reviews.add(conn, item_id, actor.id, "undo", now=now)
    reviews.add(conn, item_id, actor.id, "defect", reason=reason, state="closed", now=now)
    items.set_state(conn, item_id, "closed", expected=("closed",), decision="defect", now=now)
    if item.kind != teachings.KIND:  # nobody reviewed those as normal
        closings.add(conn, item, "normal", None, -1)
    closings.add(conn, item, "defect", reason, 1)


def _usable(conn: Connection, sample_id: int) -> Sample:
    found = samples.get(conn, sample_id)
    if found.revoked_at is not None:
        raise Conflict("sample {sample_id} is revoked already", sample_id=sample_id)
    return found
