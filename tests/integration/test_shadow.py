"""A candidate scores beside the champion before it is promoted. Reviews are simulated and seeded."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from agent.cli import models as models_command
from agent.cli import watch as command
from agent.cli.common import Acting, CommandError, Common
from agent.service import Invalid, PermissionDenied, models
from agent.service import watches as service
from agent.store import certificates, epochs, registry, samples, snapshots, watches
from agent.store.engine import Conflict, reading, writing
from agent.store.samples import NewSample
from agent.store.tables import certificate, model_version
from agent.store.watches import Watch
from tests.databases import NOW, Line, add_blob
from tests.watches import Shot, Watched, stream

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def watched(here: Line) -> Watched:
    return Watched.on(here)


def _shadow(watched: Watched, here: Line) -> Watch:
    with writing(here.engine) as conn:
        watches.end(conn, here.product_id, "test", NOW)
        candidate = watched.version(conn, 3)
    return service.shadow(here.engine, here.engineer, candidate.id, 0.5, key="shadow", now=NOW)


def test_serials_that_repeat_promote_nothing(watched: Watched, here: Line) -> None:
    _shadow(watched, here)
    watched.see([Shot(False, False)] * 80, part="carrier")
    watched.judge(shadow={"parts": 4}).check(NOW)
    assert (watched.watch.state, watched.watch.full, watched.live.number) == ("open", True, 2)
    assert "a person must decide: promote it, or goodpart watch end" in watched.watch.told


def test_a_candidate_whose_samples_were_taken_out_meanwhile_waits_for_a_person(watched: Watched, here: Line) -> None:
    made = _shadow(watched, here)
    with writing(here.engine) as conn:
        blob = add_blob(conn, 1)
        learnt = samples.add(conn, NewSample(here.product_id, "train", "flagged", blob, blob), NOW)
        frozen = snapshots.freeze(conn, here.product_id, NOW)
        mine = model_version.c.id == made.other_version_id
        conn.execute(sa.update(model_version).where(mine).values(snapshot_id=frozen.id))
        samples.revoke(conn, learnt.id, NOW)
    watched.see(stream(300, seed=8, flag=0.04, other=0.04))
    watched.judge().check(NOW)
    assert (watched.watch.state, watched.live.number, watched.states[3]) == ("ended", 2, "candidate")
    assert (watched.actions[-1], watched.notices) == ("watch.leave", [])
    assert f"since the run took them: 1 ({learnt.id})" in (watched.watch.words or "")


def test_a_candidate_that_was_certified_before_the_stream_changed_waits_for_a_person(
    watched: Watched, here: Line
) -> None:
    made = _shadow(watched, here)
    with writing(here.engine) as conn:
        old = epochs.open(conn, here.product_id, "import", "imported", now=NOW)
        mine = certificate.c.model_version_id == made.other_version_id
        conn.execute(sa.update(certificate).where(mine).values(epoch_id=old.id))
        epochs.open(conn, here.product_id, "drift", "scores changed", now=NOW)
    watched.see(stream(300, seed=8, flag=0.04, other=0.04))
    watched.judge().check(NOW)
    assert (watched.watch.state, watched.live.number, watched.states[3]) == ("ended", 2, "candidate")
    assert (watched.actions[-1], watched.notices) == ("watch.leave", [])
    assert "(drift: scores changed)" in (watched.watch.words or "")


def test_a_candidate_is_promoted_after_its_shadow_and_watched(watched: Watched, here: Line) -> None:
    made = _shadow(watched, here)
    assert (made.kind, made.share, made.title) == ("shadow", 0.5, "v3 in the shadow of v2")
    judge = watched.judge()
    watched.see(stream(299, seed=8, flag=0.04, other=0.04))
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("open", 2)
    watched.see([Shot(False, False)])
    judge.check(NOW)
    with reading(here.engine) as conn:
        after, shadow, _ = watches.all(conn, here.product_id)
    assert (shadow.state, watched.live.number, after.title, after.state) == ("kept", 3, "v3 watched against v2", "open")
    assert "not more than the 5.00% of its certificate" in shadow.told
    assert watched.live.reason == shadow.words
    assert watched.notices == [here.product_id]


def _certify_anew(conn: Connection, version_id: int) -> int:
    record = certificates.of_version(conn, version_id)[0].record
    return certificates.add(conn, version_id=version_id, record={**record, "n": 81}, now=NOW)


def test_a_certificate_made_anew_replaces_the_one_of_before_a_shadow_or_a_rollback(
    watched: Watched, here: Line
) -> None:
    shadow = _shadow(watched, here)
    with writing(here.engine) as conn:
        anew = [_certify_anew(conn, one) for one in (shadow.other_version_id, watched.live.model_version_id)]
    watched.see([Shot(False, False)] * 300)
    watched.judge().check(NOW)
    assert (watched.live.number, watched.live.certificate_id) == (3, anew[0])
    with writing(here.engine) as conn:
        registry.rollback(conn, product_id=here.product_id, reason="blurred", by=None, now=NOW)
    assert (watched.live.number, watched.live.certificate_id) == (2, anew[1])


def test_a_candidate_that_flags_too_much_in_its_shadow_is_rejected_once_all_is_reviewed(
    watched: Watched, here: Line
) -> None:
    _shadow(watched, here)
    judge, shots = watched.judge(), stream(300, seed=9, other=0.12)
    watched.see([one._replace(reviewed=False) for one in shots])
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full) == ("open", True)
    watched.review(shots, 0)
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number, watched.states[3]) == ("ended", 2, "rejected")
    assert "more than the 5.00%" in watched.watch.told
    assert watched.actions[-1] == "watch.reject"


def test_only_a_candidate_goes_into_a_shadow_and_only_while_nothing_else_is_watched(
    watched: Watched, here: Line
) -> None:
    with writing(here.engine) as conn:
        bare, candidate = watched.version(conn, 3, certified=False), watched.version(conn, 4)

    def shadow(version_id: int, share: float = 0.5, who: str = "engineer") -> Watch:
        return service.shadow(here.engine, getattr(here, who), version_id, share, key=f"{version_id}", now=NOW)

    with pytest.raises(PermissionDenied):
        shadow(candidate.id, who="operator")
    with pytest.raises(Invalid, match="above 0"):
        shadow(candidate.id, 0.0)
    with pytest.raises(Conflict, match="v2 watched against v1 still"):
        shadow(candidate.id)
    ended = service.end(here.engine, here.engineer, watched.watch.id, "new lamps", key="end", now=NOW)
    assert (ended.state, ended.words) == ("ended", "ended by engineer: new lamps")
    with pytest.raises(Conflict, match="has ended already"):
        service.end(here.engine, here.engineer, ended.id, "again", key="again", now=NOW)
    with pytest.raises(Invalid, match="say why"):
        service.end(here.engine, here.engineer, ended.id, " ", key="why", now=NOW)
    with pytest.raises(Conflict, match="v3 has no certificate"):
        shadow(bare.id)
    with pytest.raises(Conflict, match="v2 is champion: only a candidate"):
        shadow(watched.live.model_version_id)
    made = shadow(candidate.id)
    assert shadow(candidate.id) == made
    models.rollback(here.engine, here.engineer, here.product_id, "dust", key="back", now=NOW)
    assert (watched.watch.state, watched.watch.words) == ("ended", "v1 was taken back")


def test_the_command_starts_a_shadow_and_says_what_scores_beside_the_champion(
    watched: Watched, here: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Common, "database", lambda self: here.engine)
    with writing(here.engine) as conn:
        watched.version(conn, 3)

    def second() -> list[float | None]:
        models_command.list_(product="flange", json=True, common=Common())
        return [one["second"] for one in json.loads(capsys.readouterr().out)]

    assert second() == [None, None, 0.2]
    acting = Acting(by="engineer")
    with pytest.raises(CommandError, match="flange has no version v9"):
        models_command.shadow(9, product="flange", acting=acting)
    command.end(watched.watch.id, reason="lamps", acting=acting)
    assert "flange: v2 watched against v1 is over" in capsys.readouterr().out
    models_command.shadow(3, product="flange", share=0.5, acting=acting)
    assert "flange v3 scores 50.0% of the parts beside v2 (watch 2)" in capsys.readouterr().out
    assert second() == [0.5, None, None]
