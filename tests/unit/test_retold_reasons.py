"""Pages say in the plant's language why a model decides or does not, an epoch was opened, a frame was refused."""

from __future__ import annotations

import re
from datetime import UTC, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from streamlit.testing.v1 import AppTest

from agent.frame import BadHeader, Record, parse
from agent.live import NoLive
from agent.phrases import Phrase
from agent.pipeline.claim_checks import key_of
from agent.retrain.record import FIRST
from agent.settings import Settings
from agent.store import audit, dead_letters, epochs, inspections, marks, registry
from agent.store.dead_letters import DeadLetter, NewDeadLetter
from agent.store.engine import reading, writing
from agent.store.tables import deployment, model_version
from dashboard import context, histories, letters, versions
from dashboard.tables import plain
from dashboard.words import retold
from tests.databases import NOW, Line, add_blob

pytestmark = pytest.mark.usefixtures("spoken", "each_database")

WHY = Phrase("{old} flagged {n} good ones and passes the same test", old="v1", n=2)
PERSONS = "{mine} is better"


def _models() -> None:
    from dashboard.views import models

    models.show()


@pytest.fixture
def decided(here: Line) -> Line:
    """v1 decides, then v2, then v1 again, by a watch."""
    with writing(here.engine) as conn:
        for n in (900, 901):
            made = registry.add_version(
                conn, product_id=here.product_id, artifact_sha256=add_blob(conn, n), teacher="none", manifest={},
                now=NOW,
            )  # fmt: skip
            registry.promote(
                conn, version_id=made.id, certificate_id=None, config_hash="0" * 64, reason=FIRST, by=None, now=NOW
            )
        registry.rollback(conn, product_id=here.product_id, reason=WHY, by=None, now=NOW)
    return here


def test_why_a_model_decides_and_another_was_rejected_is_told(decided: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "engine", lambda: decided.engine)
    monkeypatch.setattr(context, "settings", Settings)
    monkeypatch.setattr(context, "live", NoLive)
    page = AppTest.from_function(_models, default_timeout=30)
    page.session_state["actor"] = decided.engineer
    page.run()
    assert not page.exception, page.exception
    assert any(plain(f"⟦{WHY}⟧") in one.value for one in page.success)
    table = next(one.proto.body for one in page.get("html") if "artifact" in one.proto.body)
    assert re.findall(r"<td[^>]*>([^<]*)</td></tr>", table) == [f"⟦{WHY}⟧", f"⟦rolled back: ⟦{WHY}⟧⟧"]
    with reading(decided.engine) as conn:
        stored = [one.reason for one in registry.deployments(conn, decided.product_id)]
        said = [one.detail["reason"] for one in audit.recent(conn) if one.action.startswith("model.")]
    assert stored == said == [WHY, FIRST, FIRST], "the record is English"


def test_what_ever_decided_is_told_and_a_persons_reason_as_it_stands(decided: Line) -> None:
    with writing(decided.engine) as conn:
        version = registry.versions(conn, decided.product_id)[0]
        registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason=PERSONS,
            by=decided.engineer.id, now=NOW,
        )  # fmt: skip
        found = registry.deployments(conn, decided.product_id)
        inspections.add_all(conn, [decided.inspection(0, serial="S1", deployment_id=found[1].id)])
        unmade = [conn.execute(sa.select(one.c.reason).where(one.c.made.is_(None))).scalars().all()
                  for one in (deployment, model_version)]  # fmt: skip
        (look,) = histories.find(conn, serial="S1")
        told = {retold(one.words) for one in marks.between(conn, NOW - timedelta(1), NOW + timedelta(1))}
    assert unmade == [[PERSONS], [PERSONS]]
    rows = versions.rows(versions.history(found, [], [], {}), UTC)
    assert [one["Why"] for one in rows] == [PERSONS, f"⟦{WHY}⟧", f"⟦{FIRST}⟧", f"⟦{FIRST}⟧"]
    assert f"⟦v1, promoted because: ⟦{WHY}⟧⟧" in {one["Value"] for one in histories.facts(look, UTC)}
    assert {f"⟦flange: v1 decides (⟦{WHY}⟧)⟧", f"⟦flange: v2 decides ({PERSONS})⟧"} <= told


def test_why_an_epoch_was_opened_by_itself_is_told(here: Line) -> None:
    words = Phrase(
        "scores at {station} changed, evidence {evidence} after {n} parts", station="s{1}", evidence="9 to 1", n=40
    )
    with writing(here.engine) as conn:
        made = epochs.open(conn, here.product_id, "drift", words, now=NOW)
        found = marks.between(conn, NOW - timedelta(1), NOW + timedelta(1))
        stored = epochs.get(conn, made.id)
    assert stored.words == words == "scores at s{1} changed, evidence 9 to 1 after 40 parts"
    assert retold(stored.began) == f"⟦2026-03-02 10:07 UTC (⟦drift⟧: ⟦{words}⟧)⟧"
    assert f"⟦epoch {stored.id}, ⟦drift⟧: ⟦{words}⟧⟧" in retold(stored.rests_on)
    assert [retold(one.words) for one in found] == [f"⟦flange: ⟦drift⟧: ⟦{words}⟧⟧"]
    with writing(here.engine) as conn:
        imported = epochs.of_import(conn, here.product_id, NOW)
    assert retold(imported.told) == "⟦imported images⟧"


@pytest.mark.parametrize(
    "headers",
    [
        [], [("ce_type", b"{0}")], [("ce_specversion", b"\x00}{")], [("ce_source", b"\xff")], [("\ufffd", b"x")],
        [("ce_id", b"1"), ("id", b"2")], [("ce_source", b"s"), ("ce_time", b"{text}")],
        [("ce_source", b"s"), ("ce_time", b"2026-03-02T10:00:00")], [("ce_source", b"s"), ("ce_sequence", b"{n!r}")],
        [("ce_source", b"\x00s")], [("ce_source", b"s"), ("content-type", b"application/x-goodpart-raw")],
        [("ce_source", b"s"), ("ce_dataref", b"file:///x")],
    ],
)  # fmt: skip
def test_what_is_wrong_with_headers_is_told_and_what_they_say_is_no_template(
    here: Line, headers: list[tuple[str, bytes]]
) -> None:
    with pytest.raises(BadHeader) as refused:
        parse(Record(0, 0, NOW, None, tuple(headers), b"x"), stream="s")
    _is_told(here, refused.value.phrase)


@pytest.mark.parametrize("uri", ["file:///elsewhere/x", "file:///blobs/../x", "file:///blobs/" + "x" * 300])
def test_what_is_wrong_with_a_reference_is_told(here: Line, uri: str) -> None:
    with pytest.raises(BadHeader) as refused:
        key_of(uri, "file:///blobs")
    _is_told(here, refused.value.phrase)


def test_what_a_library_says_of_a_frame_is_a_value(here: Line) -> None:
    assert _letter(here, "RuntimeError: {0}").told == "RuntimeError: {0}"
    _is_told(here, Phrase("the score is {score}", score=float("nan")), offset=1)


def _is_told(here: Line, detail: Phrase, offset: int = 0) -> None:
    letter = _letter(here, detail, offset)
    assert letter.detail == detail
    (row,), facts = letters.letters([letter], UTC), letters.facts(letter)
    assert row["Detail"] == facts[0]["Value"] == f"⟦{detail}⟧"


def _letter(here: Line, detail: str, offset: int = 0) -> DeadLetter:
    given: dict[str, Any] = {"headers": [], "value_sha256": "a" * 64, "blob_sha256": None, "counted": True}
    new = NewDeadLetter(
        here.stream_id, 0, offset, station=None, reason="bad_header", detail=detail, created_at=NOW, **given
    )
    with writing(here.engine) as conn:
        dead_letters.add_all(conn, [new])
        return dead_letters.recent(conn)[0]
