"""Starting a candidate's shadow by hand, and ending what is under way. For engineers."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, Engine

from agent.phrases import Phrase, word
from agent.service.acts import Done, perform
from agent.service.ranks import Invalid
from agent.store import certificates, registry, watches
from agent.store.engine import reading
from agent.store.errors import Conflict
from agent.store.users import User
from agent.store.watches import Watch


def shadow(engine: Engine, actor: User, version_id: int, share: float, *, key: str, now: datetime) -> Watch:
    """Lets a candidate score a share of the parts beside the champion; it is promoted after shadow.parts of them.

    Args:
        engine: the database.
        actor: an engineer or higher.
        version_id: the candidate; its newest certificate holds.
        share: of the parts, in (0, 1].
        key: idempotency key.
        now: the time.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: the share is outside its range.
        NotFound: there is no such version.
        Conflict: it is no candidate, one of the two has no certificate, or another shadow or watch is under way.
    """
    if not 0 < share <= 1:
        raise Invalid("a share of {share:g}: above 0 and at most 1 is allowed", share=share)

    def work(conn: Connection, actor: User) -> Done:
        chosen = registry.version(conn, version_id)
        live = registry.lock_live(conn, chosen.product_id)
        issued = certificates.of_version(conn, version_id)
        if chosen.state != "candidate":
            raise Conflict(
                "v{number} is {state}: only a candidate goes into a shadow",
                number=chosen.number,
                state=word(chosen.state),
            )
        if live is None or not live.certifies:
            raise Conflict("there is no certified champion to compare with: promote a version")
        if not issued or issued[0].record.get("review_threshold") is None:
            raise Conflict(
                "v{number} has no certificate to be judged by: promote it, or train another", number=chosen.number
            )
        watch_id = watches.open(
            conn,
            product_id=chosen.product_id,
            kind="shadow",
            deployment_id=live.id,
            version_id=version_id,
            certificate_id=issued[0].id,
            share=share,
            now=now,
        )
        detail = {"version": chosen.number, "beside": live.number, "share": share}
        return Done({"id": watch_id}, f"model_version:{version_id}", detail)

    request = {"version_id": version_id, "share": share}
    done = perform(engine, actor, "model.shadow", request, work, least="engineer", key=key, now=now)
    return _watch(engine, done["id"])


def end(engine: Engine, actor: User, watch_id: int, reason: str, *, key: str, now: datetime) -> Watch:
    """Ends a shadow or a watch: what decides goes on alone, and a candidate stays one.

    Raises:
        PermissionDenied: the actor's role is too low.
        Invalid: there is no reason.
        NotFound: there is no such watch.
        Conflict: it has ended already.
    """
    if not reason.strip():
        raise Invalid("say why, for the record")

    def work(conn: Connection, actor: User) -> Done:
        product_id = watches.get(conn, watch_id).product_id
        registry.lock_live(conn, product_id)
        found = watches.active(conn, product_id)
        if found is None or found.id != watch_id:
            raise Conflict("watch {watch_id} has ended already", watch_id=watch_id)
        words = Phrase("ended by {name}: {reason}", name=actor.name, reason=reason)
        watches.end(conn, product_id, words, now)
        return Done({"id": watch_id}, f"watch:{watch_id}", {"watch": found.title, "reason": reason})

    request = {"watch_id": watch_id, "reason": reason}
    perform(engine, actor, "watch.end", request, work, least="engineer", key=key, now=now)
    return _watch(engine, watch_id)


def _watch(engine: Engine, watch_id: int) -> Watch:
    with reading(engine) as conn:
        return watches.get(conn, watch_id)
