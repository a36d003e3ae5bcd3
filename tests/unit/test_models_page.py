"""The page Models: what it says of the version that decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from agent.live import NoLive
from agent.retrain import gate
from agent.retrain.gate import Caught, Evidence, Pace
from agent.settings import Settings
from agent.store import calibration, certificates, commands, epochs, registry, runs, samples, snapshots
from agent.store.engine import reading, writing
from agent.store.runs import GateReport
from agent.store.samples import NewSample
from agent.store.users import User
from dashboard import context, gates
from dashboard.certificates import FEW_LOTS, words
from dashboard.tables import plain
from dashboard.training import left
from dashboard.training import words as words_of_run
from dashboard.watches import shares
from model import certificate
from model.certificate import certify
from model.parts import Scored
from tests.databases import NOW, Line, add_blob, line, sha

EVIDENCE = Evidence(
    look=1, calibration=100, review_k=1, review_rate=0.05, certified_review_rate=0.05, margin=0.05, holdout=10,
    holdout_new_only=0, holdout_old_only=0, neutral=Caught(20, 5, 0), flagged=Caught(4, 0, 0), min_defects=30,
    pace=Pace(7, 16, 2.0, 1.0, 2.5, 2.0),
)  # fmt: skip


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
            frozen = snapshots.freeze(conn, here.product_id, NOW)
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
        counted = {one.label: one.value for one in page.metric}
        assert counted == {"train": "0", "calibration": "0", "holdout": "0",
                           "defect": "1"}  # fmt: skip


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


def test_the_page_says_what_an_automatic_run_waits_for(here: Line) -> None:
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
    waits = plain("No training run starts by itself: look 1 needs 82 calibration parts for 5.00%, and 0 are there")
    assert any(one.value.startswith(waits) for one in _opened(here.engineer).caption)


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


def test_an_engineer_says_that_the_stream_has_changed(here: Line) -> None:
    assert not any(key.startswith("changed-") for key in _keys(_opened(here.engineer))), "nothing could be cut off"
    with writing(here.engine) as conn:
        first = epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
    key = f"changed-{first.id}"
    assert key not in _keys(_opened(here.operator))
    page = _opened(here.engineer)
    assert page.button(key=key).disabled, "nobody said why"
    page.text_input(key=f"changed-why-{first.id}").set_value("new lamp")
    _shown(page.run()).button(key=key).click()
    page = _shown(page.run())
    with reading(here.engine) as conn:
        found = epochs.current(conn, here.product_id)
    assert found and (found.cause, found.words, found.by) == ("camera", "new lamp", here.engineer.id)
    assert key not in _keys(page)


def test_an_engineer_asks_for_a_certificate_anew_and_sees_what_comes_of_it(here: Line) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 900)
        (version,) = registry.versions(conn, here.product_id)
        new = NewSample(here.product_id, "calibration", "import", add_blob(conn, 1), sha(1))
        one = samples.add(conn, new, NOW)
        calibration.add_all(conn, version.id, {one.id: 1.5})
        record = {"look": 1, "n": 1, "calibration_sha256": "c" * 64}
        certificates.add(conn, version_id=version.id, record=record, now=NOW)
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


def test_a_candidate_is_rejected_with_a_reason_by_an_engineer_alone(here: Line) -> None:
    with writing(here.engine) as conn:
        here.deploy(conn, 900)
        made = registry.add_version(
            conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 901), teacher="none", manifest={}, now=NOW
        )
    page = _opened(here.operator)
    assert page.button(key="retrain").disabled
    assert any("Engineers do this; operator is operator." in one.value for one in page.caption)
    page = _opened(here.engineer)
    assert not page.button(key="retrain").disabled and page.button(key=f"reject-{made.id}").disabled
    page.text_input(key=f"reject-why-{made.id}").set_value("it is slow")
    _shown(page.run()).button(key=f"reject-{made.id}").click()
    _shown(page.run())
    with reading(here.engine) as conn:
        found = registry.version(conn, made.id)
    assert (found.state, found.reason) == ("rejected", "it is slow")


def _version(here: Line, number: int) -> int:
    with writing(here.engine) as conn:
        return registry.add_version(
            conn, product_id=here.product_id, artifact_sha256=add_blob(conn, number), teacher="none", manifest={},
            now=NOW,
        ).id  # fmt: skip


def _states(here: Line) -> list[str]:
    with reading(here.engine) as conn:
        return [one.state for one in registry.versions(conn, here.product_id)]


@pytest.mark.parametrize(("act", "became"), [("promote", "champion"), ("reject", "rejected")])
def test_a_second_press_takes_no_other_candidate(here: Line, act: str, became: str) -> None:
    first, second = _version(here, 900), _version(here, 901)
    page = _opened(here.engineer)

    def button(version_id: int) -> str:
        return f"promote-{version_id}-over-0" if act == "promote" else f"reject-{version_id}"

    shown, other = (first, second) if button(first) in _keys(page) else (second, first)
    page.text_input(key=f"{act}-why-{shown}").set_value("looked at it")
    pressed = _shown(page.run()).button(key=button(shown))
    pressed.click()
    _shown(page.run())
    pressed.click()  # before the browser has drawn what came of it
    page = _shown(page.run())
    with reading(here.engine) as conn:
        assert [registry.version(conn, one).state for one in (shown, other)] == [became, "candidate"]
    (left,) = [one for one in page.button if str(one.key).startswith(f"{act}-{other}")]
    assert left.disabled, "why this one?"


def test_a_second_press_goes_back_no_further(here: Line) -> None:
    with writing(here.engine) as conn:
        *_, live = [here.deploy(conn, 900 + n) for n in range(3)]
    page = _opened(here.engineer)
    page.text_input(key=f"rollback-why-{live}").set_value("false calls")
    pressed = _shown(page.run()).button(key=f"rollback-{live}")
    for _ in range(2):
        pressed.click()
        page = _shown(page.run())
    assert sorted(_states(here)) == ["champion", "rejected", "retired"]
    (left,) = [one for one in page.button if str(one.key).startswith("rollback-")]
    assert left.disabled


def test_a_running_run_shows_how_far_it_is_and_its_loss(here: Line) -> None:
    with writing(here.engine) as conn:
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        runs.start(conn, run.id, None, NOW)
        runs.progress(
            conn,
            run.id,
            phase="training",
            step=50,
            steps=200,
            loss=0.5,
            losses=[(1, 0.9), (50, 0.5)],
            eta_s=600,
            now=NOW,
        )
        run = runs.get(conn, run.id)
    assert words_of_run(run, NOW) == f"run {run.id}: training 50/200 · loss 0.5000 · about 10 min of this phase left"
    assert words_of_run(run, NOW + timedelta(minutes=5)).endswith("no sign of life for 5 min")
    assert [left(seconds) for seconds in (30, 100, 7200)] == ["30 s", "about 2 min", "about 2.0 h"]
    page = _opened(here.viewer)
    assert len(page.get("progress")) == 1 and len(page.get("vega_lite_chart")) == 1


def test_the_gate_is_told_check_by_check_what_decided_first() -> None:
    numbers = {"findings": {"holdout": "too_small", "defects": "ok", "bank": "person", "latency": "ok"}}
    report = GateReport(1, 1, 1, "needs_person", "only 3; no loss; 2 ms; 4 of 80 normals", numbers, NOW)
    rows = [tuple(row.values()) for row in gates.rows(report)]
    assert rows == [
        ("bank", "⚠ needs a person", "only 3"), ("defects", "✔ passes", "no loss"), ("latency", "✔ passes", "2 ms"),
        ("hold-out", "– too few to tell", "4 of 80 normals"),
    ]  # fmt: skip
    old = GateReport(1, 1, 1, "pass", "one; two", {}, NOW)
    assert gates.rows(old) == [{"Found": "one"}, {"Found": "two"}]
    real = gate.judge(EVIDENCE)
    stored = GateReport(1, 1, 1, real.verdict, real.words, real.numbers, NOW)
    told = {(row["Check"], row["Found"]) for row in gates.rows(stored)}
    assert told == {(gates.CHECKS[one.check], one.words) for one in real.findings}


def test_the_page_says_how_many_parts_two_models_score() -> None:
    assert shares(Settings()) == (
        "Parts that two models score: 20.0% of the parts after a promotion, 2,000 of them and more until 20 confirmed "
        "defects came; no shadow."
    )
    alone = Settings.model_validate({"watch": {"defects": 0}, "shadow": {"share": 0.1}})
    assert shares(alone) == (
        "Parts that two models score: 20.0% of the parts after a promotion, 2,000 of them; 10.0% before one, 1,000 of "
        "them."
    )


def test_a_certificate_says_how_many_of_a_thousand() -> None:
    made = certify(
        [Scored(float(place)) for place in range(612)], artifact_sha256="", calibration_sha256="", fingerprint="",
        review_rate=0.01, reject_rate=0.001, confidence=0.95,
    ).to_dict()  # fmt: skip
    said = words({**made, "unit": "part", "certified_review_rate": 0.01})
    assert said.startswith(
        "Of 1,000 good parts at most **10** (1.00%) are flagged, with 95% confidence, from 612 parts "
    )
    assert "Of 1,000 good parts at most **13** (1.23%)" in words(
        {**made, "unit": "part", "certified_review_rate": 0.0123}
    )
    assert "Of 10,000 good parts at most **5** (0.05%)" in words(
        {**made, "unit": "part", "certified_review_rate": 0.0005}
    )


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
