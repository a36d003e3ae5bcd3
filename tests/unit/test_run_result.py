"""What a finished training run tells people to do next."""

from __future__ import annotations

from agent.retrain.result import RunResult
from model.certificate import certify


def _result(state: str) -> RunResult:
    certificate = certify(
        [n / 100 for n in range(100)], artifact_sha256="a" * 64, calibration_sha256="c" * 64, fingerprint="f",
        review_rate=0.05, reject_rate=0.01, confidence=0.95, look=1,
    )  # fmt: skip
    live = 1 if state == "promoted" else None
    return RunResult(7, "disc", state, "first model", 1, 1, certificate, None, live, 3.0)


def test_a_first_model_that_is_live_tells_where_to_look_at_what_its_thresholds_rest_on() -> None:
    assert "goodpart models calibration 1 --product disc --out looks" in _result("promoted").describe()


def test_one_that_waits_for_a_person_says_so_once() -> None:
    said = _result("needs_person").describe()
    assert said.count("goodpart models calibration 1 --product disc") == 1
    assert "goodpart models promote 1 --product disc" in said
