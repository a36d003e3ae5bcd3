"""Rates from the audit sample: undecided parts enter each bound as the worse case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.statistics import AuditSample, Judged, clopper_pearson

few = st.builds(Judged, st.integers(0, 6), st.integers(0, 6), st.integers(0, 3))
samples = st.builds(AuditSample, few, few)


def decisions(sample: AuditSample) -> list[AuditSample]:
    """The sample with its undecided parts decided, in every way."""

    def all_ways(part: Judged) -> list[Judged]:
        return [Judged(part.normal + part.open - bad, part.defect + bad) for bad in range(part.open + 1)]

    return [AuditSample(p, f, sample.confidence) for p in all_ways(sample.passes) for f in all_ways(sample.flagged)]


@given(samples)
def test_bounds_are_those_of_the_worst_decisions(sample: AuditSample) -> None:
    for name in ("escape_rate", "miss_rate", "false_alarm_rate"):
        rate, decided = getattr(sample, name), [getattr(one, name) for one in decisions(sample)]
        assert rate.low == pytest.approx(min(one.low for one in decided))
        assert rate.high == pytest.approx(max(one.high for one in decided))
        assert rate.estimate is None or rate.low <= rate.estimate <= rate.high


def test_each_rate_is_of_its_own_parts() -> None:
    sample = AuditSample(Judged(normal=200, defect=2), Judged(normal=6, defect=8))
    rates = sample.escape_rate, sample.miss_rate, sample.false_alarm_rate
    assert [(rate.hits, rate.n) for rate in rates] == [(2, 202), (2, 10), (6, 206)]
    assert [(rate.low, rate.high) for rate in rates] == [clopper_pearson(rate.hits, rate.n) for rate in rates]


def test_a_window_counts_from_ninety_five_percent_judged() -> None:
    assert AuditSample(Judged(90, 5, 5)).suffices
    assert not AuditSample(Judged(90, 4, 5)).suffices
    assert not AuditSample().suffices


def test_people_read_the_share_its_interval_and_n() -> None:
    assert str(AuditSample().escape_rate) == "no audited passes yet"
    assert str(AuditSample(Judged(5, 0, 0)).miss_rate) == "no audited defects yet"
    assert str(AuditSample(Judged(open=3)).escape_rate).startswith("unknown (0.00% .. 100.00%")
    text = str(AuditSample(Judged(198, 2, 4)).escape_rate)
    assert text == "1.00% (0.12% .. 6.29% with 95% confidence; 2 of 200 audited passes, 4 undecided)"
