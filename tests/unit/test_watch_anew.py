"""What is under way beside a champion that gets another certificate begins anew."""

from __future__ import annotations

import pytest

from agent.store import certificates, registry, watches
from agent.store.engine import reading, writing
from tests.databases import NOW, Line
from tests.watches import HASH, RATE, Shot, Watched

pytestmark = pytest.mark.usefixtures("each_database")


def certify(watched: Watched, number: int, threshold: float | None) -> None:
    """A version has another certificate."""
    record = {
        "look": 1, "n": 81, "calibration_sha256": HASH, "certified_review_rate": RATE, "review_threshold": threshold,
    }  # fmt: skip
    with writing(watched.line.engine) as conn:
        (version,) = (one for one in registry.versions(conn, watched.line.product_id) if one.number == number)
        certificates.add(conn, version_id=version.id, record=record, now=NOW)


def recertify(watched: Watched, threshold: float | None) -> None:
    """v2 decides by another certificate."""
    certify(watched, 2, threshold)
    with writing(watched.line.engine) as conn:
        version = registry.version(conn, watched.live.model_version_id)
        watched.promote(conn, version, by=watched.line.engineer.id, watch_share=0.0)


def test_a_promotion_is_watched_on_after_its_certificate_was_made_anew(here: Line) -> None:
    watched = Watched.on(here)
    watched.see([Shot(flagged=True, other=False)] * 3)
    before = watched.watch
    certify(watched, 1, 1.2)
    recertify(watched, 1.4)
    now = watched.watch
    with reading(here.engine) as conn:
        ended = watches.get(conn, before.id)
        assert (ended.state, ended.closed_at) == ("ended", NOW)
        assert watches.seen(conn, now.id) == [], "those were flagged by other thresholds"
    assert ended.told == "v2 decides by another certificate or configuration"
    assert now.id != before.id and now.deployment_id == watched.live.id
    assert (now.state, now.kind, now.share) == ("open", "watch", before.share)
    assert (now.number, now.other_number) == (2, 1)
    assert now.certificate and now.certificate["review_threshold"] == 1.4
    assert now.other_certificate and now.other_certificate["review_threshold"] == 1.2, "its newest"


def test_a_candidate_stays_in_the_shadow_of_a_champion_that_was_certified_anew(here: Line) -> None:
    watched = Watched.on(here, watch_share=0.0)
    with writing(here.engine) as conn:
        third = watched.version(conn, 3)
        watches.open(
            conn, product_id=here.product_id, kind="shadow", deployment_id=watched.live.id, version_id=third.id,
            certificate_id=certificates.of_version(conn, third.id)[0].id, share=0.3, now=NOW,
        )  # fmt: skip
    recertify(watched, 1.4)
    assert (watched.watch.kind, watched.watch.other_number, watched.watch.share) == ("shadow", 3, 0.3)
    assert watched.watch.deployment_id == watched.live.id


def test_without_a_threshold_nothing_is_left_to_watch(here: Line) -> None:
    watched = Watched.on(here)
    recertify(watched, None)
    assert watched.watch.closed_at == NOW
