"""What people say of items: states, samples, counts, and that undo restores all of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.service import Invalid, PermissionDenied, Refused, reviews
from agent.service import claims as taking
from agent.service import samples as accepting
from agent.service.reviews import Outcome
from agent.store import audit, claims, closings, items, samples, snapshots, stations, users
from agent.store.engine import Conflict, NotFound, StoreError, reading, writing
from agent.store.item_search import Wanted, search
from agent.store.samples import NewSample
from tests.databases import NOW, Line, add_blob, line, sha

pytestmark = pytest.mark.usefixtures("each_database")


def _item(here: Line, offset: int = 0, **changes: Any) -> int:
    with writing(here.engine) as conn:
        return here.add_item(conn, offset, **changes).id


def _decide(here: Line, item_id: int, decision: str, reason: str | None = None, *, by: users.User | None = None,
            key: str = "") -> Outcome:  # fmt: skip
    actor = by or here.operator
    return reviews.decide(here.engine, actor, item_id, decision, reason, key=key or f"{item_id}-{decision}", now=NOW)


def _samples(here: Line, *, revoked: bool = False) -> list[tuple[str, str, str | None]]:
    with reading(here.engine) as conn:
        found = samples.all(conn, here.product_id, revoked=revoked, state=None)
    return [(one.role, one.origin, one.reason) for one in found]


@pytest.mark.parametrize(
    ("kind", "decision", "reason", "sample"),
    [
        ("flagged", "normal", None, ("train", "flagged", None)),
        ("audit", "normal", None, ("calibration", "audit", None)),
        ("flagged", "defect", "scratch", ("defect", "flagged", "scratch")),
        ("audit", "defect", "crack", ("defect", "audit", "crack")),
    ],
)
def test_a_closed_item_becomes_a_sample(
    here: Line, kind: str, decision: str, reason: str | None, sample: tuple[str, str, str | None]
) -> None:
    outcome = _decide(here, _item(here, kind=kind), decision, reason)
    assert (outcome.state, outcome.decision, outcome.role) == ("closed", decision, sample[0])
    assert _samples(here) == [sample]
    found = here.item(outcome.item_id)
    assert (found.state, found.closed_at, [r.user for r in found.reviews]) == ("closed", NOW, ["operator"])
    with reading(here.engine) as conn:
        assert items.queue(conn) == []
        assert search(conn, Wanted(product_id=here.product_id, state="closed"), 50) == [found]
        assert items.counts(conn).closed == 1
        assert audit.verify(conn) is None
        assert audit.recent(conn)[0].detail["sample_id"] == outcome.sample_id


def test_unsure_escalates_to_an_engineer(here: Line) -> None:
    item_id = _item(here)
    assert _decide(here, item_id, "unsure").state == "escalated"
    with pytest.raises(PermissionDenied, match="an engineer decides"):
        _decide(here, item_id, "normal")
    with reading(here.engine) as conn:
        assert items.queue(conn) == []
        assert [one.id for one in items.queue(conn, escalated=True)] == [item_id]
    assert _decide(here, item_id, "unsure", by=here.engineer, key="again").state == "escalated"
    assert _decide(here, item_id, "defect", "crack", by=here.admin).state == "closed"


def test_who_is_unsure_of_a_part_does_not_decide_it(here: Line) -> None:
    """Else one engineer alone would make a calibration part of what they doubt."""
    item_id, n = _item(here, kind="audit", verdict="pass"), count()

    def say(decision: str, by: users.User) -> str:
        return _decide(here, item_id, decision, by=by, key=str(next(n))).state

    def offered(to: users.User) -> list[int]:
        taking.give_back(here.engine, here.engineer)
        taking.give_back(here.engine, here.admin)
        return [one.id for one in taking.take(here.engine, to, now=NOW)]

    assert say("unsure", here.engineer) == "escalated"
    assert (offered(here.engineer), offered(here.admin)) == ([], [item_id])
    with reading(here.engine) as conn:
        assert items.waiting(conn, here.engineer.id, escalated=True) == 0
        assert items.waiting(conn, here.admin.id, escalated=True) == 1
    taking.give_back(here.engine, here.admin)
    for decision in ("normal", "unsure"):
        with pytest.raises(Conflict, match="a second person"):
            say(decision, here.engineer)
    assert say("unsure", here.admin) == "escalated"
    with pytest.raises(Conflict, match="a second person"):
        say("normal", here.admin)
    reviews.undo(here.engine, here.admin, item_id, hold=False, key="undo", now=NOW)
    assert (offered(here.engineer), offered(here.admin)) == ([], [item_id]), "the doubt before stands again"
    assert say("normal", here.admin) == "closed"
    assert _samples(here) == [("calibration", "audit", None)]


def test_a_closed_item_stays_closed(here: Line) -> None:
    item_id = _item(here)
    _decide(here, item_id, "normal")
    with pytest.raises(Conflict, match="closed as normal already"):
        _decide(here, item_id, "defect", "crack", by=here.engineer)


def test_failed_frames_and_taken_images_make_no_sample(here: Line) -> None:
    assert "could not be inspected" in (_decide(here, _item(here, kind="failed"), "normal").unused or "")
    first = _item(here, 1, serial="A", kind="audit")
    _decide(here, first, "normal")
    twin = _item(here, 2, serial="A")
    assert "other images of part A are calibration samples" in (_decide(here, twin, "normal").unused or "")
    with writing(here.engine) as conn:
        items.add_all(conn, [here.new_item(3, frame_sha256=sha(1))])
        same = items.at(conn, here.stream_id, 0, 3)
    assert same is not None
    assert "same image is a calibration sample" in (_decide(here, same.id, "defect", "crack").unused or "")
    assert _samples(here) == [("calibration", "audit", None)]


@pytest.mark.parametrize(
    ("decision", "reason"),
    [("maybe", None), ("defect", None), ("defect", " "), ("normal", "scratch"), ("defect", "x" * 65)],
)
def test_what_is_no_decision_is_refused(here: Line, decision: str, reason: str | None) -> None:
    item_id = _item(here)
    with pytest.raises(Invalid):
        _decide(here, item_id, decision, reason)
    assert here.item(item_id).reviews == ()


def test_who_may_not_review(here: Line) -> None:
    item_id = _item(here)
    with writing(here.engine) as conn:
        gone = users.add(conn, "gone", "admin", NOW)
        users.disable(conn, gone.id, NOW)
        users.change_role(conn, here.operator.id, "viewer")
    for actor in (here.viewer, here.operator, gone, users.User(99, "nobody", "admin")):
        with pytest.raises(PermissionDenied):
            _decide(here, item_id, "normal", by=actor)
    with pytest.raises(NotFound):
        _decide(here, 99, "normal", by=here.engineer)
    assert here.item(item_id).state == "open"


def test_a_repeated_key_changes_nothing_and_another_act_cannot_have_it(here: Line) -> None:
    item_id, other = _item(here), _item(here, 1)
    first = _decide(here, item_id, "defect", "crack", key="k")
    assert _decide(here, item_id, "defect", "crack", key="k") == first
    assert len(here.item(item_id).reviews) == 1
    with pytest.raises(Conflict, match="idempotency key"):
        _decide(here, other, "defect", "crack", key="k")
    with pytest.raises(Conflict, match="idempotency key"):
        _decide(here, item_id, "defect", "crack", key="k", by=here.engineer)
    with pytest.raises(Conflict, match="idempotency key"):
        reviews.undo(here.engine, here.operator, item_id, key="k", now=NOW)
    with pytest.raises(Invalid, match="idempotency key"):
        _decide(here, other, "normal", key="x" * 201)


def test_a_failed_act_leaves_its_key_free(here: Line) -> None:
    item_id = _item(here)
    with writing(here.engine) as conn:
        claims.hold(conn, item_id, here.engineer.id, NOW + timedelta(minutes=1), NOW)
    with pytest.raises(Conflict, match="engineer is looking"):
        _decide(here, item_id, "normal", key="k")
    taking.give_back(here.engine, here.engineer)
    assert _decide(here, item_id, "normal", key="k").state == "closed"


def test_undo_is_for_whoever_decided_or_an_engineer(here: Line) -> None:
    item_id = _item(here)
    with pytest.raises(Conflict, match="no review"):
        reviews.undo(here.engine, here.engineer, item_id, key="0", now=NOW)
    _decide(here, item_id, "normal", by=here.engineer)
    with pytest.raises(PermissionDenied, match="engineer's"):
        reviews.undo(here.engine, here.operator, item_id, key="1", now=NOW)
    assert reviews.undo(here.engine, here.admin, item_id, key="2", now=NOW).state == "open"


def test_a_sample_in_a_snapshot_stays_there_revoked(here: Line) -> None:
    item_id = _item(here)
    made = _decide(here, item_id, "normal").sample_id
    assert made
    accepting.accept(here.engine, here.engineer, made, key="a", now=NOW)
    with writing(here.engine) as conn:
        before = snapshots.freeze(conn, here.product_id, NOW)
    reviews.undo(here.engine, here.operator, item_id, key="u", now=NOW)
    with reading(here.engine) as conn:
        kept = snapshots.get(conn, before.id)
    assert [(one.role, one.revoked_at) for one in kept.samples] == [("train", NOW)]
    assert _samples(here) == []
    _decide(here, item_id, "defect", "crack")
    assert _samples(here) == [("defect", "flagged", "crack")]


def test_undo_leaves_a_sample_that_its_item_did_not_make(here: Line) -> None:
    item_id = _item(here)
    with writing(here.engine) as conn:
        samples.add(conn, NewSample(here.product_id, "train", "import", sha(0), sha(0)), NOW)
    _decide(here, item_id, "normal")
    reviews.undo(here.engine, here.operator, item_id, key="u", now=NOW)
    assert _samples(here) == [("train", "import", None)]


@pytest.mark.parametrize("pixels", ["7" * 64, None])
@pytest.mark.parametrize(("role", "kind"), [("train", "audit"), ("defect", "flagged")])
def test_a_picture_that_was_imported_is_no_sample_of_the_stream_too(
    here: Line, role: str, kind: str, pixels: str | None
) -> None:
    """By its pixels where the item knows them, even encoded anew; by its bytes where it is older than that."""
    with writing(here.engine) as conn:
        blob = add_blob(conn, 100)
        known = samples.add(conn, NewSample(here.product_id, role, "import", blob, "7" * 64), NOW)
    item_id = _item(here, kind=kind, pixels_sha256=pixels, frame_sha256=sha(0) if pixels else blob)
    made = _decide(here, item_id, "normal")
    assert (made.sample_id, made.unused) == (None, f"the same image is a {role} sample already")
    with writing(here.engine) as conn:
        samples.revoke(conn, known.id, NOW)
    reviews.undo(here.engine, here.operator, item_id, key="u", now=NOW)
    made = _decide(here, item_id, "normal", key="again")
    assert made.sample_id == known.id, "a revoked one comes back as the same sample"


def test_two_people_at_once_never_give_one_part_two_roles(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flagged frame may train and an audited one calibrate, but not both where they show one part."""
    earlier = NOW - timedelta(hours=1)  # in one quarter their counts would make them take turns
    pair = [_item(here, 0, serial="p"), _item(here, 1, serial="p", kind="audit", event_at=earlier)]
    look, both_looked = samples.roles_of_serial, threading.Barrier(2)

    def look_and_wait(*arguments: Any) -> set[str]:
        found = look(*arguments)
        with suppress(threading.BrokenBarrierError):
            both_looked.wait(1)  # never comes where acts take turns
        return found

    monkeypatch.setattr(samples, "roles_of_serial", look_and_wait)
    with ThreadPoolExecutor(2) as pool:
        acts = [pool.submit(_decide, here, *one) for one in zip(pair, ("normal", "normal"), strict=True)]
        for act in acts:
            act.result(60)
    assert len(_samples(here)) == 1


ACT = st.sampled_from([("normal", None), ("defect", "crack"), ("defect", "scratch"), ("unsure", None), ("undo", None)])
ACTS = st.lists(st.tuples(ACT, st.booleans()), max_size=10)  # whether the second of two engineers does it


@settings(max_examples=25, deadline=None)
@given(acts=ACTS, kind=st.sampled_from(["flagged", "audit"]))
def test_undo_restores_state_counts_and_samples(acts: list[tuple[tuple[str, str | None], bool]], kind: str) -> None:
    """Against a model: a stack of the reviews that stand, and which of two people said so."""
    with TemporaryDirectory() as folder, line(Path(folder)) as here:
        item_id, stack = _item(here, kind=kind), list[tuple[str, str | None, bool]]()
        for number, ((decision, reason), second) in enumerate(acts):
            actor = here.admin if second else here.engineer
            try:
                if decision == "undo":
                    reviews.undo(here.engine, actor, item_id, hold=False, key=str(number), now=NOW)
                    stack.pop()
                else:
                    _decide(here, item_id, decision, reason, by=actor, key=str(number))
                    assert not stack or (stack[-1][0], stack[-1][2]) == ("unsure", not second)
                    stack.append((decision, reason, second))
            except (StoreError, Refused):
                assert not stack if decision == "undo" else stack[-1][::2] != ("unsure", not second)
        last = stack[-1][0] if stack else None
        found = here.item(item_id)
        assert found.state == {None: "open", "unsure": "escalated"}.get(last, "closed")
        assert found.decision == (last if found.state == "closed" else None)
        role = {"defect": "defect", "normal": "train" if kind == "flagged" else "calibration"}.get(last or "")
        assert [one[0] for one in _samples(here)] == ([role] if role else [])
        with reading(here.engine) as conn:
            counted = closings.counts(conn, NOW - timedelta(days=1), NOW + timedelta(days=1))
            closing = [stack[-1][:2]] if found.state == "closed" else []
            assert counted == {("flagged", d, r or ""): 1 for d, r in closing}
            assert audit.verify(conn) is None


def test_the_queue_is_oldest_first_with_audit_items_among_the_others(here: Line) -> None:
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
    ids = [
        _item(here, 0),
        _item(here, 1, kind="audit", verdict="pass"),
        _item(here, 2, station_id=other),
        _item(here, 3),
        _item(here, 4),
    ]
    for item_id in (ids[0], ids[3]):
        _decide(here, item_id, "unsure")
    with reading(here.engine) as conn:
        assert [one.id for one in items.queue(conn)] == [ids[1], ids[2], ids[4]]
        everything = [ids[0], ids[3], ids[1], ids[2], ids[4]]
        assert [one.id for one in items.queue(conn, escalated=True)] == everything
        paged, cursor = [], None
        while page := items.queue(conn, escalated=True, limit=2, after=cursor):
            paged += [one.id for one in page]
            cursor = page[-1].cursor
        assert paged == everything
        assert [one.id for one in items.queue(conn, kind="audit")] == [ids[1]]
        assert [one.id for one in items.queue(conn, station_id=other)] == [ids[2]]
        assert items.queue(conn, product_id=99) == []
        assert items.counts(conn) == items.ItemCounts(3, 2, 0, 1)
        first = items.queue(conn)[0]
        assert (first.station, first.product, first.frame_sha256) == ("press-1", "flange", sha(1))


def test_the_quota_of_failed_items_counts_by_station_and_reason(here: Line) -> None:
    _item(here, 0, kind="failed", reason="undecodable")
    with writing(here.engine) as conn:
        add_blob(conn, 1)
        assert items.count_failed(conn, here.station_id, "undecodable", NOW) == 1
        assert items.count_failed(conn, here.station_id, "too_large", NOW) == 0
        assert items.count_failed(conn, here.station_id, "undecodable", NOW + timedelta(seconds=1)) == 0
        with pytest.raises(Conflict, match="not open any more"):
            items.set_state(conn, 99, "closed", expected=["open"], decision="normal", now=NOW)
