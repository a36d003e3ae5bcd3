"""Proposals, second persons, withdrawals: who may do what, and what becomes of the sample."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from agent.retrain import unreadable
from agent.service import Invalid, PermissionDenied, reviews, withdrawals
from agent.service import samples as service
from agent.settings import Samples
from agent.store import (
    audit,
    closings,
    commands,
    epochs,
    items,
    proposals,
    registry,
    runs,
    samples,
    snapshots,
)
from agent.store import withdrawals as stored
from agent.store.engine import Conflict, reading, writing
from agent.store.samples import NewSample, Sample
from agent.store.tables import sample
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")


def _reviewed(here: Line, offset: int, decision: str = "normal", *, by: Any = None, **rules: Any) -> reviews.Outcome:
    kind = rules.pop("kind", "flagged")
    with writing(here.engine) as conn:
        item_id = here.add_item(conn, offset, kind=kind).id
    reason = "scratch" if decision == "defect" else None
    return reviews.decide(
        here.engine, by or here.operator, item_id, decision, reason, rules=Samples(**rules), key=f"d{offset}", now=NOW
    )


def _sample(here: Line, sample_id: int | None) -> Sample:
    assert sample_id is not None
    with reading(here.engine) as conn:
        return samples.get(conn, sample_id)


def _events(here: Line) -> list[tuple[str, Any]]:
    with reading(here.engine) as conn:
        assert audit.verify(conn) is None
        return [(one.action, one.detail) for one in audit.recent(conn)]


@pytest.mark.parametrize(
    ("quarantine", "second_person", "state"),
    [
        (True, "quarantined", "proposed"),
        (True, "never", "proposed"),
        (True, "always", "proposed"),
        (False, "quarantined", "accepted"),
        (False, "never", "accepted"),
        (False, "always", "quarantined"),
    ],
)
def test_a_flagged_part_called_normal_is_a_proposal(
    here: Line, quarantine: bool, second_person: str, state: str
) -> None:
    done = _reviewed(here, 0, quarantine=quarantine, second_person=second_person)
    assert done.sample_state == _sample(here, done.sample_id).state == state
    others = [_reviewed(here, 1, "defect"), _reviewed(here, 2, kind="audit")]
    assert {one.sample_state for one in others} == {"accepted"}
    with reading(here.engine) as conn:
        usable = {one.role for one in samples.all(conn, here.product_id)}
        assert usable == {"defect", "calibration"} | ({"train"} if state == "accepted" else set())
        assert samples.counts(conn, here.product_id)["train"] == (state == "accepted")
        assert len(samples.came(conn, here.product_id, None)) == (state == "accepted")


def test_only_a_second_person_accepts_and_only_what_waits(here: Line) -> None:
    done = _reviewed(here, 0, by=here.engineer)
    sample_id = done.sample_id
    assert sample_id
    with pytest.raises(PermissionDenied, match="a second person"):
        service.accept(here.engine, here.engineer, sample_id, key="1", now=NOW)
    with pytest.raises(PermissionDenied, match="role engineer"):
        service.accept(here.engine, here.operator, sample_id, key="2", now=NOW)
    service.accept(here.engine, here.admin, sample_id, key="3", now=NOW)
    found = _sample(here, sample_id)
    assert (found.state, found.accepted_by, found.accepted_at) == ("accepted", here.admin.id, NOW)
    with pytest.raises(Conflict, match="accepted already"):
        service.accept(here.engine, here.admin, sample_id, key="4", now=NOW)
    with pytest.raises(Conflict, match="accepted already"):
        service.refuse(here.engine, here.admin, sample_id, "odd", key="5", now=NOW)
    assert _events(here)[0] == ("sample.accept", {"from": "proposed", "proposed_by": here.engineer.id})


def test_a_refused_proposal_trains_nothing_until_it_is_accepted(here: Line) -> None:
    sample_id = _reviewed(here, 0).sample_id
    assert sample_id
    with pytest.raises(Invalid, match="say why"):
        service.refuse(here.engine, here.engineer, sample_id, " ", key="1", now=NOW)
    service.refuse(here.engine, here.engineer, sample_id, "a scratch", key="2", now=NOW)
    with reading(here.engine) as conn:
        assert samples.all(conn, here.product_id) == []
        assert proposals.counts(conn, here.product_id) == {"refused": 1}
        assert proposals.products(conn) == []
    assert _events(here)[0] == ("sample.refuse", {"from": "proposed", "reason": "a scratch"})
    service.accept(here.engine, here.engineer, sample_id, key="3", now=NOW)
    assert _sample(here, sample_id).state == "accepted"


def test_an_undo_takes_a_proposal_back_and_a_new_review_proposes_anew(here: Line) -> None:
    done = _reviewed(here, 0)
    reviews.undo(here.engine, here.operator, done.item_id, key="u", now=NOW)
    assert done.sample_id
    with pytest.raises(Conflict, match="revoked already"):
        service.accept(here.engine, here.engineer, done.sample_id, key="1", now=NOW)
    again = reviews.decide(here.engine, here.operator, done.item_id, "normal", key="2", now=NOW)
    assert (again.sample_id, again.sample_state) == (done.sample_id, "proposed")


def _readable(_: Sample) -> bool:
    return True


def _train(here: Line, conn: Connection, number: int = 500) -> None:
    """A live version that learnt from all usable samples."""
    snapshot = snapshots.freeze(conn, here.product_id, NOW)
    version = registry.add_version(
        conn, product_id=here.product_id, artifact_sha256=add_blob(conn, number), teacher="t", manifest={},
        snapshot_id=snapshot.id, now=NOW,
    )  # fmt: skip
    registry.promote(
        conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
    )


def test_revoking_says_which_models_learnt_from_it_and_whether_one_is_live(here: Line) -> None:
    sample_id = _reviewed(here, 0, quarantine=False).sample_id
    undone = _reviewed(here, 1, quarantine=False)
    assert sample_id
    with writing(here.engine) as conn:
        _train(here, conn)
    done = service.revoke(here.engine, here.engineer, sample_id, reason="a thumb", key="1", now=NOW)
    assert done == service.Revoked(sample_id, (1,), 1)
    assert service.revoke(here.engine, here.engineer, sample_id, reason="a thumb", key="1", now=NOW) == done
    assert _events(here)[0] == ("sample.revoke", {"reason": "a thumb", "seen_by": [1], "live": 1})
    assert reviews.undo(here.engine, here.operator, undone.item_id, key="2", now=NOW).live == 1
    assert _events(here)[0][1]["seen_by"] == [1]


def test_what_measures_models_leaves_only_by_two_people(here: Line) -> None:
    defect, calibration = _reviewed(here, 0, "defect"), _reviewed(here, 1, kind="audit")
    for done in (defect, calibration):
        assert done.sample_id
        with pytest.raises(Invalid, match="two people take out"):
            service.revoke(here.engine, here.engineer, done.sample_id, key="1", now=NOW)
    reviews.undo(here.engine, here.operator, defect.item_id, key="2", now=NOW)  # nothing has used it
    reviews.decide(here.engine, here.operator, defect.item_id, "defect", "scratch", key="3", now=NOW)
    with writing(here.engine) as conn:
        epoch = epochs.of_import(conn, here.product_id, NOW).id
        conn.execute(sa.update(sample).where(sample.c.role == "calibration").values(epoch_id=epoch))
        snapshots.freeze(conn, here.product_id, NOW, epoch_id=epoch)
    for done in (defect, calibration):
        with pytest.raises(Conflict, match="two people take it out"):
            reviews.undo(here.engine, here.engineer, done.item_id, key=f"u{done.item_id}", now=NOW)


def test_a_defect_leaves_the_bank_when_a_second_person_confirms(here: Line) -> None:
    sample_id = _reviewed(here, 0, "defect").sample_id
    assert sample_id
    asked = withdrawals.ask(here.engine, here.engineer, sample_id, "a reflection", key="1", now=NOW)
    assert withdrawals.ask(here.engine, here.engineer, sample_id, "a reflection", key="1", now=NOW) == asked
    with pytest.raises(Conflict, match="waits for a second person already"):
        withdrawals.ask(here.engine, here.admin, sample_id, "mine too", key="2", now=NOW)
    for act in (partial(withdrawals.confirm, readable=_readable), withdrawals.refuse):
        with pytest.raises(PermissionDenied, match="a second person decides"):
            act(here.engine, here.engineer, asked, key="3", now=NOW)
        with pytest.raises(PermissionDenied, match="role engineer"):
            act(here.engine, here.operator, asked, key="4", now=NOW)
    assert _sample(here, sample_id).revoked_at is None
    assert withdrawals.refuse(here.engine, here.admin, asked, key="5", now=NOW).decision == "refused"
    assert _sample(here, sample_id).revoked_at is None
    with pytest.raises(Conflict, match="refused already"):
        withdrawals.confirm(here.engine, here.admin, asked, readable=_readable, key="6", now=NOW)
    again = withdrawals.ask(here.engine, here.operator, sample_id, "a reflection", key="7", now=NOW)
    done = withdrawals.confirm(here.engine, here.engineer, again, readable=_readable, key="8", now=NOW)
    assert done == withdrawals.Decided(again, sample_id, "defect", "confirmed")
    assert _sample(here, sample_id).revoked_at == NOW
    actions = [action for action, _ in _events(here)]
    assert actions[:4] == [
        "sample.withdrawal_confirm",
        "sample.withdraw",
        "sample.withdrawal_refuse",
        "sample.withdraw",
    ]
    with reading(here.engine) as conn:
        assert stored.all(conn, here.product_id) == []
        assert [one.decision for one in stored.all(conn, here.product_id, decided=True)] == ["refused", "confirmed"]
    with pytest.raises(Conflict, match="revoked already"):
        withdrawals.ask(here.engine, here.operator, sample_id, "again", key="9", now=NOW)


def test_a_calibration_part_leaves_as_a_defect_and_joins_the_bank(here: Line) -> None:
    done = _reviewed(here, 0, kind="audit")
    assert done.sample_id
    with pytest.raises(Invalid, match="reason code"):
        withdrawals.ask(here.engine, here.operator, done.sample_id, "x" * 65, key="1", now=NOW)
    asked = withdrawals.ask(here.engine, here.operator, done.sample_id, "crack", key="2", now=NOW)
    assert withdrawals.confirm(here.engine, here.engineer, asked, readable=_readable, key="3", now=NOW).joined_bank
    found = _sample(here, done.sample_id)
    assert (found.role, found.origin, found.reason, found.revoked_at) == ("defect", "audit", "crack", None)
    assert here.item(done.item_id).decision == "defect"
    with reading(here.engine) as conn:
        assert items.counts(conn).closed == 1
        counted = closings.counts(conn, NOW.replace(hour=0), NOW.replace(hour=23))
        assert counted == {("flagged", "defect", "crack"): 1}
    with pytest.raises(Conflict, match="two people have made"):
        reviews.undo(here.engine, here.engineer, done.item_id, key="4", now=NOW)


def test_a_part_leaves_with_all_its_images(here: Line) -> None:
    with writing(here.engine) as conn:
        epoch = epochs.of_import(conn, here.product_id, NOW).id
        shown, other, apart = (
            samples.add(
                conn,
                replace(NewSample(here.product_id, "calibration", "import", blob, blob), serial=serial, epoch_id=epoch),
                NOW,
            ).id
            for number, serial in enumerate(["p", "p", "q"])
            for blob in [add_blob(conn, number)]
        )
    asked = withdrawals.ask(here.engine, here.operator, shown, "crack", key="1", now=NOW)
    withdrawals.confirm(here.engine, here.engineer, asked, readable=_readable, key="2", now=NOW)
    assert (_sample(here, shown).role, _sample(here, other).revoked_at) == ("defect", NOW)
    assert _sample(here, apart).revoked_at is None


def test_what_measures_models_by_now_cannot_be_accepted_to_train(here: Line) -> None:
    sample_id = _reviewed(here, 0).sample_id
    assert sample_id
    with writing(here.engine) as conn:
        blob = add_blob(conn, 900)
        samples.add(conn, replace(NewSample(here.product_id, "calibration", "audit", blob, blob), serial="p"), NOW)
        conn.execute(sa.update(sample).where(sample.c.id == sample_id).values(serial="p", state="refused"))
    with pytest.raises(Conflict, match="part p is a calibration part"):
        service.accept(here.engine, here.admin, sample_id, key="1", now=NOW)


def test_an_unreadable_calibration_image_joins_no_bank(here: Line) -> None:
    with writing(here.engine) as conn:
        blob = add_blob(conn, 1)
        found = samples.add(conn, NewSample(here.product_id, "holdout", "import", blob, blob), NOW)
    asked = withdrawals.ask(here.engine, here.operator, found.id, withdrawals.UNREADABLE, key="1", now=NOW)
    with pytest.raises(Conflict, match="can be read"):
        withdrawals.confirm(here.engine, here.engineer, asked, readable=_readable, key="2", now=NOW)
    done = withdrawals.confirm(here.engine, here.engineer, asked, readable=lambda _: False, key="3", now=NOW)
    assert not done.joined_bank
    assert _sample(here, found.id).revoked_at == NOW


def test_an_agent_looks_at_the_image_before_an_unreadable_part_leaves(here: Line) -> None:
    with writing(here.engine) as conn:
        found = [
            samples.add(conn, NewSample(here.product_id, "holdout", "import", add_blob(conn, n), sha(n)), NOW)
            for n in (1, 2, 3)
        ]
    ask = partial(withdrawals.ask_confirm, here.engine, now=NOW)
    asked = [
        withdrawals.ask(here.engine, here.operator, one.id, reason, key=f"a{one.id}", now=NOW)
        for one, reason in zip(found, (*[withdrawals.UNREADABLE] * 2, "crack"), strict=True)
    ]
    with pytest.raises(Conflict, match="no look"):
        ask(here.engineer, asked[2], key="no")
    for n in (0, 1):
        ask(here.engineer, asked[n], key=f"k{n}")
    with pytest.raises(Conflict, match="asked for this already"):
        ask(here.admin, asked[0], key="again")
    for _ in range(2):
        unreadable.do_next(here.engine, lambda one: one.id == found[1].id, NOW)
    assert [_sample(here, one.id).revoked_at for one in found] == [NOW, None, None]
    with reading(here.engine) as conn:
        done, failed = (withdrawals.last_look(conn, one) for one in asked[:2])
    assert done and failed and (done.state, failed.state) == ("done", "failed")
    assert "can be read" in (failed.problem or "")
    ask(here.admin, asked[1], key="k2")
    with writing(here.engine) as conn:
        assert commands.next(conn, [withdrawals.TAKE_OUT]), "an agent took it, and is dead"
    unreadable.do_next(here.engine, lambda _: False, NOW)
    unreadable.do_next(here.engine, lambda _: False, NOW)
    assert _sample(here, found[1].id).revoked_at == NOW


def test_a_train_sample_is_revoked_not_withdrawn(here: Line) -> None:
    done = _reviewed(here, 0)
    assert done.sample_id
    with pytest.raises(Invalid, match="samples revoke"):
        withdrawals.ask(here.engine, here.operator, done.sample_id, "odd", key="1", now=NOW)
    with pytest.raises(Invalid, match="say why"):
        withdrawals.ask(here.engine, here.operator, done.sample_id, "", key="2", now=NOW)


def test_what_a_run_held_back_counts_as_new(here: Line) -> None:
    with writing(here.engine) as conn:
        for number in range(4):
            blob = add_blob(conn, number)
            samples.add(
                conn, NewSample(here.product_id, "train", "flagged", blob, blob, added_by=number % 2 or None), NOW
            )
        held = samples.fresh(conn, here.product_id, None)[-1]
        frozen = snapshots.freeze(conn, here.product_id, NOW, without=[held.id])
        assert held.id not in [one.id for one in frozen.samples] and len(frozen.samples) == 3
        assert len(samples.came(conn, here.product_id, NOW, beyond=frozen.id)) == 1
        assert [one.id for one in samples.fresh(conn, here.product_id, frozen.id)] == [held.id]
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={"a": 1}, now=NOW)
        assert run.held_back is None
        runs.note(conn, run.id, held_back={"samples": 1, "words": "1 new sample waits"})
        assert runs.get(conn, run.id).held_back == "1 new sample waits"
        assert runs.get(conn, run.id).settings["a"] == 1
