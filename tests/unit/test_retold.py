"""Pages say what the agent, its store and its service say in the plant's language; records stay English."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from agent.alerts.webhook import _body
from agent.alerts.writer import AlertWriter
from agent.frame import StreamKey
from agent.metrics import Metrics
from agent.phrases import MADE, Phrase, made_of
from agent.pipeline.gap import Gap
from agent.retrain import gate
from agent.service import retrain
from agent.settings import Settings
from agent.store import certificates as issued
from agent.store import commands, epochs, gaps, marks, registry, runs, watches
from agent.store.engine import reading, writing
from agent.store.epochs import Epoch
from agent.store.lapses import Lapse, Live
from agent.store.next_looks import NextLook
from agent.store.runs import GateReport
from agent.store.samples import Sample
from agent.watching.judging import Counts
from dashboard import accounts, alerts, certificates, charts, context, gates, samples, training
from dashboard.desk import Press
from dashboard.tables import plain
from dashboard.views import review
from dashboard.words import retold
from tests.alarms import standing
from tests.databases import NOW, Line
from tests.unit.test_models_page import EVIDENCE

pytestmark = pytest.mark.usefixtures("spoken")


@pytest.fixture
def server(here: Line, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    return here


def _pressed() -> None:
    import streamlit as st

    from dashboard import context

    context.act(st.session_state["press"], "done")


def test_a_refusal_is_said_on_the_page_that_asked(server: Line) -> None:
    page = AppTest.from_function(_pressed, default_timeout=30)
    page.session_state["press"] = partial(retrain.cancel, server.engine, server.viewer, 1, reason="mistake")
    page.run()
    said = "⟦retrain.cancel needs the role ⟦engineer⟧ or higher; viewer is ⟦viewer⟧⟧"
    assert [one.value for one in page.error] == [plain(said)]


def test_the_desk_is_told_why_a_verdict_was_not_taken(server: Line) -> None:
    told = review.answer(Press("p-1", 99, "normal", None), server.operator)
    assert told == {"ok": False, "words": "⟦there is no item 99⟧"}


@pytest.mark.usefixtures("each_database")
@pytest.mark.parametrize("name", ["flange", "{product}", "{0}", "}{"])
def test_an_alert_is_told_with_its_values_and_sent_in_english(here: Line, name: str) -> None:
    words = Phrase("{product}: {lapse}", product=name, lapse=Phrase("it is over"))
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: NOW)
    writer.raised("certificate_lapsed", "product:x", words, needed=59)
    assert writer.write()
    (one,) = standing(here.engine)
    assert (one.words, one.numbers) == (f"{name}: it is over", {"needed": 59})
    (row,) = accounts.alerts([one], {}, UTC)
    assert row["What"] == f"⟦{name}: ⟦it is over⟧⟧"
    assert f"⟦{name}: ⟦it is over⟧⟧" in alerts.line(one, {}, NOW)
    sent = json.dumps(_body("i", "m", [one]))
    assert json.loads(sent)["text"] == f"certificate_lapsed: {name}: it is over" and MADE not in sent
    old = replace(one, detail={"needed": 59})
    assert accounts.alerts([old], {}, UTC)[0]["What"] == f"{name}: it is over", "of an earlier release"


def test_an_alert_whose_numbers_json_does_not_know_is_told_in_english(here: Line) -> None:
    writer = AlertWriter(here.engine, Metrics(), clock=lambda: NOW)
    writer.raised("disk", "disk:h:/b", Phrase("{held:.1f} GB", held=float("nan")))
    assert writer.write()
    (one,) = standing(here.engine)
    assert (one.told, retold(one.told)) == ("nan GB", "nan GB")


def test_a_gap_is_told_whole() -> None:
    words = Gap("truncated", 7, 3).words(StreamKey("c", "t", "frames"), 2)
    assert retold(words).startswith(
        "⟦⟦partition 2 of frames was to go on at offset 7 and goes on at 3 (truncated)⟧: what"
    )


def test_the_findings_of_the_gate_are_told_check_by_check() -> None:
    found = gate.judge(EVIDENCE)
    stored = GateReport(1, 1, 1, found.verdict, found.words, json.loads(json.dumps(found.numbers)), NOW)
    told = {row["Found"] for row in gates.rows(stored)}
    assert told == {f"⟦{one.words}⟧" for one in found.findings}
    assert gates.words(stored).count("⟦") == len(found.findings)
    old = replace(stored, numbers={"findings": stored.numbers["findings"]})
    assert {row["Found"] for row in gates.rows(old)} == {one.words for one in found.findings}


@pytest.mark.usefixtures("each_database")
def test_why_a_run_ended_is_told_attempt_by_attempt(here: Line) -> None:
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={"cold": False}, now=NOW)
        runs.take(conn, run.id, {**run.settings}, NOW)
        runs.leave(conn, run.id, Phrase("its process ended with status {code}", code=3), NOW, crashed=True)
        left = runs.get(conn, run.id)
        runs.close(conn, run.id, "failed", Phrase("given up: {why}", why=left.told), NOW)
        ended = runs.get(conn, run.id)
        other = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        runs.close(conn, other.id, "cancelled", "{mistake}", NOW)
        by_person = runs.get(conn, other.id)
        third = runs.open(conn, product_id=here.product_id, trigger="cron", settings={}, now=NOW)
        for _ in range(2):
            third = runs.take(conn, third.id, {**third.settings}, NOW)
            runs.leave(conn, third.id, Phrase("its process ended with status {code}", code=3), NOW, crashed=True)
            third = runs.get(conn, third.id)
        waits = training.why(third, None)
        runs.take(conn, third.id, {**third.settings}, NOW)
        runs.close(conn, third.id, "promoted", Phrase("first model"), NOW)
        promoted = runs.get(conn, third.id)
    assert ended.reason == "given up: attempt 1: its process ended with status 3"
    assert training.why(ended, None) == "⟦given up: ⟦attempt 1: ⟦its process ended with status 3⟧⟧⟧"
    assert ended.settings["cold"] is False
    assert training.why(by_person, None) == "{mistake}"
    one, two = (f"⟦attempt {n}: ⟦its process ended with status 3⟧⟧" for n in (1, 2))
    assert waits == f"⟦{one}; {two}⟧", "once"
    assert training.why(promoted, None) == f"⟦first model⟧ ⟦Left before its end: {one}; {two}.⟧"


@pytest.mark.usefixtures("each_database")
def test_why_an_agent_did_not_do_what_it_was_asked_for_is_told(here: Line) -> None:
    with writing(here.engine) as conn:
        asked = commands.add(conn, "look", {}, here.engineer.id, NOW)
        commands.next(conn, ["look"])
        commands.fail(conn, asked, Phrase("the teaching is {state}", state=Phrase("done")), NOW)
        failed = commands.get(conn, asked)
    assert (failed.result or {})["problem"] == "the teaching is done"
    assert retold(failed.problem or "") == "⟦the teaching is ⟦done⟧⟧"


@pytest.mark.usefixtures("each_database")
def test_what_a_watch_found_is_told_while_it_is_open_and_after(here: Line) -> None:
    counted = Counts(50, 1, 2, 3, 6).words
    why = Phrase("{old} flagged {n} good ones and passes the same test", old="v1", n=2)
    with writing(here.engine) as conn:
        deployment_id = here.deploy(conn, 900)
        version = registry.versions(conn, here.product_id)[0]
        record = {"calibration_sha256": "c", "look": 1, "n": 1}
        certificate_id = issued.add(conn, version_id=version.id, record=record, now=NOW)
        opened = watches.open(
            conn, product_id=here.product_id, kind="watch", deployment_id=deployment_id, version_id=version.id,
            certificate_id=certificate_id, share=1.0, now=NOW,
        )  # fmt: skip
        watches.say(conn, opened, Phrase("v{number} cannot score beside it ({why})", number=1, why="{gone}"))
        broken = watches.get(conn, opened)
        watches.say(conn, opened, None)
        numbers = {"parts": 50, "words": counted, MADE: made_of(counted)}
        watches.count(conn, opened, numbers)
        before = watches.get(conn, opened)
        watches.close(conn, opened, "kept", why, NOW, numbers)
        after = watches.get(conn, opened)
    assert retold(broken.told) == "⟦v1 cannot score beside it ({gone})⟧"
    assert before.numbers == numbers, "or the judge would write it again and again"
    assert (before.told, retold(before.told)) == (counted, f"⟦{counted}⟧")
    assert (after.told, retold(after.told)) == (why, f"⟦{why}⟧")
    assert retold(after.title) == f"⟦v{after.number} watched against v{after.other_number}⟧"


@pytest.mark.usefixtures("each_database")
def test_marks_of_trends_are_told(here: Line) -> None:
    with writing(here.engine) as conn:
        gaps.add(conn, here.stream_id, 1, 1200, 1260, "below_start", NOW)
        epochs.open(conn, here.product_id, "camera", "a new {lens}", now=NOW)
        here.deploy(conn, 900)
    with reading(here.engine) as conn:
        found = marks.between(conn, NOW - timedelta(days=900), NOW + timedelta(days=900))
    told = {retold(one.words) for one in found}
    assert "⟦partition 1: ⟦below start⟧, offsets 1200 to 1260⟧" in told
    assert any(one.endswith(": ⟦camera⟧: a new {lens}⟧") for one in told)
    assert any(": v1 decides (" in one and one.startswith("⟦") for one in told)
    drawn = json.dumps(charts._marks(found).to_dict(), ensure_ascii=False)
    assert all(json.dumps(one, ensure_ascii=False) in drawn for one in told)


def test_what_a_certificate_rests_on_and_why_it_lapsed_are_told() -> None:
    cut = Epoch(4, 1, "person", "a {lamp}", True, None, NOW, None)
    assert certificates.words(CERTIFICATE, cut).endswith(
        plain("⟦it rests on audited parts since 2026-03-02 10:07 UTC (⟦epoch 4, ⟦person⟧: a {lamp}⟧) and assumes that "
              "the stream has stayed as it was then⟧") + "."
    )  # fmt: skip
    lapse = Lapse(cut, Live(3, 0.05), True, NextLook(cut, 2, 59, 0.05, 0.95))
    assert retold(lapse.words) == (
        "⟦its certificate is from before ⟦2026-03-02 10:07 UTC (⟦person⟧: a {lamp})⟧; ⟦look 2 needs 109 calibration "
        "parts for 5.00%, and 59 are there, ⟦which would certify 9.01%⟧: ⟦review the audit items, or raise "
        "audit.rate⟧⟧⟧"
    )


def test_why_a_proposal_is_held_up_is_told() -> None:
    words = Phrase("not checked: {why}", why=Phrase("no model is live"))
    one = _sample({"found": "off", "words": str(words), MADE: made_of(words)})
    assert samples.held(one)[0].startswith("⟦not checked: ⟦no model is live⟧⟧.")
    assert samples.held(_sample({"found": "off", "words": "not checked: x"}))[0].startswith("Not checked: x.")


CERTIFICATE: dict[str, Any] = {
    "review_threshold": 1.0, "review_rate": 0.05, "certified_review_rate": 0.05, "reject_threshold": 2.0,
    "reject_rate": 0.01, "confidence": 0.95, "n": 100, "review_k": 1, "look": 1, "unit": "part",
}  # fmt: skip


def _sample(found: dict[str, Any]) -> Sample:
    return Sample(
        id=1, product_id=1, role="train", origin="flagged", blob_sha256="a", mask_sha256=None, item_id=None,
        pixels_sha256="a", serial=None, reason=None, added_by=None, epoch_id=None, state="quarantined",
        quarantine=found, accepted_by=None, accepted_at=None, created_at=NOW, revoked_at=None,
    )  # fmt: skip
