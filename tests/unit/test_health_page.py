"""What the Health page says: the accounting identity, partition by partition, and what could not be inspected."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from agent.service import dead_letters as service
from agent.service.dead_letters import PREVIEW, REPLAY
from agent.settings import Settings
from agent.store import alerts, audit, commands, dead_letters
from agent.store.commands import Command
from agent.store.dead_letters import NewDeadLetter, Pile
from agent.store.engine import reading, writing
from agent.store.gaps import Gap
from agent.store.offsets import Counts, PartitionState
from dashboard import accounts, context, letters
from dashboard.tables import plain
from tests.databases import NOW, Line, add_blob, sha

STATE = PartitionState(1, "frames", 0, 1200, 2, "agent-1", Counts(10, 6, 2, 1, 1), NOW, NOW - timedelta(seconds=4))


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        (Counts(10, 6, 2, 1, 1), "10 received = 6 inspected + 2 not inspected + 1 dead letters + 1 duplicates"),
        (Counts(10, 6, 2, 1, 0), "+ 0 duplicates +1: 1 frames have no outcome"),
        (Counts(10, 6, 4, 1, 1), "+ 1 duplicates -2: 2 frames have more than one outcome"),
    ],
)
def test_the_sum_of_outcomes_is_said_and_what_is_missing(counts: Counts, words: str) -> None:
    assert accounts.sentence(counts).endswith(words)


def test_a_partition_that_does_not_add_up_says_so() -> None:
    wrong = replace(STATE, partition=1, counts=Counts(10, 6), committed_at=None)
    assert [one["Adds up"] for one in accounts.partitions([STATE, wrong])] == ["yes", "NO"]
    rows = accounts.positions([STATE, wrong], {(1, 0): [(NOW, 1_200)]}, NOW)
    assert [(one["Lag"], one["Last commit"]) for one in rows] == [("1,200", "4 s ago"), ("unknown", "never")]


def test_every_kind_of_gap_has_words() -> None:
    found = [Gap(1, 1, 0, 3, 9, kind, NOW) for kind in ("below_start", "beyond_end", "truncated")]
    assert all(row["What"] for row in accounts.gaps(found, UTC))


def _new(here: Line, n: int, **changes: Any) -> NewDeadLetter:
    new = NewDeadLetter(here.stream_id, 0, n, "s", "bad_header", "x", [("ce_id", "<b>")], "a" * 64, None, True, NOW)
    return replace(new, **changes)


@pytest.mark.usefixtures("each_database")
def test_dead_letters_are_counted_by_reason_where_most_wait_comes_first(here: Line) -> None:
    new = [_new(here, n, reason=reason) for n, reason in enumerate(("bad_header", "corrupt", "corrupt", "corrupt"))]
    with writing(here.engine) as conn:
        dead_letters.add_all(conn, new)
        first, second, *_ = sorted(one.id for one in dead_letters.recent(conn))
        dead_letters.replayed(conn, first, NOW)
        dead_letters.discard(conn, [second], NOW)
    with reading(here.engine) as conn:
        assert dead_letters.piles(conn) == [Pile("corrupt", 2, 0, 1), Pile("bad_header", 0, 1, 0)]
        rows = letters.letters(dead_letters.recent(conn), UTC)
        assert [row["State"] for row in rows] == [
            "waiting", "waiting", "discarded 2026-03-02 10:07", "replayed 2026-03-02 10:07",
        ]  # fmt: skip
        assert [one.id for one in dead_letters.recent(conn, state="replayed")] == [first]
        assert dead_letters.states(conn, [first, second, 99]) == {first: "replayed", second: "discarded"}
        facts = letters.facts(dead_letters.get(conn, first))
    assert {"What": "header ce_id", "Value": "<b>"} in facts


def _command(kind: str, ids: list[int], state: str, **came: Any) -> Command:
    return Command(1, kind, {"ids": ids}, 7, state, came or None, NOW - timedelta(seconds=9), None)


@pytest.mark.parametrize(
    ("command", "level", "words", "share"),
    [
        (_command(REPLAY, [3], "queued"), "info", "dead letter 3, asked by eve 9 s ago: it waits for an agent", None),
        (_command(REPLAY, [3, 4], "queued", waits="no broker"), "warning", "goes on by itself. no broker", None),
        (_command(REPLAY, [3, 4, 5, 6], "running", left=3), "info", "4 dead letters, asked by eve", 0.25),
        (_command(REPLAY, [3, 4], "running"), "info", "0 of 2 done", 0.0),
        (_command(REPLAY, [3, 4], "done", published=1, refused=1), "warning", "1 published, 1 refused", None),
        (_command(REPLAY, [3, 4], "done", published=2, refused=0), "success", "2 published", None),
        (
            _command(REPLAY, [3, 4], "failed", published=1, cancelled_by="ada"),
            "info",
            "cancelled by ada, 1 published",
            None,
        ),
        (_command(PREVIEW, [3], "running"), "info", "Picture of dead letter 3", None),
        (_command(PREVIEW, [3], "failed", problem="no image"), "error", "failed. no image", None),
    ],
)
def test_a_command_says_how_it_stands(command: Command, level: str, words: str, share: float | None) -> None:
    told = letters.told(command, {7: "eve"}, NOW)
    assert (told.level, told.share) == (level, share)
    assert words in told.words


def _page() -> None:
    from dashboard.views import health

    health.show()


def _shown(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def _button(page: AppTest, act: str) -> Any:
    """Its key ends in the last letter that it acts on."""
    (found,) = [one for one in page.button if re.fullmatch(rf"{act}-to-\d+", str(one.key))]
    return found


def _acts(page: AppTest) -> set[str]:
    return {str(one.key).split("-to-")[0] for one in page.button}


@pytest.fixture
def page(here: Line, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    with writing(here.engine) as conn:
        add_blob(conn, 1)
        kept = {"blob_sha256": sha(1)}
        changes = [kept, kept, {}, {"reason": "undecodable", "station": "t", "blob_sha256": sha(1)}]
        dead_letters.add_all(conn, [_new(here, n, **more) for n, more in enumerate(changes)])
    made = AppTest.from_function(_page, default_timeout=30)
    made.session_state["actor"] = here.engineer
    return made


def test_all_that_were_chosen_are_published_by_one_command(here: Line, page: AppTest) -> None:
    _shown(page.run()).selectbox(key="reason").set_value("bad_header")
    page = _shown(page.run())
    assert any("All that wait** of bad header: 2 with bytes" in one.value for one in page.markdown)
    page.selectbox(key="station-all").set_value("press-1")
    _button(_shown(page.run()), "replay-all").click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        (asked,) = commands.waiting(conn, [REPLAY])
        ids = dead_letters.waiting_ids(conn, "bad_header", None, 9, kept=True)
        assert dead_letters.waiting_ids(conn, "bad_header", None, 9) == [*ids, 3]
        assert dead_letters.count_waiting(conn, "bad_header", None, kept=True) == len(ids) == 2
    assert asked.args == {"ids": ids, "station": "press-1", "product": None}
    assert _button(_shown(page.run()), "replay-all").disabled, "an agent has them"
    assert any(plain("2 dead letters, asked by engineer") in one.value for one in page.info)
    with writing(here.engine) as conn:
        assert commands.next(conn, [REPLAY])
        commands.finish(conn, asked.id, result={"published": 1, "refused": 1, "problems": [[ids[1], "why"]]}, now=NOW)
    page = _shown(page.run())
    assert any(plain("1 published, 1 refused") in one.value for one in page.warning)
    assert any("The 1 that were refused" in one.label for one in page.expander)


def test_one_is_discarded_with_a_reason_and_only_by_engineers(here: Line, page: AppTest) -> None:
    page.session_state["actor"] = here.operator
    page = _shown(page.run())
    page.number_input(key="letter").set_value(1)
    assert not {"replay-one-1", "discard-one-1", "replay-all", "discard-all"} & _acts(_shown(page.run()))
    page.session_state["actor"] = here.engineer
    assert _button(_shown(page.run()), "discard-one-1").disabled, "nobody said why"
    page.text_input(key="discard-why-one-1").set_value("a test")
    _button(_shown(page.run()), "discard-one-1").click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        assert dead_letters.states(conn, [1, 2, 3, 4]) == {1: "discarded", **dict.fromkeys((2, 3, 4), "waiting")}
    assert "discard-one-1" not in _acts(_shown(page.run()))
    frame = {"frame_id": "replay-1", "station": "press-1", "product": "flange"}
    service.replayed(here.engine, here.engineer, 2, **frame, key="k", now=NOW)
    page.number_input(key="letter").set_value(2)
    said = [one.value for one in _shown(page.run()).caption]
    assert any(f"replayed 2026-03-02 10:07{plain(', as frame replay-1 of press-1, flange')}." in one for one in said)
    page.number_input(key="letter").set_value(1)
    _shown(page.run())
    assert any(one.value.startswith("It was discarded") for one in page.caption)


@pytest.mark.parametrize("act", ["replay", "discard"])
def test_what_came_after_a_button_was_drawn_is_left_alone(here: Line, page: AppTest, act: str) -> None:
    _shown(page.run()).text_input(key="discard-why-all").set_value("a test")
    page = _shown(page.run())
    pressed = _button(page, f"{act}-all")
    with writing(here.engine) as conn:
        dead_letters.add_all(conn, [_new(here, 9, blob_sha256=sha(1))])
    for _ in range(2):
        pressed.click()
        page = _shown(page.run())
    with reading(here.engine) as conn:
        (last,) = audit.recent(conn, 1)
        assert dead_letters.states(conn, [5]) == {5: "waiting"}
    assert last.detail["ids"] == ([1, 2, 4] if act == "replay" else [1, 2, 3, 4])


def test_those_that_an_agent_has_take_no_place_of_others(here: Line, page: AppTest) -> None:
    with reading(here.engine) as conn:
        assert dead_letters.waiting_ids(conn, None, None, 2, but=[1, 3]) == [2, 4]
        assert dead_letters.waiting_ids(conn, None, None, 9, but=range(3, 100_000)) == [1, 2]


def test_a_station_that_a_frame_named_stays_text(here: Line, page: AppTest) -> None:
    name = "![x](http://x)"
    with writing(here.engine) as conn:
        dead_letters.add_all(conn, [_new(here, 9, station=name)])
        asked = commands.add(conn, REPLAY, {"ids": [1]}, here.engineer.id, NOW)
        assert commands.next(conn, [REPLAY])
        commands.finish(conn, asked, failed=True, result={"problem": name}, now=NOW)
    page.run().selectbox(key="named").set_value(name)
    page = _shown(page.run())
    said = [one.value for one in (*page.markdown, *page.caption, *page.error)]
    assert sum(plain(name) in one for one in said) == 3
    assert not any(name in one for one in said)


def test_a_picture_is_asked_for_and_why_there_is_none_is_said(here: Line, page: AppTest) -> None:
    _shown(page.run()).number_input(key="letter").set_value(4)
    page = _shown(page.run())
    next(one for one in page.button if one.label == "Show what was kept").click()
    page = _shown(page.run())
    with writing(here.engine) as conn:
        asked = commands.next(conn, [PREVIEW])
        assert asked and asked.args == {"ids": [4]}
        commands.finish(conn, asked.id, failed=True, result={"problem": "no image"}, now=NOW)
    page = _shown(page.run())
    assert any(one.value == plain("It gives no picture: no image") for one in page.warning)
    page.number_input(key="letter").set_value(99)
    assert any("there is no dead letter 99" in one.value for one in _shown(page.run()).warning)


@pytest.fixture
def past(here: Line) -> list[int]:
    """An open alert, an open one that somebody has seen, one that ended."""
    made = []
    with writing(here.engine) as conn:
        for kind, words in (("disk", "The 50% disk"), ("drift", "scores drift"), ("station_blind", "press_1 is blind")):
            raised = alerts.raise_(
                conn, kind, "station:press-1", words, level="error", detail={}, event=False, now=NOW
            )  # fmt: skip
            assert raised
            made.append(raised.id)
        alerts.acknowledge(conn, made[1], here.operator.id, event=False, now=NOW + timedelta(hours=1))
        alerts.clear(conn, "station_blind", "station:press-1", NOW + timedelta(hours=2))
    return made


def test_alerts_are_found_by_state_kind_and_words(here: Line, past: list[int]) -> None:
    waits, seen, ended = past

    def found(**asked: Any) -> list[int]:
        with reading(here.engine) as conn:
            return [one.id for one in alerts.recent(conn, **asked)]

    assert found() == [ended, seen, waits]
    assert found(state="open") == [seen, waits]
    assert found(state="acknowledged") == [seen]
    assert found(state="ended") == [ended]
    assert found(text="DISK") == found(kind="disk") == found(text="50%") == [waits]
    assert found(text="press-1", kind="drift", state="open") == [seen]
    assert found(text="press_1") == [ended], "no sign stands for another"


def test_who_has_seen_an_alert_stands_beside_it(here: Line, page: AppTest, past: list[int]) -> None:
    with reading(here.engine) as conn:
        rows = accounts.alerts(alerts.recent(conn), {here.operator.id: "olga"}, UTC)
    assert [(row["Seen by"], row["Seen"]) for row in rows] == [("", ""), ("olga", "2026-03-02 11:07:30"), ("", "")]
    page.run().selectbox(key="alerts").set_value("ended")
    shown = _shown(page.run())
    text = " ".join(one.proto.body for one in shown.get("html"))
    assert "press_1 is blind" in text and "scores drift" not in text
    shown.text_input(key="words").set_value("nothing of the kind")
    assert any(one.value == "There was none like that." for one in _shown(shown.run()).caption)
