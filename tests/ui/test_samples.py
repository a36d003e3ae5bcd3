"""Samples and the models that they make, in a real browser: accepting, revoking, and comparing two models."""

from __future__ import annotations

import re
from dataclasses import replace

import sqlalchemy as sa
from playwright.sync_api import Page, expect

from agent.settings import utc_now
from agent.store import proposals, registry, samples, snapshots
from agent.store.engine import reading, writing
from agent.store.samples import NewSample
from agent.store.tables import certificate, item
from tests.databases import add_blob
from tests.ui.plant import Served, open_items
from tests.watches import Shot, Watched

CERTIFICATE = {
    "look": 1, "n": 612, "calibration_sha256": "0" * 64, "review_rate": 0.01, "certified_review_rate": 0.01,
    "review_k": 2, "review_threshold": 1.5, "reject_rate": 0.001, "reject_threshold": None, "confidence": 0.95,
    "unit": "part",
}  # fmt: skip


def _held(served: Served) -> samples.Sample:
    """A proposal of the operator's that the check holds up, and the defect that it resembles."""
    made, (first, second, *_) = served.line, open_items(served.line)
    assert first.frame_sha256 and second.frame_sha256
    with writing(made.engine) as conn:
        conn.execute(
            sa.update(item).where(item.c.id == first.id).values(state="closed")
        )  # a part that waits tells nothing
        defect = NewSample(made.product_id, "defect", "import", second.frame_sha256, "d" * 64, reason="scratch")
        known = samples.add(conn, defect, utc_now())
        new = NewSample(made.product_id, "train", "flagged", first.frame_sha256, "e" * 64, serial=first.serial)
        new = replace(new, item_id=first.id, station_id=first.station_id, added_by=made.operator.id, state="proposed")
        held = samples.add(conn, new, utc_now())
        found = {
            "found": "suspect", "words": "looks more like a defect than 95% of the normals do", "nearest": [known.id],
            "figure": 0.81, "cut": -0.2, "defects": 12, "normals": 200, "version": 1,
        }  # fmt: skip
        proposals.move(conn, held.id, "quarantined", expected=["proposed"], by=None, quarantine=found, now=utc_now())
    return held


def _trained(served: Served) -> None:
    """A live version that learnt from all samples in use."""
    made = served.line
    with writing(made.engine) as conn:
        version = registry.add_version(
            conn, product_id=made.product_id, artifact_sha256=add_blob(conn, 900), teacher="t", manifest={},
            snapshot_id=snapshots.freeze(conn, made.product_id, utc_now()).id, now=utc_now(),
        )  # fmt: skip
        registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=utc_now()
        )


def test_a_second_person_accepts_and_later_an_engineer_revokes(page: Page, served: Served) -> None:
    held = _held(served)
    page.goto(f"{served.url}/samples?user=operator")
    expect(page.get_by_text("Looks more like a defect than 95% of the normals do.")).to_be_visible()
    expect(page.get_by_role("button", name="Good: let it train")).to_be_disabled()
    expect(page.get_by_text("Engineers do this; operator is operator.")).to_be_visible()
    page.goto(f"{served.url}/samples?user=engineer")
    expect(page.get_by_text("Called good by operator")).to_be_visible()
    expect(page.get_by_text("scratch", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="sample 1", exact=True)).to_be_visible()
    page.get_by_role("button", name="Good: let it train").click()
    expect(page.get_by_role("button", name="Good: let it train")).to_have_count(0)
    with reading(served.line.engine) as conn:
        one = samples.get(conn, held.id)
    assert (one.state, one.accepted_by) == ("accepted", served.line.engineer.id)
    _trained(served)
    page.goto(f"{served.url}/samples?user=engineer&show=All+samples&role=train")
    expect(page.get_by_text("1 sample, the newest first")).to_be_visible()
    page.get_by_role("button", name="Look").click()
    expect(page.get_by_role("cell", name="v1", exact=True)).to_be_visible()
    expect(page.get_by_text("v1 is live: a run from fresh weights")).to_be_visible()
    expect(page.get_by_role("button", name="Revoke")).to_be_disabled()
    page.get_by_label("Why").fill("a thumb")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("heading", name="It was taken out")).to_be_visible()
    expect(page.get_by_role("button", name="Train a clean model")).to_be_enabled()
    with reading(served.line.engine) as conn:
        assert samples.get(conn, held.id).revoked_at is not None
    expect(page).to_have_url(re.compile(rf"show=One.sample.*sample={held.id}\b"))
    page.reload()
    expect(page.get_by_role("heading", name="It was taken out")).to_be_visible()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)


def test_champion_and_challenger_are_seen_side_by_side_where_they_disagree(page: Page, served: Served) -> None:
    watched = Watched.on(served.line)
    with writing(served.line.engine) as conn:
        conn.execute(sa.update(certificate).values(record=CERTIFICATE))
    watched.offset = 100  # behind the parts that are there
    watched.see([Shot(True, False)] * 3 + [Shot(False, True, "defect")] + [Shot(True, False, reviewed=False)])
    page.goto(f"{served.url}/models?user=operator")
    expect(page.get_by_text("with 95% confidence, from 612 parts")).to_be_visible()
    expect(page.get_by_text("Of 5 parts that both scored, 4 were flagged by v2 only, 1 by v1 only")).to_be_visible()
    expect(page.get_by_text("people: normal")).to_have_count(3)
    page.get_by_role("radio", name="only v1 (1)").click()
    expect(page.get_by_text("v2 passes (2) · v1 flags (1)")).to_be_visible()
    expect(page.get_by_text("people: defect")).to_have_count(1)
    expect(page.get_by_text("people: normal")).to_have_count(0)
    expect(page.get_by_role("button", name="Retrain now")).to_be_disabled()
    expect(page.locator("[data-testid=stException]")).to_have_count(0)
