"""How two outcomes of one frame compare."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline.work import Outcome
from agent.replay.comparing import Agreement, Replayed, compare
from agent.store.inspections import Inspection

NOW = datetime(2026, 3, 2, tzinfo=UTC)
INSPECTED = ("pass", "review", "reject")
SCORES = st.floats(-1e6, 1e6)
FAILURES = st.sampled_from(["undecodable", "too_old", "model_error", "no_model", "claim_missing", "claim_corrupt"])
OUTCOMES = st.one_of(
    st.builds(Outcome, st.sampled_from(INSPECTED), st.just(NOW), score=SCORES),
    st.builds(Outcome, st.just("not_inspected"), st.just(NOW), FAILURES),
)


def recorded(one: Outcome) -> Inspection:
    return Inspection(
        event_at=NOW, stream_id=1, partition=0, offset=0, frame_id="f", station_id=1, product_id=1, serial=None,
        lot=None, verdict=one.verdict, reason=one.reason, score=one.score, p_value=None, severity=None,
        deployment_id=1, captured_at=None, decided_at=NOW, latency_ms=1.0, score_ms=None, late=False,
        clock_suspect=False,
    )  # fmt: skip


@given(OUTCOMES, st.one_of(st.none(), st.floats(0, 1e6)))
def test_an_outcome_is_identical_with_itself(one: Outcome, tolerance: float | None) -> None:
    assert compare(recorded(one), one, tolerance) == Agreement.IDENTICAL


@given(OUTCOMES, OUTCOMES, st.floats(0, 1e3))
def test_it_does_not_matter_which_came_first(one: Outcome, other: Outcome, tolerance: float) -> None:
    assert compare(recorded(one), other, tolerance) == compare(recorded(other), one, tolerance)


@given(OUTCOMES, OUTCOMES, st.floats(0, 1e3))
def test_what_agrees_has_one_verdict_and_scores_within_the_tolerance(
    one: Outcome, other: Outcome, tolerance: float
) -> None:
    found = compare(recorded(one), other, tolerance)
    agrees = found in (Agreement.IDENTICAL, Agreement.WITHIN_TOLERANCE)
    if one.score is None or other.score is None:
        assert agrees == ((one.verdict, one.reason) == (other.verdict, other.reason))
        return
    assert agrees == (one.verdict == other.verdict and abs(one.score - other.score) <= tolerance)
    assert (found == Agreement.IDENTICAL) == (one.verdict == other.verdict and one.score == other.score)
    assert compare(recorded(one), other, None) in (
        {Agreement.IDENTICAL, Agreement.SAME_VERDICT} if one.verdict == other.verdict else {Agreement.DIFFERENT}
    )


def test_what_lay_outside_frame_and_model_compares_with_nothing() -> None:
    passed, torn = Outcome("pass", NOW, score=1.0), Outcome("not_inspected", NOW, "undecodable")
    missing = Outcome("not_inspected", NOW, "claim_missing")
    assert compare(recorded(missing), passed, 1.0) == Agreement.NOT_COMPARABLE
    assert compare(recorded(torn), passed, 1.0) == Agreement.DIFFERENT
    one = Replayed(recorded(passed), Agreement.DIFFERENT, "log", torn, 1.0).to_dict()
    assert (one["difference"], one["before"]["verdict"], one["now"]["reason"]) == (None, "pass", "undecodable")
