"""The drift watch: p-values are uniform, bets are fair, and the state is the same however it is fed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model.statistics import Drift
from model.statistics.betting import BETS, log_evidence_of_change, log_factors, log_reserve, log_wealths
from model.statistics.ranks import EDGES, cell_edges, cells_of, p_values

# Few values, so that there are ties, and others between them.
scores = st.lists(st.integers(0, 8).map(lambda n: n / 2) | st.floats(0, 4), min_size=1, max_size=40)


def begun(calibration: list[float] | None = None, alpha: float = 0.01) -> Drift:
    rng = np.random.default_rng(1)
    return Drift.begin(rng.normal(size=150) if calibration is None else calibration, alpha=alpha, seed=3)


@given(scores, scores, st.integers(0, 100))
def test_a_p_value_counts_the_scores_before_it_by_cell(known: list[float], later: list[float], seed: int) -> None:
    edges = cell_edges(known)
    before, cells = cells_of(known, edges).tolist(), cells_of(later, edges)
    lots = 1 - np.random.default_rng(seed).random(len(later))
    found = p_values(cells, np.bincount(before, minlength=2 * len(edges) + 1), lots)
    for cell, lot, p in zip(cells.tolist(), lots, found, strict=True):
        higher, equal = sum(one > cell for one in before), sum(one == cell for one in before)
        assert p == pytest.approx((higher + lot * (equal + 1)) / (len(before) + 1))
        before.append(cell)


@pytest.mark.parametrize("draw", ["normal", "few values", "more than edges"])
def test_p_values_of_exchangeable_scores_are_uniform_and_independent(draw: str) -> None:
    rng, rows = np.random.default_rng(7), []
    size = 2 * EDGES if draw == "more than edges" else 3
    for _ in range(3000):
        values = rng.normal(size=size + 3).round(0 if draw == "few values" else 9)
        edges = cell_edges(values[:size])
        counts = np.bincount(cells_of(values[:size], edges), minlength=2 * len(edges) + 1)
        rows.append(p_values(cells_of(values[size:], edges), counts, 1 - rng.random(3)))
    first, second, third = np.array(rows).T
    for p in (first, second, third):
        assert stats.kstest(p, "uniform").pvalue > 0.001
    for one, other in ((first, second), (second, third), (first, third)):
        table = np.histogram2d(one, other, bins=4, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(table.ravel()).pvalue > 0.001


@pytest.mark.parametrize("bet", range(len(BETS)))
def test_every_bet_is_fair(bet: int) -> None:
    z = np.linspace(-8, 8, 20_001)
    paid = np.exp(log_factors(stats.norm.sf(z))[:, bet]) * stats.norm.pdf(z)
    assert np.trapezoid(paid, z) == pytest.approx(1, abs=1e-3)


@given(st.lists(st.floats(0.001, 1), min_size=1, max_size=30), st.integers(0, 29))
def test_the_evidence_is_the_mixture_over_all_starts(p: list[float], cut: int) -> None:
    values, cut = np.array(p), min(cut, len(p) - 1)
    factors = np.exp(log_factors(values))
    starts = np.exp(log_reserve(np.arange(len(p) + 1)))
    direct = starts[-1] + sum((starts[t] - starts[t + 1]) * factors[t:].prod(axis=0).mean() for t in range(len(p)))
    none = np.full(len(BETS), -np.inf)
    first = log_wealths(values[:cut], 0, none)
    second = log_wealths(values[cut:], cut, first[-1] if cut else none)
    assert math.exp(log_evidence_of_change(second, cut)[-1]) == pytest.approx(direct)


def test_the_reserve_is_whole_at_first_and_never_spent() -> None:
    left = np.exp(log_reserve(np.array([0, 1, 10**6, 10**12])))
    assert left[0] == 1
    assert (np.diff(left) < 0).all() and left[-1] > 0.02


@given(st.lists(st.integers(0, 900), max_size=4), st.integers(0, 9))
def test_batches_of_any_size_give_one_state(cuts: list[int], shifted: int) -> None:
    stream = np.random.default_rng(shifted).normal(size=900)
    stream[600:] += shifted / 3
    whole, parts = begun().update(stream), begun()
    for batch in np.split(stream, sorted(cuts)):
        parts = Drift.from_dict(json.loads(json.dumps(parts.update(batch).to_dict())))
    assert (parts.n, parts.counts, parts.alarm_at) == (whole.n, whole.counts, whole.alarm_at)
    assert parts.log_e == pytest.approx(whole.log_e)


def test_memory_stays_fixed_and_every_score_is_counted() -> None:
    rng = np.random.default_rng(2)
    state = Drift.begin(rng.normal(size=5000), alpha=0.01, seed=1).update(rng.normal(size=30_000))
    assert len(state.counts) == 2 * EDGES + 1
    assert (sum(state.counts), state.n, state.alarm_at) == (35_000, 30_000, None)


@pytest.mark.parametrize(("shift", "spread"), [(0.6745, 1.0), (-0.6745, 1.0), (0.0, 2.0), (0.0, 0.5)])
def test_a_change_is_caught_early_or_late_and_no_change_is_not(shift: float, spread: float) -> None:
    rng = np.random.default_rng(4)
    for before in (0, 20_000):
        state = begun(rng.normal(size=299).tolist()).update(rng.normal(size=before))
        assert state.alarm_at is None
        state = state.update(shift + spread * rng.normal(size=1000))
        assert state.alarm_at is not None and before < state.alarm_at < before + 300


def test_nothing_is_counted_after_the_alarm_and_the_next_stream_asks_for_more() -> None:
    alarmed = begun().update(np.full(500, 9.0))
    assert alarmed.alarm_at == alarmed.n < 30 and alarmed.e >= alarmed.alarm_e
    assert alarmed.update([9.0, 1.0]) == alarmed
    following = alarmed.anew([8.0, 9.0, 10.0])
    assert (following.stream, following.n, following.e, following.seed) == (2, 0, 1.0, alarmed.seed)
    assert following.alarm_e == pytest.approx(4 * alarmed.alarm_e) == pytest.approx(4 * math.pi**2 / 6 / 0.01)


def test_equal_scores_throughout_are_no_drift() -> None:
    state = begun([0.5]).update([0.5] * 5000)
    assert state.alarm_at is None and state.log_e < 0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        begun().update([0.1, bad])
    with pytest.raises(ValueError, match="finite"):
        begun([bad])


def test_what_cannot_be_a_watch_is_refused() -> None:
    with pytest.raises(ValueError, match="no calibration"):
        begun([])
    with pytest.raises(ValueError, match="alpha"):
        begun(alpha=0.0)
    with pytest.raises(ValueError, match="this version"):
        Drift.from_dict({"alpha": 0.1})
    with pytest.raises(ValueError, match="this version"):
        Drift.from_dict({**begun().to_dict(), "counts": [1, 2]})
