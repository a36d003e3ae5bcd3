"""The page Models: what it says of the version that decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from agent.live import NoLive
from agent.settings import Settings
from agent.store import calibration, commands, registry, runs, samples
from agent.store.engine import reading, writing
from agent.store.samples import NewSample
from agent.store.users import User
from dashboard import context
from dashboard.certificates import FEW_LOTS, words
from model import certificate
from model.certificate import certify
from model.parts import Scored
from tests.databases import NOW, Line, add_blob, line, sha


def _page() -> None:
    from dashboard.views import models

    models.show()


def test_a_sample_that_came_back_as_a_defect_is_still_in_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with line(tmp_path) as here:
        monkeypatch.setattr(context, "engine", lambda: here.engine)
        monkeypatch.setattr(context, "settings", Settings)
        monkeypatch.setattr(context, "live", NoLive)
        with writing(here.engine) as conn:
            add_blob(conn, 1)
            new = NewSample(here.product_id, "train", "flagged", sha(1), sha(1))
            learnt = samples.add(conn, new, NOW)
            frozen = samples.freeze(conn, here.product_id, NOW)
            version = registry.add_version(
                conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 2), teacher="none", manifest={},
                snapshot_id=frozen.id, now=NOW,
            )  # fmt: skip
            registry.promote(
                conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
            )
            samples.revoke(conn, learnt.id, NOW)
            samples.add(conn, replace(new, role="defect", reason="blot"), NOW)
            # Its audit window is not decided yet: no run would take it.
            samples.add(conn, NewSample(here.product_id, "calibration", "audit", add_blob(conn, 3), sha(3)), NOW)
        page = AppTest.from_function(_page, default_timeout=30)
        page.session_state["actor"] = here.engineer
        page.run()
        assert not page.exception, page.exception
        told = [one.value for one in page.warning]
        assert any(f"v1 learnt from 1 samples that are good normals no more ({learnt.id})" in one for one in told), told
        counted = {one.label: one.value for one in page.metric if one.label.endswith("samples")}
        assert counted == {"train samples": "0", "calibration samples": "0", "holdout samples": "0",
                           "defect samples": "1"}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with line(tmp_path) as made:
        monkeypatch.setattr(context, "engine", lambda: made.engine)
        monkeypatch.setattr(context, "settings", Settings)
        monkeypatch.setattr(context, "live", NoLive)
        yield made


def _opened(user: User) -> AppTest:
    page = AppTest.from_function(_page, default_timeout=30)
    page.session_state["actor"] = user
    return _shown(page.run())


def _shown(page: AppTest) -> AppTest:
    assert not page.exception, page.exception
    return page


def _keys(page: AppTest) -> set[str]:
    return {str(one.key) for one in page.button}


def test_an_engineer_cancels_a_run_and_says_why(here: Line) -> None:
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        runs.start(conn, run.id, None, NOW)
    assert f"cancel-{run.id}" not in _keys(_opened(here.operator))
    page = _opened(here.engineer)
    assert page.button(key=f"cancel-{run.id}").disabled, "nobody said why"
    page.text_input(key=f"cancel-why-{run.id}").set_value("mistake")
    _shown(page.run()).button(key=f"cancel-{run.id}").click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        found = runs.get(conn, run.id)
    assert (found.state, found.reason) == ("cancelled", "mistake")
    assert f"cancel-{run.id}" not in _keys(_shown(page.run()))


def test_an_engineer_asks_for_a_certificate_anew_and_sees_what_comes_of_it(here: Line) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 900)
        (version,) = registry.versions(conn, here.product_id)
        new = NewSample(here.product_id, "calibration", "import", add_blob(conn, 1), sha(1))
        one = samples.add(conn, new, NOW)
        calibration.add_all(conn, version.id, {one.id: 1.5})
        record = {"look": 1, "n": 1, "calibration_sha256": "c" * 64}
        registry.add_certificate(conn, version_id=version.id, record=record, now=NOW)
    assert "recertify" not in _keys(_opened(here.engineer)), "nothing was taken out"
    with writing(here.engine) as conn:
        samples.revoke(conn, one.id, NOW)
    page = _opened(here.operator)
    assert any("since the certificate of v1 (1): certify it anew" in said.value for said in page.warning)
    assert "recertify" not in _keys(page)
    page = _opened(here.engineer)
    page.text_input(key="recertify-why").set_value("scratched")
    _shown(page.run()).button(key="recertify").click()
    page = _shown(page.run())
    assert any("An agent was asked to certify v1 anew." in said.value for said in page.warning)
    assert "recertify" not in _keys(page), "once is enough"
    with writing(here.engine) as conn:
        taken = commands.next(conn, ["recertify"])
        assert taken and (taken.by, taken.args["version_id"]) == (here.engineer.id, version.id)
        commands.finish(conn, taken.id, failed=True, result={"problem": "nothing is left"}, now=NOW)
    page = _opened(here.engineer)
    assert [said.value for said in page.error] == ["v1 could not be certified anew: nothing is left"]
    assert "recertify" in _keys(page)


def test_a_certificate_over_several_stations_and_few_lots_says_so() -> None:
    scores = [
        Scored(float(place), f"p{place}", f"press-{1 + place % 2}", f"lot-{place % 3}") for place in range(200)
    ]  # fmt: skip
    made = certify(
        scores, artifact_sha256="", calibration_sha256="", fingerprint="", review_rate=0.05, reject_rate=0.01,
        confidence=0.95,
    )  # fmt: skip
    said = words(made.to_dict())
    assert "over the mix of 2 stations; each one's own rate, 95 % interval: press-1 " in said and "(n = 100)" in said
    assert "from 3 lots, fewer than 20: another lot may differ" in said
    assert "lots" not in words({**made.to_dict(), "lots": None, "stations": []})
    assert words({**made.to_dict(), "lots": 20}).count("fewer than 20") == 0
    assert FEW_LOTS == certificate.FEW_LOTS
