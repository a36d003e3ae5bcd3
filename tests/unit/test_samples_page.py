"""The page Samples: what waits and why, who may let it train, revoking, which models saw it, and coverage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from agent.live import NoLive
from agent.retrain import unreadable
from agent.service import withdrawals as withdrawing
from agent.settings import Settings, utc_now
from agent.store import commands, epochs, proposals, registry, samples, snapshots, withdrawals
from agent.store.coverage import Seen, Weeks
from agent.store.engine import reading, writing
from agent.store.lineage import Lineage
from agent.store.lineage import Seen as Used
from agent.store.samples import NewSample, Sample
from agent.store.tables import item
from agent.store.users import User
from dashboard import charts, context, coverage
from dashboard.coverage import Coverage
from dashboard.samples import held, may_not_accept, meaning
from dashboard.tables import plain
from tests.databases import NOW, Line, add_blob, sha

Open = Callable[..., AppTest]
SUSPECT = {
    "found": "suspect", "words": "looks more like a defect than 95% of the normals do", "figure": 0.81, "cut": -0.2,
    "version": 3, "defects": 12, "normals": 200, "nearest": [1],
}  # fmt: skip


def _page() -> None:
    from dashboard.views import samples

    samples.show()


@pytest.fixture
def opened(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    monkeypatch.setattr(context, "live", NoLive)

    def open_as(user: User, **state: object) -> AppTest:
        page = AppTest.from_function(_page, default_timeout=30)
        page.session_state["actor"] = user
        for name, value in state.items():
            page.session_state[name] = value
        return _shown(page.run())

    yield open_as


def _shown(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def _words(page: AppTest) -> str:
    found = [one.value for kind in (page.info, page.warning, page.success, page.caption, page.markdown) for one in kind]
    return "\n".join([*found, *(one.proto.body for one in page.get("html"))])


def _add(here: Line, number: int, role: str = "train", **changes: object) -> Sample:
    with writing(here.engine) as conn:
        one = here.add_item(conn, number, serial=f"p{number}")
        conn.execute(sa.update(item).where(item.c.id == one.id).values(state="closed"))  # else it waits
        new = NewSample(here.product_id, role, "flagged", sha(number), sha(number), serial=f"p{number}")
        new = replace(new, item_id=one.id, station_id=here.station_id)
        return samples.add(conn, replace(new, **changes), NOW)  # type: ignore[arg-type]


def _held(here: Line, number: int, found: dict[str, object] | None = None, by: User | None = None) -> Sample:
    made = _add(here, number, state="proposed", added_by=(by or here.operator).id)
    with writing(here.engine) as conn:
        proposals.move(
            conn, made.id, "quarantined", expected=["proposed"], by=None, quarantine=found or SUSPECT, now=NOW
        )  # fmt: skip
        return samples.get(conn, made.id)


def test_a_proposal_says_why_it_is_held_up_beside_the_defects_it_resembles(here: Line, opened: Open) -> None:
    defect = _add(here, 1, "defect", reason="<i>scratch</i>")
    one = _held(here, 2, {**SUSPECT, "nearest": [defect.id, 99]})
    said = _words(opened(here.engineer))
    assert "**1** wait for a second person" in said
    assert "Looks more like a defect than 95% of the normals do." in said and "Called good by operator" in said
    assert "likeness 0.81, held up above -0.20 (1: as the 12 defects, -1: as the 200 normals; seen by v3)" in said
    assert "&lt;i&gt;scratch&lt;/i&gt;" in said and f"/blob/{defect.blob_sha256}" in said
    assert f"/blob/{one.blob_sha256}" in said


@pytest.mark.parametrize("who", ["engineer", "operator", "viewer"])
def test_who_may_not_accept_is_told_before_the_press(here: Line, opened: Open, who: str) -> None:
    one = _held(here, 2, by=here.engineer)
    page = opened(getattr(here, who))
    assert page.button(key=f"accept-{one.id}").disabled
    told = "You proposed it, engineer: a second person accepts." if who == "engineer" else f"; {who} is {who}."
    assert plain(told) in _words(page)


def test_a_second_person_accepts_and_the_next_one_is_refused_with_a_reason(here: Line, opened: Open) -> None:
    first, second = _held(here, 1, by=here.engineer), _held(here, 2, by=here.engineer)
    page = opened(here.admin)
    page.button(key=f"accept-{first.id}").click()
    page = _shown(page.run())
    assert page.button(key=f"refuse-{second.id}").disabled, "nobody said why"
    page.text_input(key=f"refuse-why-{second.id}").set_value("a thumb")
    _shown(page.run()).button(key=f"refuse-{second.id}").click()
    assert "**0** wait for a second person" in _words(_shown(page.run()))
    with reading(here.engine) as conn:
        assert (samples.get(conn, first.id).state, samples.get(conn, first.id).accepted_by) == (
            "accepted", here.admin.id,
        )  # fmt: skip
        assert samples.get(conn, second.id).state == "refused"


def test_a_part_that_measures_models_by_now_may_not_train(here: Line) -> None:
    one = _held(here, 1)
    assert may_not_accept(one, here.admin, None, {"train"}) is None
    said = may_not_accept(one, here.admin, None, {"train", "holdout", "calibration"})
    assert said == "Part p1 is a calibration and hold-out part by now: it may not train."


def test_what_holds_a_proposal_up_is_said_whatever_the_check_found(here: Line) -> None:
    one = _held(here, 1, {"found": "off", "words": "not checked: no model is live"})
    assert held(one) == ("Not checked: no model is live. A second person is asked for every proposal.", "")
    assert held(replace(one, state="proposed"))[0] == "The quarantine check has not looked at it yet."
    assert "always asked" in held(replace(one, quarantine=None))[0]


def test_after_a_change_it_says_how_many_a_person_must_look_at(here: Line, opened: Open) -> None:
    _held(here, 1)
    _add(here, 2)
    assert "**1** wait for a second person" in _words(opened(here.engineer))
    assert "changed" not in _words(opened(here.engineer))
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "camera", "a new lens", now=NOW)
    assert "Once 19 more of those that came since are accepted" in _words(opened(here.engineer))


def test_only_so_many_are_drawn_and_the_next_ones_on_demand(here: Line, opened: Open) -> None:
    made = [_held(here, number) for number in range(12)]
    page = opened(here.engineer)
    assert _accepts(page) == [one.id for one in made[:10]], "the oldest first"
    next(one for one in page.button if one.label == "Show later ones").click()
    assert _accepts(_shown(page.run())) == [one.id for one in made]


def _accepts(page: AppTest) -> list[int]:
    return [int(str(one.key)[7:]) for one in page.button if str(one.key).startswith("accept-")]


def _learn(here: Line) -> None:
    """A live version that learnt from all usable samples."""
    with writing(here.engine) as conn:
        frozen = snapshots.freeze(conn, here.product_id, NOW)
        version = registry.add_version(
            conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 900), teacher="t", manifest={},
            snapshot_id=frozen.id, now=NOW,
        )  # fmt: skip
        registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
        )


def test_an_engineer_revokes_what_a_live_model_learnt_and_asks_for_a_clean_one(here: Line, opened: Open) -> None:
    one = _add(here, 1)
    _learn(here)
    page = opened(here.operator, show="One sample", sample=one.id)
    said = _words(page)
    assert "v1" in said and "Engineers do this; operator is operator." in said
    assert page.button(key=f"revoke-{one.id}").disabled and page.text_input(key=f"revoke-why-{one.id}").disabled
    page = opened(here.engineer, show="One sample", sample=one.id)
    assert page.button(key=f"revoke-{one.id}").disabled, "nobody said why"
    page.text_input(key=f"revoke-why-{one.id}").set_value("a thumb")
    _shown(page.run()).button(key=f"revoke-{one.id}").click()
    page = _shown(page.run())
    assert "v1 is live: a run from fresh weights makes a model that never saw it." in _words(page)
    page.button(key="train-clean").click()
    _shown(page.run())
    with reading(here.engine) as conn:
        assert samples.get(conn, one.id).revoked_at is not None
        asked = commands.of_product(conn, "retrain", here.product_id)
    assert asked and asked.args["cold"] is True and asked.by == here.engineer.id


def test_what_no_model_learnt_from_needs_no_clean_one(here: Line) -> None:
    assert meaning(Lineage(1, (), (), (), ())).startswith("No model learnt from it.")
    measured = Lineage(1, (1,), (), (Used(1, 4, "champion", "calibration", None),), ())
    assert meaning(measured).startswith("No model learnt from it.")


def test_a_defect_leaves_the_bank_by_two_people(here: Line, opened: Open) -> None:
    one = _add(here, 1, "defect", reason="scratch")
    page = opened(here.engineer, show="Defect bank")
    assert "1 sample, the newest first" in _words(page)
    page.button(key=f"look-{one.id}").click()
    page = _shown(page.run())
    assert page.number_input(key="sample").value == one.id
    page.text_input(key=f"withdraw-reason-{one.id}").set_value("a reflection")
    _shown(page.run()).button(key=f"withdraw-{one.id}").click()
    assert "A second person decides it." in _words(_shown(page.run()))
    page = opened(here.admin)
    assert "engineer asks to take it out: a reflection." in _words(page)
    page.button(key="confirm-1").click()
    _shown(page.run())
    with reading(here.engine) as conn:
        assert samples.get(conn, one.id).revoked_at is not None
        assert withdrawals.all(conn, here.product_id) == []


def test_what_is_asked_to_leave_is_told_to_those_who_may_not_decide(here: Line, opened: Open) -> None:
    one = _add(here, 1, "calibration")
    withdrawing.ask(here.engine, here.operator, one.id, "crack", key="1", now=NOW)
    page = opened(here.viewer)
    assert "operator asks to take it out: crack." in _words(page)
    assert not [key for key in (str(button.key) for button in page.button) if key.startswith(("confirm", "refuse"))]


def test_a_part_whose_image_cannot_be_read_leaves_without_a_shell(here: Line, opened: Open) -> None:
    one = _add(here, 1, "calibration")
    page = opened(here.operator, show="One sample", sample=one.id)
    page.selectbox(key=f"withdraw-reason-{one.id}").set_value(withdrawing.UNREADABLE)
    _shown(page.run()).button(key=f"withdraw-{one.id}").click()
    _shown(page.run())
    page = opened(here.engineer)
    page.button(key="confirm-1").click()
    page = _shown(page.run())
    assert "An agent was asked to look at its image." in _words(page)
    unreadable.do_next(here.engine, lambda _: True, NOW)
    page = opened(here.engineer)
    assert any("the image of sample" in error.value for error in page.error)
    page.button(key="confirm-1").click()
    _shown(page.run())
    unreadable.do_next(here.engine, lambda _: False, NOW)
    with reading(here.engine) as conn:
        assert samples.get(conn, one.id).revoked_at == NOW


def test_samples_are_found_by_what_is_known_of_them(here: Line, opened: Open) -> None:
    for number, changes in enumerate(({}, {"state": "refused"}, {"role": "defect", "reason": "dent", "lot": "L1"})):
        _add(here, number, **changes)
    assert "3 samples, the newest first" in _words(opened(here.viewer, show="All samples"))
    for state, n in (({"state": "refused"}, 1), ({"serial": "p0"}, 1), ({"lot": "L1"}, 1), ({"role": "train"}, 2)):
        found = f"{n} sample{'s' * (n != 1)}, the newest first"
        assert found in _words(opened(here.viewer, show="All samples", **state)), state
    assert "No sample is like that." in _words(opened(here.viewer, show="All samples", serial="none"))


def test_a_sample_of_another_product_or_none_is_no_error(here: Line, opened: Open) -> None:
    assert "There is no sample 99 of this product." in _words(opened(here.viewer, show="One sample", sample=99))


WEEKS = Weeks(date(2026, 3, 2), 2, UTC, (time(6), time(14), time(22)))


def _coverage(*seen: Seen, frames: int = 1000) -> Coverage:
    ran = [Seen(1, None, 0, slot, frames) for slot in range(24)]
    return Coverage(WEEKS, {}, seen, ran, {1: "press-1", 2: "press-2"})


def test_a_shift_without_samples_is_named_where_it_ran() -> None:
    found = _coverage(*(Seen(1, "train", 0, slot, 5) for slot in range(16)), Seen(1, "calibration", 1, 20, 40))
    assert coverage.thin(found) == [
        "no train sample of press-1 in the shift from 22:00, of 8,000 frames inspected then",
        "no calibration sample of press-1 in the shift from 06:00, of 8,000 frames inspected then",
        "no calibration sample of press-1 in the shift from 14:00, of 8,000 frames inspected then",
    ]
    few = _coverage(*(Seen(1, "train", 0, slot, 50) for slot in range(16)), Seen(1, "train", 0, 17, 3))
    assert coverage.thin(few)[0] == "no calibration sample at all of these weeks"
    assert "only 3 train samples of press-1 in the shift from 22:00, of 8,000 frames" in coverage.thin(few)[1]


def test_what_hardly_ran_is_not_missed() -> None:
    found = _coverage(*(Seen(1, role, 0, slot, 5) for slot in range(24) for role in ("train", "calibration")))
    assert coverage.thin(found) == []
    rare = replace(found, ran=[*found.ran, Seen(2, None, 0, 3, 100)])
    assert coverage.thin(rare) == []
    often = replace(found, ran=[*found.ran, Seen(2, None, 0, 3, 1000)])
    assert [one.split(" in ")[0] for one in coverage.thin(often)] == [
        "no train sample of press-2", "no calibration sample of press-2",
    ]  # fmt: skip


def test_the_heatmap_has_a_cell_for_what_ran_or_has_samples() -> None:
    found = _coverage(Seen(1, "train", 1, 16, 7))
    weekly = coverage.weekly(found, "train")
    assert [(one.when, one.samples, one.frames, one.thin) for one in weekly] == [
        ("03-02", 0, 24_000, True), ("03-09", 7, 0, False),
    ]  # fmt: skip
    hours = coverage.hourly(found, "train")
    assert [one.when for one in hours][:2] == ["06:00", "07:00"] and len(hours) == 24
    assert next(one for one in hours if one.when == "22:00").samples == 7
    drawn = charts.coverage(hours, "hour").to_dict()
    assert len(drawn["layer"]) == 3


def test_weeks_begin_with_the_first_shift_of_their_monday() -> None:
    zone = ZoneInfo("Europe/Berlin")
    before = Weeks.until(datetime(2026, 3, 2, 4, 59, tzinfo=UTC), 2, zone, (time(6), time(18)))
    assert before.monday == date(2026, 2, 16), "the night before Monday's first shift is of the week before"
    after = Weeks.until(datetime(2026, 3, 2, 5, 0, tzinfo=UTC), 2, zone, (time(6), time(18)))
    assert (after.monday, after.since) == (date(2026, 2, 23), datetime(2026, 2, 23, 5, tzinfo=UTC))
    assert (after.slot, after.shift(0), after.shift(12), after.shift(23)) == (4, time(6), time(18), time(18))
    odd = replace(after, shifts=(time(6), time(14, 15)))
    assert (odd.slot, odd.shift(32), odd.shift(33), odd.begins(33)) == (1, time(6), time(14, 15), time(14, 15))


def test_the_coverage_of_a_product_without_samples_is_no_error(here: Line, opened: Open) -> None:
    said = _words(opened(here.viewer, show="Coverage"))
    assert "Nothing: there are no samples in use." in said and "thresholds and certificates come from" in said


def test_the_page_covers_what_was_seen_and_what_ran(here: Line, opened: Open) -> None:
    now = utc_now()
    with writing(here.engine) as conn:
        item = here.add_item(conn, 1, event_at=now - timedelta(days=1))
        new = NewSample(here.product_id, "train", "flagged", sha(1), sha(1), item_id=item.id)
        samples.add(conn, replace(new, station_id=here.station_id), now)
        samples.add(conn, NewSample(here.product_id, "defect", "import", add_blob(conn, 2), sha(2)), now)
    said = _words(opened(here.viewer, show="Coverage"))
    assert "press-1" in said and "(imported)" in said and "<td>1</td>" in said


def test_a_number_that_no_sample_can_have_is_none(here: Line, opened: Open) -> None:
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["actor"] = here.viewer
    page.query_params["show"] = "One sample"
    page.query_params["sample"] = "9" * 25
    assert "Give a sample's number" in _words(_shown(page.run()))
