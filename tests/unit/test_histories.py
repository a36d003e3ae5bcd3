"""The history of a part: what a person may know of it, and when."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
import sqlalchemy as sa

from agent.service import reviews
from agent.store import certificates, dead_letters, inspections, items, registry
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.tables import inspection
from dashboard.histories import HIDDEN, Look, facts, find, headers, key_of, permalink, said
from tests.databases import NOW, Line, add_blob
from tests.plans import plans_of

both = pytest.mark.usefixtures("each_database")


def _looks(here: Line, **asked: str) -> list[Look]:
    with reading(here.engine) as conn:
        return find(conn, **asked)


def _values(look: Look) -> dict[str, object]:
    return {str(row["What"]): row["Value"] for row in facts(look, UTC)}


@both
def test_a_part_has_all_its_inspections_newest_first(here: Line) -> None:
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 1)
        rows = [
            here.inspection(0, serial="S1", deployment_id=deployed, score=4.5, p_value=0.02),
            here.inspection(1, "not_inspected", serial="S1", event_at=NOW + timedelta(hours=1), reason="corrupt"),
            here.inspection(2, serial="S2"),
        ]
        inspections.add_all(conn, rows)
    newer, older = _looks(here, serial="S1")
    assert [_values(one)["Verdict"] for one in (newer, older)] == ["not inspected", "pass"]
    assert _values(newer)["Why"] == "corrupt" and _values(newer)["Decided by"] == "nothing: no model decided"
    assert (_values(older)["Score"], _values(older)["p-value"]) == ("4.5", "0.0200")
    assert _values(older)["Decided by"] == "v1, promoted because: test"
    assert _looks(here, inspection=key_of(rows[0])) == [older]
    assert _looks(here, serial="S3") == []


@both
@pytest.mark.parametrize(
    "key",
    [
        "", "x", "1-2-3", "1-2-3@x", "1-0-0@2026-03-02T10:00:00", "1-0@2026-03-02T10:00:00Z", "\0",
        "1-0-0@0001-01-01T00:00:00+14:00", "1-0-0@9999-12-31T23:59:59-14:00", f"1-{2**31}-0@2026-03-02T10:00:00Z",
        f"{2**63}-0-0@2026-03-02T10:00:00Z", f"1-0-{2**63}@2026-03-02T10:00:00Z", "1-0-0@2026-03-02T10:07:31Z",
    ],
)  # fmt: skip
def test_a_key_that_is_none_finds_nothing(here: Line, key: str) -> None:
    with writing(here.engine) as conn:
        here.add_item(conn, 0)
    assert _looks(here, inspection=key) == []


@both
@pytest.mark.parametrize("kind", ["audit", "flagged"])
def test_what_waits_for_a_review_tells_neither_its_score_nor_whether_it_was_drawn(here: Line, kind: str) -> None:
    verdict = "pass" if kind == "audit" else "review"
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, kind=kind, verdict=verdict, serial="S1")
        inspections.add_all(
            conn, [here.inspection(0, verdict, serial="S1", score=9.0, p_value=0.01, event_at=item.event_at)]
        )
    (look,) = _looks(here, serial="S1")
    told = _values(look)
    assert look.hidden and (told["Verdict"], told["Score"], told["p-value"]) == (HIDDEN, HIDDEN, HIDDEN)
    reviews.decide(here.engine, here.operator, item.id, "defect", "dent", key="k", now=NOW)
    (look,) = _looks(here, serial="S1")
    assert not look.hidden and _values(look)["Verdict"] == verdict and _values(look)["Score"] == "9"
    assert look.item and [(row["Who"], row["Reason"]) for row in said(look.item.reviews, UTC)] == [("operator", "dent")]
    assert [(one.role, one.reason) for one in look.samples] == [("defect", "dent")]
    reviews.undo(here.engine, here.operator, item.id, key="u", now=NOW)
    (look,) = _looks(here, serial="S1")
    assert look.hidden and look.samples == ()


@both
def test_headers_are_the_item_s_or_the_dead_letter_s_and_a_letter_is_told_once_nothing_waits(here: Line) -> None:
    sent = (("ce_sequence", "41"), ("X-Odd", "\x00<b>\u202e"))
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, serial="S1", headers=sent)
        rows = [here.inspection(0, serial="S1", event_at=item.event_at), here.inspection(1, serial="S1")]
        failed = here.inspection(2, "not_inspected", serial="S1", reason="undecodable")
        inspections.add_all(conn, [*rows, failed])
        letter = NewDeadLetter(
            here.stream_id, 0, 2, "press-1", "undecodable", "no picture", (("ce_id", "f2"),), "0" * 64, None, False, NOW
        )  # fmt: skip
        dead_letters.add_all(conn, [letter])
    assert [(one.letter, one.headers) for one in _looks(here, serial="S1")] == [
        (None, None),
        (None, None),
        (None, sent),
    ]
    reviews.decide(here.engine, here.operator, item.id, "normal", key="k", now=NOW)
    looks = _looks(here, serial="S1")
    assert [(one.letter is not None, one.headers) for one in looks] == [
        (True, (("ce_id", "f2"),)), (False, None), (False, sent),
    ]  # fmt: skip
    assert headers(looks[2]) == [
        {"Header": "ce_sequence", "Value": "41"}, {"Header": "X-Odd", "Value": r"\x00<b>\u202e"},
    ]  # fmt: skip
    assert headers(looks[1]) == []


@both
@pytest.mark.parametrize("state", ["open", "escalated"])
def test_a_view_that_waits_hides_the_part_s_other_views(here: Line, state: str) -> None:
    with writing(here.engine) as conn:
        item = here.add_item(conn, 0, kind="flagged", serial="S1")
        rows = [
            here.inspection(0, "review", serial="S1", score=9.0, event_at=item.event_at),
            here.inspection(1, serial="S1", score=1.0),
        ]
        inspections.add_all(conn, rows)
    if state == "escalated":
        reviews.decide(here.engine, here.operator, item.id, "unsure", key="u", now=NOW)
    asked: list[dict[str, str]] = [{"serial": "S1"}, *({"inspection": key_of(one)} for one in rows)]
    for one in asked:
        assert {(look.hidden, _values(look)["Score"]) for look in _looks(here, **one)} == {(True, HIDDEN)}


@both
def test_an_address_is_without_a_plus_and_an_older_one_is_understood_though_its_plus_is_a_space(here: Line) -> None:
    with writing(here.engine) as conn:
        inspections.add_all(conn, [here.inspection(0, event_at=NOW + timedelta(milliseconds=5))])
        (one,) = inspections.recent(conn)
    place = f"{here.stream_id}-0-0@2026-03-02T10:07:30.005000"
    assert permalink(one, "http://here") == f"http://here/part?inspection={place}Z"
    for key in (key_of(one), f"{place}+00:00", f"{place} 00:00"):
        assert [look.frame for look in _looks(here, inspection=key)] == [one]


@both
def test_what_was_kept_for_people_is_found_after_its_inspection_is_gone(here: Line) -> None:
    with writing(here.engine) as conn:
        deployed = here.deploy(conn, 50)
        kept = here.add_item(conn, 0, serial="S1", lot="L7", deployment_id=deployed)
        nameless = here.add_item(conn, 1)
        here.add_item(conn, 2, serial="S2", kind="teach")
        rows = [
            here.inspection(0, "review", serial="S1", event_at=NOW),
            here.inspection(3, serial="S1", event_at=NOW + timedelta(days=100)),
        ]
        inspections.add_all(conn, rows)
    reviews.decide(here.engine, here.operator, kept.id, "defect", "dent", key="k", now=NOW)
    newer, older = _looks(here, serial="S1")
    assert (newer.gone, older.gone, older.frame) == (False, False, rows[0])
    with writing(here.engine) as conn:
        conn.execute(sa.delete(inspection).where(inspection.c.event_at == NOW))
    newer, older = _looks(here, serial="S1")
    assert (newer.frame, older.gone) == (rows[1], True)
    assert _looks(here, inspection=key_of(rows[0])) == [older]
    told = _values(older)
    assert (told["Verdict"], told["Score"], told["Lot"], told["Seen"]) == (
        "review", "2.5", "L7", "2026-03-02 10:07:30.000",
    )  # fmt: skip
    assert told["Inspection"] == "no longer kept" and "From event to decision" not in told
    assert told["Decided by"] == "v1, promoted because: test"
    assert older.item and [row["Who"] for row in said(older.item.reviews, UTC)] == ["operator"]
    (look,) = _looks(here, inspection=key_of(nameless))
    assert look.hidden and look.item and _values(look)["Score"] == HIDDEN
    (look,) = _looks(here, serial="S2")
    assert (look.gone, look.item) == (True, None), "whom nobody was asked about"


@both
def test_what_waits_hides_the_views_whose_inspections_are_gone_too(here: Line) -> None:
    with writing(here.engine) as conn:
        closed = here.add_item(conn, 0, serial="S1")
        here.add_item(conn, 1, serial="S1", kind="audit", verdict="pass", event_at=NOW + timedelta(hours=1))
    reviews.decide(here.engine, here.operator, closed.id, "normal", key="k", now=NOW)
    assert [(look.hidden, _values(look)["Score"]) for look in _looks(here, serial="S1")] == [(True, HIDDEN)] * 2
    (look,) = _looks(here, inspection=key_of(closed))
    assert look.hidden and _values(look)["Thresholds"] == HIDDEN


@both
def test_the_items_of_a_part_are_found_by_an_index(here: Line) -> None:
    (plan, *_) = plans_of(here.engine, lambda conn: items.of_serial(conn, "S1"))
    assert "ix_item_serial_event_at" in plan


@both
@pytest.mark.parametrize(
    ("reject", "told"), [(4.25, "review above 2.125, reject above 4.25"), (None, "review above 2.125, no reject")]
)
def test_the_thresholds_of_the_certificate_in_force_stand_beside_the_score(
    here: Line, reject: float | None, told: str
) -> None:
    record = {"look": 1, "n": 9, "calibration_sha256": "0" * 64, "review_threshold": 2.125, "reject_threshold": reject}
    with writing(here.engine) as conn:
        version = registry.add_version(
            conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 50), teacher="none", manifest={}, now=NOW
        )
        certificate = certificates.add(conn, version_id=version.id, record=record, now=NOW)
        deployed = registry.promote(
            conn, version_id=version.id, certificate_id=certificate, config_hash="0" * 64, reason="r", by=None, now=NOW
        ).id
        here.deploy(conn, 51)  # what decides by now has others
        item = here.add_item(conn, 0, serial="S1", deployment_id=deployed)
        rows = [
            here.inspection(0, "review", serial="S1", event_at=NOW, deployment_id=deployed, score=2.125004),
            here.inspection(1, "review", serial="S1", deployment_id=deployed, reason="uncertified"),
            here.inspection(2, "not_inspected", serial="S1", deployment_id=deployed, reason="model_error", score=None),
        ]
        inspections.add_all(conn, rows)
    assert {_values(look)["Thresholds"] for look in _looks(here, serial="S1")} == {HIDDEN}
    reviews.decide(here.engine, here.operator, item.id, "normal", key="k", now=NOW)
    failed, uncertified, scored = map(_values, _looks(here, serial="S1"))
    assert scored["Thresholds"] == told and scored["Score"] == "2.125004"
    assert "Thresholds" not in failed and "Thresholds" not in uncertified
    (look,) = _looks(here, inspection=key_of(rows[0]))
    assert (_values(look)["Product"], _values(look)["Serial"]) == ("flange", "S1")
