"""A promotion is watched: kept, taken back, or told that nobody can be trusted. Reviews are simulated and seeded."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from structlog.testing import capture_logs

from agent.cli import watch as command
from agent.cli.common import Common
from agent.hot_window import Pruner
from agent.phrases import Phrase, made_of
from agent.service import models
from agent.service import watches as shadowing
from agent.settings import Retention
from agent.store import items, products, registry, samples, snapshots, watches
from agent.store.engine import Conflict, downgrade, reading, upgrade, writing
from agent.store.samples import NewSample
from agent.store.tables import certificate, model_version, watch
from tests.databases import NOW, Line, add_blob, sha
from tests.watches import HASH, Shot, Watched, stream

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def watched(here: Line) -> Watched:
    return Watched.on(here)


def test_a_promotion_over_a_certified_champion_opens_a_watch_and_a_rollback_none(here: Line) -> None:
    watched = Watched.on(here)
    first = watched.watch
    assert (first.kind, first.state, first.share, first.number, first.other_number) == ("watch", "open", 0.2, 2, 1)
    assert first.deployment_id == watched.live.id
    with writing(here.engine) as conn:
        with pytest.raises(Conflict, match="v2 watched against v1 still: end that first"):
            watches.open(
                conn, product_id=here.product_id, kind="watch", deployment_id=first.deployment_id,
                version_id=first.other_version_id, certificate_id=1, share=0.1, now=NOW,
            )  # fmt: skip
        bare = watched.promote(conn, watched.version(conn, 3, certified=False))
        assert watches.active(conn, here.product_id) is None  # there is nothing to compare by
        watched.promote(conn, watched.version(conn, 4))
        assert watches.active(conn, here.product_id) is None
        watched.promote(conn, registry.version(conn, _version_id(conn, here, 4)), by=here.engineer.id)
        assert watches.active(conn, here.product_id) is None  # the same version again
        watched.promote(conn, watched.version(conn, 5), watch_share=0.0)
        assert watches.active(conn, here.product_id) is None  # switched off
        watched.promote(conn, watched.version(conn, 6))
        registry.rollback(conn, product_id=here.product_id, reason="blurred", by=here.engineer.id, now=NOW)
        assert watches.active(conn, here.product_id) is None
        told = [(one.state, one.words) for one in watches.all(conn, here.product_id)]
        assert bare.certificate is not None
    assert told == [("ended", "v5 was taken back"), ("ended", "v3 was promoted")]


def test_what_its_words_were_made_of_moves_with_the_database(watched: Watched, here: Line) -> None:
    why = Phrase("v{n} was promoted", n=3)
    with writing(here.engine) as conn:
        watches.close(conn, watched.watch.id, "ended", why, NOW, {"parts": 5})
    downgrade(here.engine, "0026")
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(watch.c.numbers)).scalar_one() == {"parts": 5, "why": made_of(why)}
    upgrade(here.engine)
    after = watched.watch
    assert (after.told, after.made, after.numbers) == (why, made_of(why), {"parts": 5})


def _version_id(conn: Connection, here: Line, number: int) -> int:
    return next(one.id for one in registry.versions(conn, here.product_id) if one.number == number)


def test_a_good_challenger_is_kept_once_enough_parts_are_drawn_and_reviewed(watched: Watched, here: Line) -> None:
    judge = watched.judge()
    judge.check(NOW)
    assert watched.watch.told.startswith("0 parts")
    watched.see(stream(399, seed=1, flag=0.03, other=0.04, defects=0.02))
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full) == ("open", False)
    last = Shot(True, False, "normal", reviewed=False)
    watched.see([last])
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full) == ("open", True)
    watched.review([last], 399)
    judge.check(NOW)
    kept = watched.watch
    assert (kept.state, kept.closed_at, watched.live.number) == ("kept", NOW, 2)
    assert "neither is evidence against it" in kept.told
    assert (kept.numbers or {})["parts"] == 400
    assert (watched.actions[-1], watched.notices, watched.alarms.said) == ("watch.keep", [], [])


def test_a_model_that_sees_nothing_is_not_kept_before_enough_defects_came(watched: Watched) -> None:
    """Ten defects that the old model alone sees prove nothing yet, however many good parts there are."""
    judge = watched.judge(watch={"parts": 300, "defects": 20})
    watched.see([Shot(False, i < 10, "defect" if i < 10 else "normal") for i in range(400)])
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full, watched.live.number) == ("open", False, 2)
    told = "it waits for 20 confirmed defects that either flagged (10 so far), or for 3,000 parts"
    assert watched.watch.told.endswith(told)
    assert ((watched.watch.numbers or {})["defects"], (watched.watch.numbers or {})["cap"]) == (10, 3000)
    watched.see([Shot(False, True, "defect")])
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("rolled_back", 1)
    assert told not in watched.watch.told


def test_a_watch_in_which_hardly_any_defect_came_ends_at_its_cap_and_says_what_that_is_worth(watched: Watched) -> None:
    judge = watched.judge(watch={"parts": 20, "defects": 20})
    watched.see([Shot(False, True, "defect"), *[Shot(False, False)] * 198])
    judge.check(NOW)
    assert watched.watch.state == "open"
    watched.see([Shot(False, False)])
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("kept", 2)
    assert watched.watch.told.endswith(
        "only 1 of the 20 confirmed defects wanted came in 200 parts: so few that a model blind to defects could not "
        "be told for sure"
    )


def test_serials_that_repeat_do_not_keep_a_watch_open_for_good(watched: Watched) -> None:
    judge = watched.judge(watch={"parts": 4})
    watched.see([Shot(False, False)] * 79, part="carrier")
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full) == ("open", False)
    last = Shot(True, False, reviewed=False)
    watched.see([last], part="carrier")
    judge.check(NOW)
    assert (watched.watch.state, watched.watch.full) == ("open", True)
    said = "80 frames are of only 1 different parts, fewer than the 4 wanted, and no more are drawn: serials repeat"
    assert said in watched.watch.told
    watched.review([last], 79)
    judge.check(NOW)
    assert watched.watch.state == "kept" and said in watched.watch.told


def test_a_true_rate_of_twice_the_certificates_is_rolled_back(watched: Watched, here: Line) -> None:
    judge, shots = watched.judge(), stream(400, seed=2, flag=0.1, other=0.03)
    for start in range(0, 400, 50):
        watched.see(shots[start : start + 50])
        judge.check(NOW)
        if watched.watch.state != "open":
            break
    done = watched.watch
    assert (done.state, watched.live.number, watched.states) == ("rolled_back", 1, {1: "champion", 2: "rejected"})
    assert "v2 flagged" in done.told and "its certificate allows 5.00% (E reached 20 after" in done.told
    assert "v1 flagged" in done.told and "passes the same test" in done.told
    assert watched.live.reason == done.words
    assert watched.notices == [here.product_id]
    assert watched.actions[-1] == "model.rollback"
    judge.check(NOW)  # and nothing more comes of it
    assert watched.live.number == 1
    assert len(watched.actions) == 3


def test_a_model_that_goes_blind_is_rolled_back(watched: Watched, here: Line) -> None:
    watched.see(stream(400, seed=3, flag=0.01, other=0.03, defects=0.1, seen=0.05))
    watched.judge().check(NOW)
    assert (watched.watch.state, watched.live.number) == ("rolled_back", 1)
    assert "were flagged by v1 (E reached 20" in watched.watch.told


def test_excess_flags_that_nobody_confirmed_prove_nothing(watched: Watched, here: Line) -> None:
    judge = watched.judge()
    watched.see([Shot(True, False, reviewed=False)] * 19)
    judge.check(NOW)
    assert watched.alarms.take() == [], "so few are noise"
    watched.see([one._replace(reviewed=False) for one in stream(300, seed=4, flag=0.5)])
    for _ in range(2):
        judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("open", 2)
    assert watched.alarms.take() == [("raised", "excess_flags", "product:flange")]
    flagged = (watched.watch.numbers or {})["new_only"]
    assert f"flange: of the watched parts v2 alone flagged {flagged}, and v1 alone 0." in watched.alarms.words[0]
    assert "proves nothing by itself" in watched.alarms.words[0]
    assert watched.alarms.detail == {"watch": watched.watch.id, "new_only": flagged, "old_only": 0}
    watched.see([Shot(False, True, reviewed=False)] * flagged)
    judge.check(NOW)
    assert watched.alarms.take() == [("cleared", "excess_flags", "product:flange")]
    watched.see([Shot(True, False, reviewed=False)] * 100)
    judge.check(NOW)
    assert watched.alarms.take() == [("raised", "excess_flags", "product:flange")]
    with writing(here.engine) as conn:
        watches.end(conn, here.product_id, "test", NOW)
    judge.check(NOW)
    assert watched.alarms.take() == [("cleared", "excess_flags", "product:flange")]


def test_a_candidate_in_a_shadow_that_flags_more_is_not_told(watched: Watched, here: Line) -> None:
    with writing(here.engine) as conn:
        watches.end(conn, here.product_id, "test", NOW)
        candidate = watched.version(conn, 3)
    shadowing.shadow(here.engine, here.engineer, candidate.id, 0.5, key="s", now=NOW)
    watched.see([Shot(False, True, reviewed=False)] * 40)
    watched.judge().check(NOW)
    assert (watched.watch.kind, watched.watch.state, watched.alarms.said) == ("shadow", "open", [])


def test_late_reviews_count_where_their_parts_were_inspected(watched: Watched) -> None:
    shots = [one._replace(reviewed=False) for one in stream(120, seed=5, flag=0.25)]
    watched.see(shots)
    judge = watched.judge()
    judge.check(NOW)
    assert (watched.watch.numbers or {})["false_alarms"] == 0
    watched.review(shots[60:], 60)
    watched.review(shots[:60], 0)
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("rolled_back", 1)


def test_where_the_old_model_fails_too_nothing_is_taken_back_and_somebody_is_told(watched: Watched, here: Line) -> None:
    judge = watched.judge()
    watched.see(stream(300, seed=6, flag=0.2, other=0.2))
    for _ in range(2):
        judge.check(NOW)
    distrusted = watched.watch
    assert (distrusted.state, distrusted.closed_at, distrusted.share) == ("untrusted", None, 1.0)
    assert "v1 flagged" in distrusted.told and "fails the same test" in distrusted.told
    assert watched.live.number == 2
    assert watched.alarms.take() == [("raised", "no_trusted_model", "product:flange")]
    assert "flange has no trusted model: v2 flagged" in watched.alarms.words[0]
    assert watched.actions[-1] == "watch.distrust"
    with writing(here.engine) as conn:
        watched.promote(conn, watched.version(conn, 3))
        new, old = watches.all(conn, here.product_id)
    assert (new.state, old.state, old.closed_at) == ("open", "untrusted", NOW)
    assert (old.words or "").endswith("; v3 was promoted")
    judge.check(NOW)
    assert watched.alarms.take() == [("cleared", "no_trusted_model", "product:flange")]


@pytest.mark.parametrize(("truth", "state", "live"), [("normal", "untrusted", 2), ("defect", "rolled_back", 1)])
def test_an_old_model_takes_over_only_once_its_flags_are_known_to_be_few_enough_in_vain(
    watched: Watched, truth: str, state: str, live: int
) -> None:
    """It flags half of all parts: of the new model one knows enough, of the old one nothing before the reviews."""
    judge = watched.judge()
    missed = [Shot(False, True, "defect"), Shot(False, False)] * 20
    waiting = [Shot(False, i % 2 == 0, truth, reviewed=False) for i in range(40)]
    watched.see(missed + waiting)
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == ("open", 2)
    assert "not known before its flags are reviewed: 20 of them wait" in watched.watch.told
    watched.review(waiting, len(missed))
    judge.check(NOW)
    assert (watched.watch.state, watched.live.number) == (state, live)


def test_an_old_model_that_learnt_from_what_was_revoked_since_takes_over_by_hand_alone(
    watched: Watched, here: Line
) -> None:
    with writing(here.engine) as conn:
        add_blob(conn, 5)
        new = NewSample(here.product_id, "train", "flagged", blob_sha256=sha(5), pixels_sha256=sha(5))
        one = samples.add(conn, new, NOW)
        taken = snapshots.freeze(conn, here.product_id, NOW).id
        conn.execute(sa.update(model_version).where(model_version.c.number == 1).values(snapshot_id=taken))
        samples.revoke(conn, one.id, NOW)
    watched.see(stream(400, seed=2, flag=0.1, other=0.03))
    watched.judge().check(NOW)
    distrusted = watched.watch
    assert (distrusted.state, distrusted.closed_at, watched.live.number) == ("untrusted", None, 2)
    assert "passes the same test; v1 does not take over by itself: samples revoked" in distrusted.told
    assert watched.alarms.take() == [("raised", "no_trusted_model", "product:flange")]
    assert (watched.actions[-1], watched.notices) == ("watch.distrust", [])
    models.rollback(here.engine, here.engineer, here.product_id, "still better", key="r", now=NOW)
    assert (watched.live.number, watched.watch.closed_at) == (1, NOW)


def test_of_two_agents_one_rolls_back(watched: Watched, here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.see(stream(300, seed=7, flag=0.3, other=0.03))
    before = [watched.watch]
    watched.judge().check(NOW)
    monkeypatch.setattr(watches, "all_active", lambda conn: before)  # the other one has looked already
    watched.judge().check(NOW)
    assert watched.actions.count("model.rollback") == 1
    assert (watched.live.number, watched.states) == (1, {1: "champion", 2: "rejected"})
    assert watched.notices == [here.product_id]


def test_a_watch_that_cannot_be_judged_keeps_no_other_from_it(watched: Watched, here: Line) -> None:
    with writing(here.engine) as conn:
        watched.promote(conn, watched.version(conn, 3))
        conn.execute(sa.update(certificate).values(record={"review_threshold": 1.0}))
    with capture_logs() as said:
        watched.judge().check(NOW)
    assert [one["event"] for one in said] == ["watch_not_judged"]
    assert watched.watch.state == "open"


def test_a_persons_promotion_is_watched(watched: Watched, here: Line) -> None:
    with writing(here.engine) as conn:
        third = watched.version(conn, 3)
    models.promote(here.engine, here.engineer, third.id, "better", HASH, key="p", now=NOW, watch_share=0.3)
    assert (watched.watch.title, watched.watch.share) == ("v3 watched against v2", 0.3)


def test_what_a_watch_waits_for_is_reviewed_first_page_by_page(here: Line) -> None:
    with writing(here.engine) as conn:
        for offset in range(6):
            here.add_item(conn, offset, watched=offset in (2, 4))
        items.set_state(conn, _item(conn, here, 0), "escalated", expected=("open",), decision=None, now=NOW)
        items.set_state(conn, _item(conn, here, 4), "escalated", expected=("open",), decision=None, now=NOW)
    with reading(here.engine) as conn:
        assert [one.offset for one in items.queue(conn)] == [2, 1, 3, 5]
        for limit in (1, 2, 3, 9):
            paged, cursor = [], None
            while page := items.queue(conn, escalated=True, limit=limit, after=cursor):
                paged += [one.offset for one in page]
                cursor = page[-1].cursor
            assert paged == [4, 0, 2, 1, 3, 5]
        assert items.queue(conn, after=("escalated", False, 1)) == []


def _item(conn: Connection, here: Line, offset: int) -> int:
    found = items.at(conn, here.stream_id, 0, offset)
    assert found is not None
    return found.id


def test_scores_of_a_watch_stay_while_it_is_under_way_and_for_a_while_after_it(watched: Watched, here: Line) -> None:
    prune, old = Pruner(here.engine, Retention(inspections_days=10), pause=lambda _: None), NOW - timedelta(days=30)
    watched.see([Shot(False, False)] * 3)

    def kept() -> int:
        with reading(here.engine) as conn:
            return len(watches.seen(conn, first.id))

    first = watched.watch
    prune(NOW + timedelta(days=30))
    assert kept() == 3
    with writing(here.engine) as conn:
        watches.end(conn, here.product_id, "test", old)
        watched.promote(conn, watched.version(conn, 3))
    watched.see([Shot(False, False)])
    prune(old + timedelta(days=5))
    assert kept() == 3
    prune(NOW)
    assert kept() == 0
    with reading(here.engine) as conn:
        assert len(watches.seen(conn, watched.watch.id)) == 1


def test_a_long_watch_keeps_no_other_products_scores(watched: Watched, here: Line) -> None:
    watched.see([Shot(False, False)] * 3)
    with writing(here.engine) as conn:
        other = replace(here, product_id=products.add(conn, "disc", now=NOW).id)
        beside = replace(watched, line=other)
        for number in (3, 4):
            beside.promote(conn, beside.version(conn, number))
    beside.see([Shot(False, False)] * 250)
    with writing(here.engine) as conn:
        watches.end(conn, other.product_id, "test", NOW)
    Pruner(here.engine, Retention(inspections_days=10), pause=lambda _: None)(NOW + timedelta(days=30))
    with reading(here.engine) as conn:
        left = [len(watches.seen(conn, one.id)) for one in (watched.watch, beside.watch)]
    assert left == [3, 0]
    assert watched.watch.closed_at is None and watched.watch.id < beside.watch.id


def test_the_command_lists_the_numbers(
    watched: Watched, here: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    watched.see([Shot(True, False), Shot(False, True, "defect"), Shot(True, True), Shot(False, False)])
    watched.judge().check(NOW)
    monkeypatch.setattr(Common, "database", lambda self: here.engine)
    command.list_(product="flange", json=True, common=Common())
    (told,) = json.loads(capsys.readouterr().out)
    names = ("kind", "state", "decides", "beside", "share", "parts", "new_only", "old_only", "both", "reviewed")
    assert [told[name] for name in names] == ["watch", "open", "v2", "v1", 0.2, 4, 1, 1, 1, 3]
    assert told["e_misses"] > 1 and told["defects"] == 1
    assert told["words"].endswith(
        "it waits for 400 parts; it waits for 5 confirmed defects that either flagged (1 so far), or for 4,000 parts"
    )
    assert "4 parts, flagged 1 by the new model only" in told["words"]
