from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model.statistics import RANKS, exceedance_tail, most_telling
from tests.simulations.results import Share

scores = st.lists(st.floats(-5, 5) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=60)


@given(st.integers(0, 400), st.integers(1, 300), st.data())
def test_the_number_above_a_rank_is_beta_binomial(later: int, known: int, data: st.DataObject) -> None:
    rank, above = data.draw(st.integers(1, min(known, 9))), data.draw(st.integers(0, later))
    expected = stats.betabinom.sf(above - 1, later, rank, known + 1 - rank)
    assert exceedance_tail(above, later, known, rank) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(("later", "known", "rank"), [(21, 80, 1), (200, 84, 2), (1000, 59, 8)])
def test_so_many_are_seen_as_often_as_it_says(later: int, known: int, rank: int) -> None:
    rng = np.random.default_rng(5)
    cuts = np.sort(rng.normal(size=(4000, known)), axis=1)[:, -rank]
    above = (rng.normal(size=(4000, later)) > cuts[:, None]).sum(1)
    for count in np.quantile(above, [0.5, 0.9, 0.99]).astype(int).tolist():
        chance = exceedance_tail(count, later, known, rank)
        seen = Share.of(above >= count)
        assert abs(seen.share - chance) <= 4 * math.sqrt(chance * (1 - chance) / 4000)


@pytest.mark.parametrize(("above", "later", "known", "rank"), [(-1, 5, 5, 1), (6, 5, 5, 1), (1, 5, 5, 0), (1, 5, 5, 6)])
def test_what_cannot_be_is_refused(above: int, later: int, known: int, rank: int) -> None:
    with pytest.raises(ValueError, match="are allowed"):
        exceedance_tail(above, later, known, rank)


@given(scores, scores, st.integers(0, 500))
def test_the_most_telling_cut_says_what_each_says_at_most(known: list[float], found: list[float], more: int) -> None:
    later = len(found) + more
    told = most_telling(known, found, later)
    ranks = [rank for rank in RANKS if rank <= len(known)]
    assert told.rank in ranks and told.cut == sorted(known, reverse=True)[told.rank - 1]
    assert told.above == sum(one > told.cut for one in found)
    assert told.chance <= min(1.0, len(ranks) * exceedance_tail(told.above, later, len(known), told.rank))


@given(scores, scores, st.integers(0, 500), st.data())
def test_fewer_found_or_more_inspected_say_less(
    known: list[float], found: list[float], more: int, data: st.DataObject
) -> None:
    later, kept = len(found) + more, data.draw(st.lists(st.sampled_from(found), max_size=len(found), unique=True))
    chance = most_telling(known, found, later).chance
    assert most_telling(known, kept, later).chance >= chance - 1e-12
    assert most_telling(known, found, later + 50).chance >= chance - 1e-12


def test_one_outlier_among_the_known_hides_nothing() -> None:
    known = [*np.linspace(0, 1, 83).tolist(), 99.0]
    told = most_telling(known, [2.0] * 18, 18)
    assert (told.rank, told.above) == (2, 18) and told.chance < 1e-12


def test_scores_that_are_not_numbers_speak_for_the_found_ones() -> None:
    assert most_telling([0.0, 1.0, math.nan], [2.0, math.nan], 2).above <= 1
    assert most_telling([math.nan], [2.0], 1).chance == 1.0
    with pytest.raises(ValueError, match="no known scores"):
        most_telling([], [1.0], 1)
    with pytest.raises(ValueError, match="are allowed"):
        most_telling([1.0], [2.0, 3.0], 1)
