"""What decided when, who changed it and why, and what two versions differ in."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from agent.service import products
from agent.settings import Scoring, Settings
from agent.store import audit, certificates, registry, setting_versions
from agent.store.engine import reading, writing
from dashboard import context, versions
from tests.databases import NOW, Line, add_blob
from tests.streams import certificate

HOUR = timedelta(hours=1)
FP32 = Settings(scoring=Scoring(precision="fp32"))


def _history(here: Line) -> list[versions.Version]:
    with reading(here.engine) as conn:
        deployed, settings = registry.deployments(conn, here.product_id), setting_versions.all(conn)
        changes = audit.recent(conn, action="product.change")
    return versions.history(deployed, settings, changes, {here.engineer.id: "eve"})


def _deploy(here: Line, record: dict[str, Any] | None, hours: int, config: Settings, version_id: int = 0) -> int:
    with writing(here.engine) as conn:
        if not version_id:
            version_id = registry.add_version(
                conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 500 + hours), teacher="none",
                manifest={}, now=NOW,
            ).id  # fmt: skip
        made = certificates.add(conn, version_id=version_id, record=record, now=NOW) if record else None
        registry.promote(
            conn, version_id=version_id, certificate_id=made, config_hash=config.decision_hash, reason=f"why {hours}",
            by=here.engineer.id if hours else None, now=NOW + hours * HOUR,
        )  # fmt: skip
    return version_id


@pytest.mark.usefixtures("each_database")
def test_every_change_is_listed_with_who_and_why(here: Line) -> None:
    config = Settings()
    for started, kept in ((config, True), (config, False), (FP32, True)):
        with writing(here.engine) as conn:
            now = NOW + 2 * HOUR
            assert setting_versions.keep(conn, started.decision_hash, started.deciding, now) is kept
    record = {**certificate().to_dict(), "reject_threshold": 5.0}
    first = _deploy(here, record, 0, config)
    stricter = {**record, "review_threshold": record["review_threshold"] * 0.9, "n": 120, "review_rate": 0.04}
    _deploy(here, stricter, 1, config, first)
    _deploy(here, {**record, "reject_threshold": None}, 3, FP32)
    products.change(here.engine, here.engineer, "flange", review_rate=0.02, key="k", now=NOW + 4 * HOUR)
    found = _history(here)
    assert [(one.who, one.why) for one in found] == [
        ("eve", ""), ("eve", "why 3"), (versions.AGENT, ""), ("eve", "why 1"), (versions.GATE, "why 0"),
    ]  # fmt: skip
    product, another, started_anew, changed, _ = (one.changed for one in found)
    assert product == "review_rate: None → 0.02"
    assert "Model: v2" in another and "Reject threshold: off: nothing is rejected" in another
    assert "scoring.precision: fp32" in another
    assert started_anew == "scoring.precision: auto → fp32"
    assert "Review threshold: lower (-10.0%): more parts are flagged" in changed
    assert "Review rate asked for: -1.00 points" in changed and "Calibration scores, n: +20" in changed
    assert [row["What"] for row in versions.rows(found, UTC)][1] == "deployment 3, v2"


def test_two_versions_are_compared_in_numbers_and_words(here: Line) -> None:
    record = certificate().to_dict()
    first = _deploy(here, record, 0, Settings())
    _deploy(here, None, 1, Settings(), first)
    _deploy(here, {**record, "review_threshold": 3.5}, 2, FP32)
    new, bare, old = [one.fields for one in _history(here)]
    rows = {str(row["What"]): row for row in versions.differences(old, new)}
    assert rows["Review threshold"]["Words"] == "another model: its scores are on a scale of their own"
    assert (rows["Model"]["From"], rows["Model"]["To"]) == ("v1", "v2")
    assert versions.UNKNOWN in str(rows["Configuration"]["To"]), "no agent has started with either"
    assert set(rows) == {"Review threshold", "Model", "Configuration"}
    rows = {str(row["What"]): row for row in versions.differences(old, bare)}
    assert rows["Review threshold"]["Words"] == "off: every part goes to review"
    assert (rows["Confidence"]["From"], rows["Confidence"]["To"]) == ("95.00%", "none")
    assert versions.differences(old, old) == []


def _page() -> None:
    from dashboard.views import audit

    audit.show()


def test_the_audit_page_compares_the_newest_two(here: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    record = certificate().to_dict()
    first = _deploy(here, record, 0, Settings())
    _deploy(here, {**record, "review_threshold": 1.0}, 1, Settings(), first)
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["actor"] = here.engineer
    page.run().selectbox(key="decided").set_value("flange")
    page.run()
    assert not page.exception, page.exception
    text = " ".join(one.proto.body for one in page.get("html"))
    assert "why 1" in text and text.count("more parts are flagged") == 2
    page.selectbox(key="compared-from").set_value(page.selectbox(key="compared-to").value)
    assert any(one.value == "Both say the same." for one in page.run().caption)
