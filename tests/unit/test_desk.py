"""What the review desk is told of an item, and what it reads of the browser: plain data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.service import bulk, reviews
from agent.service.reviews import Outcome
from agent.settings import Settings, load
from agent.store import audit, stations
from agent.store.engine import reading, writing
from agent.store.items import Item
from agent.store.reviews import Review
from agent.store.score_bins import Histogram, place_of
from dashboard import context, desk
from dashboard.desk import Heard, Press
from dashboard.views import review
from tests.databases import NOW, Line, sha

ITEM = Item(
    id=7, stream_id=1, partition=0, offset=5, event_at=NOW, frame_id="f5", station_id=1, station="press-1",
    product_id=1, product="flange", serial="S5", lot=None, kind="flagged", state="open", decision=None,
    verdict="review", reason=None, score=4.5, p_value=0.012, severity=1.5, deployment_id=1, frame_sha256=sha(1),
    pixels_sha256=None, heatmap_sha256=sha(2), preview_sha256=sha(3), overlay_sha256=sha(4), thumbnail_sha256=sha(5),
    created_at=NOW, closed_at=None, pinned=False, released_at=None, watched=False, judged_by=None, agreed=None,
    claimed_by=None, claimed_until=None,
)  # fmt: skip
AUDIT = replace(ITEM, kind="audit", verdict="pass", score=1.0, p_value=0.8, severity=-2.0)
CERTIFICATE = {"review_threshold": 3.0, "reject_threshold": 6.0}


def _said(decision: str, reason: str | None = None, state: str = "open") -> Review:
    return Review(1, 7, 2, "olga", decision, reason, None, state, NOW)


@pytest.mark.parametrize(
    "other",
    [
        AUDIT,
        replace(ITEM, watched=True),
        replace(ITEM, verdict="reject"),
        replace(ITEM, p_value=None, severity=None, deployment_id=None, reason="uncertified"),
        replace(ITEM, judged_by=3, reviews=(_said("defect", "dent"),)),
    ],
)
def test_before_its_verdict_an_item_gives_away_nothing_but_its_pictures_and_its_part(other: Item) -> None:
    assert desk.card(other, 3) == desk.card(ITEM, 3)
    assert desk.card(ITEM, 3).keys() == {
        "id", "station", "product", "serial", "lot", "model", "time", "frame", "thumbnail", "heatmap", "failed", "said",
    }  # fmt: skip


def test_a_part_says_which_version_decided_of_it_and_one_taken_back_does_too() -> None:
    told = [desk.card(ITEM, 3), desk.card(AUDIT, 3), desk.past([_said("normal")], ITEM, 3)["card"], desk.card(ITEM)]
    assert [one["model"] for one in told] == ["v3", "v3", "v3", None]


def test_a_frame_that_failed_and_an_escalated_item_say_why() -> None:
    failed = replace(
        ITEM, kind="failed", verdict="not_inspected", reason="wrong_size", heatmap_sha256=None, serial=None
    )
    assert (desk.card(failed)["failed"], desk.card(failed)["heatmap"]) == ("wrong size", None)
    assert desk.card(replace(failed, kind="audit")) == desk.card(failed), (
        "a drawn frame that failed is told like others"
    )
    assert desk.card(failed)["serial"] == "f5"
    escalated = replace(ITEM, state="escalated", reviews=(_said("defect", "dent"), _said("unsure")))
    assert desk.card(escalated)["said"] == ["olga: defect, dent", "olga: unsure"]


def test_evidence_that_was_let_go_has_no_pictures() -> None:
    gone = replace(ITEM, frame_sha256=None, preview_sha256=None, thumbnail_sha256=None, heatmap_sha256=None)
    assert [desk.card(gone)[name] for name in ("frame", "thumbnail", "heatmap")] == [None, None, None]


@pytest.mark.parametrize(
    "state",
    [
        None,
        "n",
        [None, 3],
        [{"id": "a", "item": "7", "decision": "normal"}],
        [{"id": "", "item": 7, "decision": "normal"}],
        [{"id": "x" * 201, "item": 7, "decision": "normal"}],
        [{"id": "a", "item": 7, "decision": "accept"}],
        [{"id": "a", "item": 7, "decision": "defect", "reason": ["dent"]}],
        [{"id": "a", "item": 7, "decision": "undo", "made": {"7": 1}}],
        [{"id": "a", "item": 7, "decision": "undo", "made": [[7, "1"]]}],
        [{"id": "a", "item": 7, "decision": "undo", "made": [[7, 1, 2]]}],
        [{"id": "a", "item": 7, "decision": "undo", "made": [[7, 2**63]]}],
        [{"id": "a", "item": 7, "decision": "undo", "made": [[7, 1]] * 501}],
    ],
)
def test_malformed_presses_are_left_out(state: Any) -> None:
    assert desk.presses(state) == []


def test_presses_keep_their_order() -> None:
    sent = [
        {"id": "a", "item": 7, "decision": "defect", "reason": "dent"},
        {"id": "b", "item": 7, "decision": "undo", "reason": None, "made": None},
        {"id": "c", "item": 7, "decision": "undo", "made": [[7, 1], [8, 2]]},
    ]
    assert desk.presses(sent) == [
        Press("a", 7, "defect", "dent"), Press("b", 7, "undo", None), Press("c", 7, "undo", None, {7: 1, 8: 2}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "heard"),
    [
        (None, Heard()),
        ({"shown": 7, "back": [9, 7], "before": 5}, Heard(shown=7, back=[9, 7], before=5)),
        ({"shown": "7", "back": 9, "before": -1}, Heard()),
        ({}, Heard()),
        ({"back": [1, "2", None, 3], "before": 2**63}, Heard(back=[1, 3])),
        ({"presses": [{"id": "a", "item": 7, "decision": "undo"}]}, Heard([Press("a", 7, "undo", None)])),
    ],
)
def test_of_what_a_desk_tells_only_what_is_well_formed_is_heard(state: Any, heard: Heard) -> None:
    found = desk.heard(state)
    assert (list(found.presses), found.shown, list(found.back), found.before) == (
        list(heard.presses), heard.shown, list(heard.back), heard.before,
    )  # fmt: skip


def test_a_desk_does_not_hold_ever_more() -> None:
    assert desk.heard({"back": list(range(1000))}).back == list(range(desk.BACK))


@pytest.mark.parametrize("state", ["open", "escalated"])
def test_the_score_is_hidden_until_the_item_is_closed(state: str) -> None:
    assert desk.figures(replace(ITEM, state=state), 3, CERTIFICATE, Histogram({0: 5})) == {}
    assert desk.figures(replace(ITEM, state="closed", score=None), 3, CERTIFICATE, Histogram({})) == {}


def test_the_score_of_a_closed_item_lies_among_those_of_its_station() -> None:
    shown = desk.figures(replace(ITEM, state="closed"), 3, CERTIFICATE, Histogram({19: 4, -8: 2}))
    assert (shown["score"], shown["p"], shown["model"], shown["verdict"]) == ("4.50", "0.012", "v3", "review")
    assert shown["bars"] == [[-8, 2], [19, 4]] and shown["n"] == 6
    review, reject = shown["limits"]
    assert review == {"name": "review", "x": 0.0, "score": "3.00"}
    # One unit of severity is a score of 1 here, so that 6 is as severe as 3.
    assert reject["x"] == place_of(3.0) and shown["x"] == place_of(1.5) and reject["score"] == "6.00"


def test_without_a_certificate_there_is_no_limit_to_show() -> None:
    shown = desk.figures(replace(ITEM, state="closed", severity=None, p_value=None), 3, None, Histogram({}))
    assert shown == {"score": "4.50", "p": None, "model": "v3", "verdict": "review"}


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome(7, "open", None), "a second person"),
        (Outcome(7, "escalated", None), "an engineer decides"),
        (Outcome(7, "closed", "normal", 1, "train", sample_state="proposed"), "proposed for training"),
        (Outcome(7, "closed", "defect", 1, "defect", sample_state="accepted"), "now a defect sample"),
        (Outcome(7, "closed", "normal", unused="its evidence is no longer kept"), "no sample: its evidence"),
    ],
)
def test_what_a_verdict_did(outcome: Outcome, words: str) -> None:
    assert desk.became(outcome).startswith(words)


def test_a_view_tells_nothing_until_all_views_of_its_part_are_judged(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "reading", lambda: reading(here.engine))
    monkeypatch.setattr(context, "settings", lambda: load(None, {"GOODPART_AUDIT__RATE": "0"}))
    with writing(here.engine) as conn:
        other = stations.add(conn, "press-2", now=NOW).id
        deployed = here.deploy(conn, 90)
        parts = [
            ("audit", "pass", "S1"),
            ("flagged", "review", "S2"),
            ("audit", "pass", None),
            ("flagged", "review", None),
        ]
        views = [
            here.add_item(
                conn, 2 * n + at, kind=kind, verdict=verdict, serial=serial, station_id=station, deployment_id=deployed
            ).id
            for n, (kind, verdict, serial) in enumerate(parts)
            for at, station in enumerate((here.station_id, other))
        ]
    said = [review.answer(Press(f"p{one}", one, "normal", None), here.operator) for one in views]
    assert said[0] == said[2] and "figures" not in said[0]
    assert said[0]["words"].startswith("recorded")
    last = ["now a calibration", "proposed", *["now a calibration"] * 2, *["proposed"] * 2]
    for one, words in zip((said[1], *said[3:]), last, strict=True):
        assert one["words"].startswith(words) and one["figures"]["score"]


def test_a_flagged_view_of_a_part_that_is_drawn_is_told_that_it_does_not_train(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "reading", lambda: reading(here.engine))
    monkeypatch.setattr(context, "settings", lambda: load(None, {"GOODPART_AUDIT__RATE": "1"}))
    with writing(here.engine) as conn:
        item_id = here.add_item(conn, 0, serial="S1").id
    said = review.answer(Press("p", item_id, "normal", None), here.operator)
    assert said["words"] == "no sample: part S1 is drawn for the audit: it measures models, so it trains none"


def test_many_are_taken_back_by_one_press_once_and_those_that_cannot_be_are_counted(
    here: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    with writing(here.engine) as conn:
        ids = [here.add_item(conn, number).id for number in range(3)]
    made = bulk.decide(here.engine, here.operator, ids, "normal", key="k", now=NOW).reviews
    reviews.undo(here.engine, here.operator, ids[0], key="u", now=NOW)
    reviews.decide(here.engine, here.operator, ids[0], "defect", "dent", key="d", now=NOW)
    for _ in range(2):  # it is sent until it is answered
        told = review.answer(Press("p", ids[2], "undo", None, made), here.operator)
        assert told["ok"]
        assert told["words"] == (
            "2 parts are back in the queue; 1 could not be taken back: "
            f"item {ids[0]} was judged again since, as defect by operator: that stays"
        )
    assert [here.item(one).decision for one in ids] == ["defect", None, None]
    with reading(here.engine) as conn:
        undone = [event.subject for event in audit.recent(conn, action="review.undo")]
    assert undone == [f"item:{one}" for one in (ids[2], ids[1], ids[0])]
    refused = review.answer(Press("q", ids[1], "undo", None, {ids[1]: made[ids[1]]}), here.operator)
    assert not refused["ok"] and refused["words"].startswith("0 parts are back in the queue; 1 could not be")
