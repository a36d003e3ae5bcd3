"""The chore that looks at every watch: keeps a promotion or takes it back, promotes a shadow's candidate or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from agent.alerts.base import Alarms
from agent.phrases import Phrase, bare, kept, together
from agent.settings import Settings
from agent.store import audit, certificates, epochs, registry, snapshots, watches
from agent.store.engine import reading, writing
from agent.store.errors import Unreachable
from agent.store.watches import Watch
from agent.watching import judging, stopping, telling
from agent.watching.judging import Counts, Part

log = structlog.get_logger()
EVERY_S = 15.0


class Judge:
    """Looks at what is under way, in one short transaction each; whoever comes second changes nothing.

    Args:
        engine: the database.
        settings: watch, shadow; a promotion takes its configuration from them.
        alarms: hears what people are told of watches.
        notify: tells agents that a product has another deployment.
    """

    def __init__(self, engine: Engine, settings: Settings, alarms: Alarms, *, notify: Callable[[int], None]) -> None:
        self._engine, self._settings, self._alarms, self._notify = engine, settings, alarms, notify

    def check(self, now: datetime) -> None:
        """Looks once.

        Raises:
            Unreachable: the database is away.
        """
        with reading(self._engine) as conn:
            under_way = watches.all_active(conn)
        for one in under_way:
            try:
                if one.state == "open":
                    self._look(one, now)
            except Unreachable:
                raise
            except Exception as error:  # whatever is wrong with one product's, the others are judged
                log.error(
                    "watch_not_judged", product=one.product, watch=one.id, error=repr(error)[:300], exc_info=error
                )
        telling.tell(self._engine, self._alarms)

    def _look(self, watch: Watch, now: datetime) -> None:
        with reading(self._engine) as conn:
            frames = watches.seen(conn, watch.id)
        found = judging.parts(frames, new_decides=watch.kind == "watch")
        if watch.kind == "watch":
            self._watch(watch, found, len(frames), now)
        else:
            self._shadow(watch, found, len(frames), now)

    def _watch(self, watch: Watch, found: Sequence[Part], frames: int, now: datetime) -> None:
        stop = stopping.stop(found, frames, self._settings.watch.parts, self._settings.watch.defects)
        judged = judging.judge(found, _rate(watch.certificate), _rate(watch.other_certificate))
        words = _with(judged.words(f"v{watch.number}", f"v{watch.other_number}"), stop.crowded)
        if not judged.accused:
            words = _with(words, stop.words)
        numbers = {**judged.numbers(), **stop.numbers(), **_told(judged.counts, words)}
        if judged.accused and judged.old_holds:
            self._roll_back(watch, words, numbers, now)
        elif judged.accused and judged.old_fails:
            self._distrust(watch, words, numbers, now)
        elif not judged.accused and stop.reached:
            self._keep(watch, words, numbers, now)
        else:
            self._count(watch, numbers)

    def _shadow(self, watch: Watch, found: Sequence[Part], frames: int, now: datetime) -> None:
        stop, crowded = stopping.stop(found, frames, self._settings.shadow.parts), None
        if stop.crowded:  # so few parts promote nothing
            crowded = Phrase(
                "{why}; a person must decide: promote it, or goodpart watch end {watch_id} --reason ...",
                why=stop.crowded, watch_id=watch.id,
            )  # fmt: skip
        judged = judging.shadowed(found, _rate(watch.other_certificate))
        words = _with(judged.words(f"v{watch.other_number}"), crowded)
        numbers = {**judged.numbers(), **stop.numbers(), **_told(judged.counts, words)}
        if stop.full and not crowded and not judged.exceeds:
            self._promote(watch, words, numbers, now)
        elif stop.reached and not crowded:
            self._reject(watch, words, numbers, now)
        else:  # reviews may still show that what it flags are defects
            self._count(watch, numbers)

    def _count(self, watch: Watch, numbers: Mapping[str, Any]) -> None:
        if numbers != watch.numbers:
            with writing(self._engine) as conn:
                watches.count(conn, watch.id, numbers)

    def _roll_back(self, watch: Watch, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
        """A person does where what the old model learnt from has changed since; until then none is trusted."""
        with writing(self._engine) as conn:
            audit.take_turn(conn)  # before any row, as everybody who changes what decides
            # Unlike a promotion's, its epoch may have passed: it was tested on the very parts of this watch.
            problem = _changed(conn, watch.other_version_id)
            if problem is None:
                if not watches.close(conn, watch.id, "rolled_back", words, now, numbers):
                    return
                registry.rollback(conn, product_id=watch.product_id, reason=words, by=None, now=now)
        if problem:
            why = Phrase("v{number} does not take over by itself: {why}", number=watch.other_number, why=problem)
            self._distrust(watch, _with(words, why), numbers, now)
            return
        log.warning("rolled_back", product=watch.product, watch=watch.id, version=watch.number, words=words)
        self._notify(watch.product_id)

    def _distrust(self, watch: Watch, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
        with writing(self._engine) as conn:
            audit.take_turn(conn)
            if not watches.distrust(conn, watch.id, words, numbers):
                return
            _event(conn, watch, "watch.distrust", words, numbers, now)
        log.error("no_trusted_model", product=watch.product, watch=watch.id, words=words)

    def _keep(self, watch: Watch, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
        with writing(self._engine) as conn:
            audit.take_turn(conn)
            if not watches.close(conn, watch.id, "kept", words, now, numbers):
                return
            _event(conn, watch, "watch.keep", words, numbers, now)
        log.info("watch_kept", product=watch.product, watch=watch.id, version=watch.number, words=words)

    def _promote(self, watch: Watch, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
        """A person does where what the candidate learnt from or was measured on has changed since, or the stream."""
        with writing(self._engine) as conn:
            audit.take_turn(conn)
            certificate_id = certificates.newest(conn, watch.other_version_id)
            epoch = epochs.of_certificate(conn, certificate_id)
            problem = _changed(conn, watch.other_version_id)
            problem = problem or epochs.outdated(conn, watch.product_id, epoch.id if epoch else None)
            words = _with(words, problem)
            if not watches.close(conn, watch.id, "ended" if problem else "kept", words, now, numbers):
                return
            if problem:
                _event(conn, watch, "watch.leave", words, numbers, now)
                log.warning(
                    "shadow_left", product=watch.product, watch=watch.id, version=watch.other_number, words=words
                )
                return
            registry.promote(
                conn,
                version_id=watch.other_version_id,
                certificate_id=certificate_id,
                config_hash=self._settings.decision_hash,
                reason=words,
                by=None,
                now=now,
                watch_share=self._settings.watch.share,
            )
        log.info("shadow_promoted", product=watch.product, watch=watch.id, version=watch.other_number, words=words)
        self._notify(watch.product_id)

    def _reject(self, watch: Watch, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
        with writing(self._engine) as conn:
            audit.take_turn(conn)
            if not watches.close(conn, watch.id, "ended", words, now, numbers):
                return
            registry.reject(conn, watch.other_version_id, words)
            _event(conn, watch, "watch.reject", words, numbers, now)
        log.warning("shadow_rejected", product=watch.product, watch=watch.id, version=watch.other_number, words=words)


def _changed(conn: Connection, version_id: int) -> Phrase | None:
    """Why a version may not go live by itself, by what it learnt from."""
    snapshot_id = registry.version(conn, version_id).snapshot_id
    return snapshots.why_not(conn, snapshot_id) if snapshot_id is not None else None


def _with(words: str, more: str | None) -> str:
    return together("{one}; {other}", [words, more]) if more else words


def _told(counts: Counts, words: str) -> dict[str, Any]:
    told = together("{one}; {other}", [counts.words, words])
    return {"words": told, **kept(told)}


def _rate(certificate: Mapping[str, Any] | None) -> float:
    if certificate is None:
        raise ValueError("a watch is of two certified models")
    return float(certificate["certified_review_rate"])


def _event(conn: Connection, watch: Watch, action: str, words: str, numbers: Mapping[str, Any], now: datetime) -> None:
    detail = {"product_id": watch.product_id, "watch": watch.title, "reason": words, "numbers": bare(numbers)}
    audit.append(conn, None, action, f"watch:{watch.id}", detail, now)
