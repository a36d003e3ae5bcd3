"""Audit windows: what is admitted, when, with which epoch and role; and what never enters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from agent import upkeep
from agent.retrain.admission import HELD_OUT, Admission
from agent.store import audit, audits, epochs, products, samples, tables
from agent.store.engine import Conflict, reading, writing
from agent.store.evidence import releasable
from agent.store.install import install_of
from agent.store.local_blobs import MemoryBlobs
from agent.store.windows import Window, window_at
from model.statistics import keyed_fraction
from tests.alarms import Noted
from tests.audited import NEEDED, OVER, Plant, at
from tests.databases import line
from tests.simulations.audits import decided, kept
from tests.streams import settings as stream_settings

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    with line(tmp_path) as here:
        yield Plant(here, tmp_path)


# Cutting


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe"])
@given(hours=st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24]), minutes=st.integers(0, 366 * 24 * 60))
def test_every_moment_lies_in_one_window_and_windows_tile(zone: str, hours: int, minutes: int) -> None:
    timezone, moment = ZoneInfo(zone), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    window = window_at(moment, hours, timezone)
    assert window.holds(moment)
    for inside in (window.starts_at, moment, window.ends_at - timedelta(microseconds=1)):
        assert window_at(inside, hours, timezone) == window
    assert window_at(window.ends_at, hours, timezone).starts_at == window.ends_at
    if hours == 24:
        assert window.starts_at.astimezone(timezone).time() == window.ends_at.astimezone(timezone).time()


def test_windows_that_were_cut_otherwise_are_not_admitted_again(plant: Plant) -> None:
    plant.say(plant.draw(3))
    plant.look()
    daily = plant.admission
    shorter = stream_settings(Path(), certificate={"review_rate": 0.3}, audit={"window_h": 8})
    plant.admission = Admission(plant.here.engine, shorter, plant.alarms)
    plant.say(plant.draw(20))  # of the admitted day
    plant.say(plant.draw(26))
    plant.look(40)
    assert plant.admitted == [Window(at(0), at(24)), Window(at(24), at(32))]
    assert [place[1] for place in plant.placed.values()] == ["stream"] * 3
    plant.say(plant.draw(34))
    plant.admission = daily
    plant.look(60)
    assert plant.admitted[-1] == Window(at(32), at(48)), "what is left of the day"


# Admission


def test_a_window_enters_once_every_drawn_part_of_it_is_decided(plant: Plant) -> None:
    first, second, third = plant.draw(1), plant.draw(2), plant.draw(23)
    plant.say(first)
    plant.say(second, "defect")
    plant.look()
    assert (plant.placed, plant.admitted) == ({first: ("calibration", None)}, [])
    plant.say(third, "unsure")
    plant.look()
    assert plant.admitted == [], "an engineer has yet to decide"
    plant.say(third)
    plant.look()
    assert plant.placed == {first: ("calibration", "stream"), third: ("calibration", "stream")}
    assert plant.admitted == [Window(at(0), at(24))]
    with reading(plant.here.engine) as conn:
        row = conn.execute(sa.select(tables.audit_window)).one()
        assert (row.drawn, row.normal, row.defect) == (3, 2, 1)
        made = epochs.of_product(conn, plant.here.product_id)
        assert [(one.cause, one.opened_at, one.closed_at) for one in made] == [
            ("import", at(-48), at(0)), ("stream", at(0), None),
        ]  # fmt: skip
        event = audit.recent(conn)[0]
        assert (event.action, event.detail["calibration"]) == ("audit_window.admit", 2)
        n_events = len(audit.recent(conn))
    plant.look()
    with reading(plant.here.engine) as conn:
        assert len(audit.recent(conn)) == n_events, "once"
        assert audit.verify(conn) is None


def test_what_calibrates_is_what_the_simulations_of_the_audit_keep(plant: Plant) -> None:
    """Good parts of any score, flagged or not, also where the first person doubted those that look worst."""
    scores = np.random.default_rng(1).random(NEEDED)
    flagged, unsure = scores > np.sort(scores)[-7], scores > np.sort(scores)[-4]
    score_of = {
        plant.draw(n, score=float(score), verdict="review" if flagged[n] else "pass"): score
        for n, score in enumerate(scores)
    }
    for item, doubted in zip(score_of, unsure, strict=True):
        plant.say(item, "unsure" if doubted else "normal")
    plant.look()
    assert {epoch for _, epoch in plant.placed.values()} == {None}, (
        "the doubted ones are not dropped: all wait for them"
    )
    for item, doubted in zip(score_of, unsure, strict=True):
        if doubted:
            plant.say(item)
    plant.look()
    found = sorted(score_of[item] for item, place in plant.placed.items() if place == ("calibration", "stream"))
    assert found == sorted(decided(scores, unsure, second_person=True)) == sorted(kept(scores, ~flagged, audited=True))
    assert len(found) > max(len(decided(scores, unsure, False)), len(kept(scores, ~flagged, False)))


def test_no_window_is_admitted_while_a_frame_of_it_may_still_be_scored(plant: Plant) -> None:
    plant.say(plant.draw(5))
    plant.look(24.99)
    assert plant.admitted == []
    plant.look(25)
    assert plant.admitted == [Window(at(0), at(24))]


def test_days_are_those_of_the_plant(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        plant = Plant(here, tmp_path, plant={"timezone": "Asia/Tokyo"})
        plant.say(plant.draw(14))
        later = plant.draw(16)
        plant.look(17)
        assert plant.admitted == [Window(at(-9), at(15))]
        plant.say(later)
        plant.look(42)
        assert len(plant.admitted) == 2


def test_a_part_whose_frames_lie_in_two_windows_is_decided_as_a_whole(plant: Plant) -> None:
    other, evening, night = plant.draw(20), plant.draw(23.9, "p"), plant.draw(24.1, "p")
    next_day = plant.draw(30)
    plant.say(other)
    plant.say(evening)
    plant.look()
    assert plant.admitted == [], "its second frame is undecided"
    plant.say(night)
    plant.look()
    assert plant.placed == dict.fromkeys((other, evening, night), ("calibration", "stream"))
    plant.say(next_day)
    plant.look(50)
    assert plant.admitted == [Window(at(0), at(24)), Window(at(24), at(48))]
    assert plant.placed[night] == ("calibration", "stream")


def test_a_part_waits_for_the_window_in_which_it_began(plant: Plant) -> None:
    undecided, evening, night = plant.draw(20), plant.draw(23.9, "p"), plant.draw(24.1, "p")
    for item in (evening, night):
        plant.say(item)
    plant.look(50)
    assert plant.admitted == [Window(at(24), at(48))]
    assert plant.placed == dict.fromkeys((evening, night), ("calibration", None))
    plant.say(undecided)
    plant.look(51)
    assert plant.placed == dict.fromkeys((undecided, evening, night), ("calibration", "stream"))


@pytest.mark.parametrize("which", [0, 1])
def test_a_part_with_a_defect_on_any_frame_enters_nothing(plant: Plant, which: int) -> None:
    frames = [plant.draw(23.9, "p"), plant.draw(24.1, "p")]
    plant.say(frames[which], "defect")
    plant.say(frames[1 - which])
    plant.look(50)
    assert len(plant.admitted) == 2
    assert plant.placed == {frames[1 - which]: ("calibration", None)}
    plant.undo(frames[which])
    plant.look(51)
    assert plant.placed == {frames[1 - which]: ("calibration", None)}
    plant.say(frames[which])
    plant.look(52)
    assert set(plant.placed.values()) == {("calibration", "stream")} and len(plant.placed) == 2


def test_what_comes_later_joins_its_part(plant: Plant) -> None:
    first = plant.draw(3, "p")
    plant.say(first)
    plant.look()
    late, again = plant.draw(4, "p"), plant.draw(5)
    plant.say(late)
    plant.look()
    assert plant.placed == {first: ("calibration", "stream"), late: ("calibration", "stream")}
    plant.say(again, "unsure")
    plant.look()
    plant.say(again)
    plant.look()
    assert plant.placed[again] == ("calibration", "stream")
    plant.cut(30)
    plant.look(80)
    assert plant.placed[first] == ("calibration", "stream")
    assert len(plant.admitted) == 1


def test_nobody_alone_takes_an_admitted_part_out(plant: Plant) -> None:
    """Its score is known by then; the highest ones are the threshold."""
    part, waits = plant.draw(3, "p"), plant.draw(30)
    plant.say(part)
    plant.say(waits)
    plant.look()
    with pytest.raises(Conflict, match="goodpart samples withdraw"):
        plant.undo(part)
    assert plant.placed[part] == ("calibration", "stream")
    plant.undo(waits)  # its window is not admitted: nobody's threshold
    assert waits not in plant.placed


def test_beyond_what_the_rate_needs_a_keyed_hash_holds_out(plant: Plant) -> None:
    items = {f"p{n}": plant.draw(n / 10, f"p{n}") for n in range(30)}
    for item in items.values():
        plant.say(item)
    plant.look()
    with reading(plant.here.engine) as conn:
        secret = install_of(conn).secret
        held = epochs.held(conn, plant.here.product_id)
    expected, n = dict[int, str](), 0
    for serial, item in items.items():
        role = "holdout" if n >= NEEDED and keyed_fraction(secret, "role", serial) < HELD_OUT else "calibration"
        n, expected[item] = n + (role == "calibration"), role
    assert {item: role for item, (role, _) in plant.placed.items()} == expected
    (only,) = held.values()
    assert (only.calibration, only.holdout) == tuple(Counter(expected.values())[r] for r in ("calibration", "holdout"))
    late = plant.draw(1, "p29")
    plant.say(late)
    plant.look()
    assert plant.placed[late] == plant.placed[items["p29"]], "a part's first role sticks"


def test_a_part_belongs_to_the_epoch_of_its_first_frame(plant: Plant) -> None:
    before, astride, astride_too, after = plant.draw(9), plant.draw(9.9, "p"), plant.draw(10.1, "p"), plant.draw(11)
    plant.cut(10)
    for item in (before, astride, astride_too, after):
        plant.say(item)
    plant.look()
    assert plant.placed == {
        **dict.fromkeys((before, astride, astride_too), ("calibration", "stream")),
        after: ("calibration", "camera"),
    }
    with reading(plant.here.engine) as conn:
        made = epochs.of_product(conn, plant.here.product_id)
    assert [(one.cause, one.opened_at) for one in made] == [("import", at(-48)), ("stream", at(0)), ("camera", at(10))]


def test_a_stream_epoch_begins_no_earlier_than_what_it_follows(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        plant = Plant(here, tmp_path)
        with writing(here.engine) as conn:
            epochs.open(conn, here.product_id, "teach", "taught", now=at(6))
        plant.say(plant.draw(8))
        plant.look()
        with reading(here.engine) as conn:
            made = epochs.of_product(conn, here.product_id)
        assert [(one.cause, one.opened_at) for one in made[1:]] == [("teach", at(6)), ("stream", at(6))]


def test_a_crash_between_leaves_all_or_nothing(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    item = plant.draw(3)
    plant.say(item)
    admit = audits.admit

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(audits, "admit", dies)
    with pytest.raises(KeyboardInterrupt):
        plant.look()
    assert (plant.admitted, plant.placed) == ([], {item: ("calibration", None)})
    with reading(plant.here.engine) as conn:
        assert [one.cause for one in epochs.of_product(conn, plant.here.product_id)] == ["import"]
    monkeypatch.setattr(audits, "admit", admit)
    plant.look()
    assert plant.placed == {item: ("calibration", "stream")}


def test_two_agents_admit_a_window_once(plant: Plant) -> None:
    items = [plant.draw(n / 2) for n in range(10)]
    for item in items:
        plant.say(item)
    agents = [Admission(plant.here.engine, plant.settings, Noted()) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(one.check, at(OVER)) for one in agents]:
            done.result(60)
    with reading(plant.here.engine) as conn:
        actions = Counter(event.action for event in audit.recent(conn, 200))
        assert (actions["audit_window.admit"], actions["epoch.open"], actions["audit_window.join"]) == (1, 2, 0)
        assert audit.verify(conn) is None
    assert {cause for _, cause in plant.placed.values()} == {"stream"} and len(plant.placed) == 10


def test_agents_look_as_a_chore(plant: Plant) -> None:
    plant.say(plant.draw(3))
    chores = upkeep.keeping(
        plant.here.engine, MemoryBlobs(), plant.settings, plant.alarms, clock=lambda: at(OVER), stopping=bool
    )
    next(one for one in chores if one.name == "audit_windows").do(at(OVER))
    assert plant.admitted == [Window(at(0), at(24))]


def test_retention_keeps_what_waits(plant: Plant) -> None:
    item = plant.draw(3)
    plant.say(item)
    with reading(plant.here.engine) as conn:
        assert releasable(conn, limit=10) == []


def test_an_admitted_sample_is_new_from_then_on(plant: Plant) -> None:
    plant.say(plant.draw(3))
    plant.look()
    with reading(plant.here.engine) as conn:
        stream = epochs.of_product(conn, plant.here.product_id)[-1].id
        assert len(samples.came(conn, plant.here.product_id, at(24.5), epoch_id=stream)) == 1
        assert len(samples.came(conn, plant.here.product_id, at(OVER), epoch_id=stream)) == 0


# What waits too long


def test_windows_that_wait_too_long_are_told_until_they_are_decided(plant: Plant) -> None:
    items = [plant.draw(n) for n in range(12)]
    plant.say(items[3], "unsure")
    plant.look(24 + 47)
    assert plant.alarms.take() == []
    plant.look(24 + 48)
    assert plant.alarms.take() == [("raised", "audit_waits", "product:flange")]
    words = plant.alarms.words[-1]
    assert "12 audited frames of flange from before 2026-03-03 00:00" in words and "1 of an engineer" in words
    assert f"items {', '.join(map(str, items[:10]))} and others" in words
    plant.look(24 + 49)
    assert plant.alarms.take() == []
    plant.say(items[0])
    plant.look(24 + 50)
    assert plant.alarms.take() == [("raised", "audit_waits", "product:flange")]
    for item in items[1:]:
        plant.say(item)
    plant.look(24 + 51)
    assert plant.alarms.take() == [("cleared", "audit_waits", "product:flange")]


def test_a_retired_product_waits_for_nobody(plant: Plant) -> None:
    plant.draw(1)
    plant.look(100)
    with writing(plant.here.engine) as conn:
        products.retire(conn, plant.here.product_id, at(100))
    plant.look(101)
    assert [what for what, _, _ in plant.alarms.take()] == ["raised", "cleared"]
