"""Dead letters: asking an agent to show or replay them, discarding them, and the record of it. For engineers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import word
from agent.service.acts import Done, current, perform
from agent.service.ranks import Invalid
from agent.store import commands, dead_letters
from agent.store.engine import reading
from agent.store.errors import Conflict, NotFound
from agent.store.users import User

LEAST = "engineer"
MOST = 1000  # at once
REPLAY = "dead_letter.replay"  # the action in the audit trail; a command with args {"ids", "station", "product"}
PREVIEW = "dead_letter.preview"  # a command with args {"ids": [one]}
DISCARD = "dead_letter.discard"
CANCEL = "dead_letter.cancel"


def require(engine: Engine, actor: User) -> None:
    """Lets the actor go on to publish: what is published cannot be taken back.

    Raises:
        PermissionDenied: the actor's role is too low.
    """
    with reading(engine) as conn:
        current(conn, actor, LEAST, REPLAY)


def ask_replay(
    engine: Engine,
    actor: User,
    ids: Sequence[int],
    *,
    station: str | None = None,
    product: str | None = None,
    key: str,
    now: datetime,
) -> int:
    """Asks an agent to publish dead letters again; returns the command's id.

    Args:
        engine: the database.
        actor: an engineer or higher, still when the agent does it.
        ids: at most MOST, none of them replayed or discarded, nor with an agent already.
        station: in place of what the frames say.
        product: in place of what the frames say.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there are none, or too many.
        NotFound: there is no such dead letter.
        Conflict: one of them needs no replay, or an agent was asked for it already.
    """
    args = {"ids": _checked(ids), "station": station or None, "product": product or None}

    def work(conn: Connection, actor: User) -> Done:
        _require_free(conn, ids)
        made = commands.add(conn, REPLAY, args, actor.id, now)
        return Done({"id": made}, subject(ids), {"command_id": made, **args})

    return int(perform(engine, actor, "dead_letter.ask_replay", args, work, least=LEAST, key=key, now=now)["id"])


def cancel(engine: Engine, actor: User, command_id: int, *, key: str, now: datetime) -> None:
    """Takes a replay that waits out of the queue; its letters are free again. What was published stays published.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such replay.
        Conflict: it does not wait: an agent is at it, or it is over.
    """

    def work(conn: Connection, actor: User) -> Done:
        found = commands.get(conn, command_id)
        if found.kind != REPLAY:
            raise NotFound("there is no replay {command_id}", command_id=command_id)
        if found.state == "running":
            raise Conflict("an agent is at it: it can be cancelled only while it waits")
        commands.withdraw(conn, command_id, actor.name, now)
        return Done({}, subject(found.args["ids"]), {"command_id": command_id})

    perform(engine, actor, CANCEL, {"command_id": command_id}, work, least=LEAST, key=key, now=now)


def ask_preview(engine: Engine, actor: User, letter_id: int, *, key: str, now: datetime) -> int:
    """Asks an agent to draw what was kept of a dead letter; returns the command's id.

    Raises:
        PermissionDenied: the actor's role is too low.
        NotFound: there is no such dead letter.
        Conflict: its bytes were not kept, or an agent was asked for it already.
    """

    def work(conn: Connection, actor: User) -> Done:
        if dead_letters.get(conn, letter_id).blob_sha256 is None:
            raise Conflict(
                "the bytes of dead letter {letter_id} are not there: there is nothing to see", letter_id=letter_id
            )
        if any(letter_id in one.args["ids"] for one in commands.waiting(conn, [PREVIEW])):
            raise Conflict("an agent was asked for this already; it is at it, or no agent runs: goodpart agent")
        made = commands.add(conn, PREVIEW, {"ids": [letter_id]}, actor.id, now)
        return Done({"id": made}, subject([letter_id]), {"command_id": made})

    done = perform(
        engine, actor, "dead_letter.ask_preview", {"id": letter_id}, work, least=LEAST, key=key, now=now
    )  # fmt: skip
    return int(done["id"])


def discard(engine: Engine, actor: User, ids: Sequence[int], reason: str, *, key: str, now: datetime) -> None:
    """Gives dead letters up: nobody can replay them any more, and their bytes are let go.

    Args:
        engine: the database.
        actor: an engineer or higher.
        ids: at most MOST, none of them replayed or discarded, nor with an agent.
        reason: why, in words.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason, there are none, or too many.
        NotFound: there is no such dead letter.
        Conflict: one of them needs no discarding, or an agent publishes it.
    """
    if not reason.strip():
        raise Invalid("say why, for the record")
    request = {"ids": _checked(ids), "reason": reason.strip()}

    def work(conn: Connection, _: User) -> Done:
        _require_free(conn, ids)
        dead_letters.discard(conn, ids, now)
        return Done({}, subject(ids), request)

    perform(engine, actor, DISCARD, request, work, least=LEAST, key=key, now=now)


def replayed(
    engine: Engine, actor: User, letter_id: int, *, frame_id: str, station: str, product: str, key: str, now: datetime
) -> None:
    """Records that a dead letter was published again, which the log has acknowledged.

    Args:
        engine: the database.
        actor: an engineer or higher.
        letter_id: of the dead letter.
        frame_id: the new frame's.
        station: as the new frame names it.
        product: as the new frame names it.
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
    """
    request = {"id": letter_id, "frame_id": frame_id, "station": station, "product": product}

    def work(conn: Connection, _: User) -> Done:
        dead_letters.replayed(conn, letter_id, now)
        return Done({}, subject([letter_id]), request)

    perform(engine, actor, REPLAY, request, work, least=LEAST, key=key, now=now)


def busy(conn: Connection) -> set[int]:
    """The ids of those that an agent was asked to publish and is not done with."""
    return {one for each in commands.waiting(conn, [REPLAY]) for one in each.args["ids"]}


def needed(conn: Connection) -> set[int]:
    """The ids of those whose bytes an agent was asked to show or publish and is not done with."""
    return {one for each in commands.waiting(conn, [REPLAY, PREVIEW]) for one in each.args["ids"]}


def subject(ids: Sequence[int]) -> str:
    """How the audit trail names them; which ones they are stands in the detail."""
    return f"dead_letter:{ids[0]}" if len(ids) == 1 else f"dead_letter:{min(ids)}..{max(ids)}"


def _checked(ids: Sequence[int]) -> list[int]:
    if not 0 < len(ids) <= MOST:
        raise Invalid("{n} dead letters: 1 to {most} at once", n=len(ids), most=MOST)
    return sorted(set(ids))


def _require_free(conn: Connection, ids: Sequence[int]) -> None:
    dead_letters.lock(conn, ids)
    known = dead_letters.states(conn, ids)
    for one in ids:
        if one not in known:
            dead_letters.get(conn, one)  # says that there is none
        if known[one] != "waiting":
            raise Conflict("dead letter {letter_id} was {state} already", letter_id=one, state=word(known[one]))
    if taken := sorted(busy(conn).intersection(ids)):
        raise Conflict("an agent was asked to replay dead letter {letter_id} already", letter_id=taken[0])
