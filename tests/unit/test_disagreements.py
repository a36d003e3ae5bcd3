"""Where champion and challenger disagree: counted by part, and told only once people have judged."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from agent.service import Invalid, PermissionDenied, models
from agent.store import audit, certificates, disagreements, items, registry, stations, watches
from agent.store.disagreements import Disagreement, Split
from agent.store.engine import Conflict, reading, writing
from agent.store.tables import item
from dashboard.disagreements import card, words
from tests.databases import NOW, Line, add_blob, sha
from tests.watches import Shot, Watched

pytestmark = pytest.mark.usefixtures("each_database")

NEITHER, NEW, OLD, BOTH = (False, False), (True, False), (False, True), (True, True)


def _split(made: Watched) -> Split:
    with reading(made.line.engine) as conn:
        return disagreements.split(conn, made.watch.id)


def _page(made: Watched, *, by_other: bool, limit: int = 10) -> list[Disagreement]:
    with reading(made.line.engine) as conn:
        return disagreements.page(conn, made.watch.id, by_other=by_other, limit=limit)


def test_parts_are_told_apart_by_who_flagged_them(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEITHER)] * 5 + [Shot(*NEW)] * 3 + [Shot(*OLD, "defect")] * 2 + [Shot(*BOTH)])
    assert _split(made) == Split(decides_only=3, other_only=2, both=1, neither=5, waiting=0)
    assert _split(made).parts == 11
    new, old = _page(made, by_other=False), _page(made, by_other=True)
    assert [one.part for one in new] == ["part-7", "part-6", "part-5"], "the newest first"
    assert {(one.flagged, one.other_flagged, one.decision) for one in old} == {(False, True, "defect")}
    assert [one.part for one in _page(made, by_other=False, limit=2)] == ["part-7", "part-6"]


def test_who_flagged_a_part_is_hidden_while_any_frame_of_it_waits(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEW), Shot(*NEW, reviewed=False)], part="two frames")
    made.see([Shot(*NEW)])
    assert _split(made) == Split(decides_only=2, waiting=1)
    assert [one.part for one in _page(made, by_other=False)] == ["part-2"]
    with writing(here.engine) as conn:
        conn.execute(sa.update(item).values(state="closed", decision="normal"))
    assert [one.part for one in _page(made, by_other=False)] == ["part-2", "two frames", "two frames"]


def test_who_flagged_a_part_is_hidden_while_a_view_at_another_station_waits(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEW), Shot(*NEW)])
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        view = here.add_item(conn, 100, serial="part-1", station_id=other, kind="audit")
    assert _split(made) == Split(decides_only=2, waiting=1)
    assert [one.part for one in _page(made, by_other=False)] == ["part-0"]
    with writing(here.engine) as conn:
        items.set_state(conn, view.id, "closed", expected=["open"], decision="normal", now=NOW)
    assert [one.part for one in _page(made, by_other=False)] == ["part-1", "part-0"]


def test_a_part_whose_frames_are_flagged_by_one_model_each_is_no_disagreement(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEW), Shot(*OLD)], part="one part")
    assert _split(made) == Split(both=1)
    assert _page(made, by_other=False) == _page(made, by_other=True) == []


def test_the_words_say_both_verdicts_and_every_n(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEW, "defect"), Shot(*OLD, reviewed=False), *[Shot(*NEITHER)] * 3])
    said = words(made.watch, _split(made))
    assert said.startswith("Of 5 parts that both scored, 1 were flagged by v2 only, 1 by v1 only, 0 by both.")
    assert "1 of these wait for review" in said
    (one,) = _page(made, by_other=False)
    html = card(one, made.watch)
    assert "v2 <b>flags</b> (2) · v1 passes (1)" in html and "people: <b>defect</b>" in html


def test_both_heatmaps_stand_side_by_side_that_of_what_decides_first(here: Line) -> None:
    made = Watched.on(here)
    made.see([Shot(*NEW, "defect"), Shot(*OLD, "defect")])
    with writing(here.engine) as conn:
        shown = {"overlay_sha256": add_blob(conn, 7), "other_overlay_sha256": add_blob(conn, 8)}
        conn.execute(sa.update(item).values(shown))
    for by_other, order in ((False, (7, 8)), (True, (8, 7))):
        (one,) = _page(made, by_other=by_other)
        html = card(one, made.watch)
        assert re.findall(r"img src='/blob/(\w+)'", html) == [one.frame_sha256, *map(sha, order)]
        assert "heat of v2" in html and html.index("heat of v2") < html.index("heat of v1")


def test_an_engineer_rejects_a_candidate_with_a_reason_and_its_shadow_ends(here: Line) -> None:
    made = Watched.on(here)
    with writing(here.engine) as conn:
        candidate = made.version(conn, 3)
        watches.end(conn, here.product_id, "test", NOW)
        certificate_id = certificates.of_version(conn, candidate.id)[0].id
        watches.open(
            conn, product_id=here.product_id, kind="shadow", deployment_id=made.live.id, version_id=candidate.id,
            certificate_id=certificate_id, share=0.1, now=NOW,
        )  # fmt: skip
    with pytest.raises(PermissionDenied):
        models.reject(here.engine, here.operator, candidate.id, "slow", key="1", now=NOW)
    with pytest.raises(Invalid, match="say why"):
        models.reject(here.engine, here.engineer, candidate.id, " ", key="2", now=NOW)
    models.reject(here.engine, here.engineer, candidate.id, "slow", key="3", now=NOW)
    models.reject(here.engine, here.engineer, candidate.id, "slow", key="3", now=NOW)
    assert made.states == {1: "retired", 2: "champion", 3: "rejected"}
    assert (made.watch.state, made.watch.words) == ("ended", "v3 was rejected by engineer: slow")
    with reading(here.engine) as conn:
        event = audit.recent(conn)[0]
        assert (event.action, event.user_id, event.detail["reason"]) == ("model.reject", here.engineer.id, "slow")
        assert registry.version(conn, candidate.id).reason == "slow"
    with pytest.raises(Conflict, match="not a candidate"):
        models.reject(here.engine, here.engineer, candidate.id, "slow", key="4", now=NOW)
    with pytest.raises(Conflict, match="champion"):
        models.reject(here.engine, here.engineer, made.live.model_version_id, "slow", key="5", now=NOW)


def test_a_watch_of_other_models_goes_on_when_a_candidate_is_rejected(here: Line) -> None:
    made = Watched.on(here)
    with writing(here.engine) as conn:
        candidate = made.version(conn, 3)
    models.reject(here.engine, here.engineer, candidate.id, "slow", key="1", now=NOW)
    assert made.watch.state == "open"
