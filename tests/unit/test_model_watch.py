"""Bets against a rate: what E is, that it is fair, and when it first reaches the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.statistics import CAP, EVEN, ROLLBACK, enough_at, evidence_against
from model.statistics.watch import log_evidence

rates = st.floats(0.001, 0.9)
outcomes = st.lists(st.booleans(), max_size=60)


def product(rate: float, seen: list[bool]) -> float:
    """E as it is defined, outcome by outcome."""
    stakes = np.geomspace(0.25, 0.5 / rate, 8)
    return float(np.mean([math.prod(1 + stake * (one - rate) for one in seen) for stake in stakes]))


@given(rates, outcomes)
def test_e_is_the_mean_product_of_the_bets(rate: float, seen: list[bool]) -> None:
    evidence = evidence_against(rate, seen)
    assert evidence.e == pytest.approx(product(rate, seen), rel=1e-9)
    assert (evidence.n, evidence.ones) == (len(seen), sum(seen))


@given(rates, outcomes)
def test_the_threshold_is_reached_at_the_first_time_that_the_products_reach_it(rate: float, seen: list[bool]) -> None:
    passed = [t for t in range(1, len(seen) + 1) if product(rate, seen[:t]) >= ROLLBACK * (1 + 1e-9)]
    reached = evidence_against(rate, seen).reached_at
    assert reached == (passed[0] if passed else None) or product(rate, seen[:reached]) == pytest.approx(ROLLBACK)


@given(rates, st.integers(0, 500), st.integers(0, 500))
def test_a_bet_is_fair_at_the_rate_itself(rate: float, ones: int, zeros: int) -> None:
    now, one, none = log_evidence([ones, ones + 1, ones], np.array([0, 1, 1]) + ones + zeros, rate)
    assert rate * math.exp(one - now) + (1 - rate) * math.exp(none - now) == pytest.approx(1, rel=1e-9)


@given(rates, outcomes, st.data())
def test_a_review_that_is_still_missing_never_accuses_more(rate: float, seen: list[bool], data: st.DataObject) -> None:
    early = [one and data.draw(st.booleans()) for one in seen]
    known, later = evidence_against(rate, early), evidence_against(rate, seen)
    assert known.log_e <= later.log_e
    assert known.reached_at is None or (later.reached_at is not None and later.reached_at <= known.reached_at)


def test_the_order_decides_when_and_not_how_much() -> None:
    first = evidence_against(0.05, [True] * 4 + [False] * 200)
    last = evidence_against(0.05, [False] * 200 + [True] * 4)
    assert first.log_e == last.log_e < 0
    assert (first.reached_at, last.reached_at) == (2, None)


def test_of_two_models_one_that_alone_sees_the_defects_is_believed_within_a_few() -> None:
    assert evidence_against(EVEN, [True] * 20).reached_at == 11
    assert evidence_against(EVEN, [True, False] * 500).reached_at is None


@given(outcomes, st.integers(1, 20), st.integers(0, 5))
def test_enough_is_seen_after_the_parts_and_the_defects_or_at_the_cap(
    seen: list[bool], parts: int, wanted: int
) -> None:
    there = [n for n in range(len(seen) + 1) if n >= parts and (sum(seen[:n]) >= wanted or n >= CAP * parts)]
    assert enough_at(seen, parts, wanted) == (there[0] if there else None)
    assert enough_at(np.array(seen, dtype=bool), parts, wanted) == enough_at(seen, parts, wanted)


@pytest.mark.parametrize("one", [True, False])
def test_long_sequences_stay_finite(one: bool) -> None:
    evidence = evidence_against(0.001, np.full(100_000, one))
    assert math.isfinite(evidence.log_e) and math.isfinite(evidence.e)


def test_nothing_seen_says_nothing() -> None:
    evidence = evidence_against(0.05, [])
    assert (evidence.e, evidence.n, evidence.reached_at) == (1.0, 0, None)


@pytest.mark.parametrize(("rate", "threshold"), [(0.0, 20.0), (1.0, 20.0), (math.nan, 20.0), (0.05, 1.0)])
def test_rates_and_thresholds_outside_their_range_are_refused(rate: float, threshold: float) -> None:
    with pytest.raises(ValueError, match=r"a (rate|threshold) of"):
        evidence_against(rate, [True], threshold)
