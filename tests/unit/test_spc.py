"""Control charts: the worked examples of textbooks, and what must hold of any data."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import spc
from dashboard.spc import ewma, laney, moving, sigma_z

# Montgomery, Introduction to Statistical Quality Control, table 7.1: frozen orange juice cans, 30 samples of 50.
CANS = [
    12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12, 7, 13, 9, 6,
]  # fmt: skip
# The same, table 9.1: twenty observations at mean 10, ten at mean 11, all with deviation 1.
SHIFTED = [
    9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40, 10.08, 9.37, 10.62,
    10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62, 11.31, 10.52,
]  # fmt: skip
# Weekly attendances at the NHS's major accident departments, and those of them seen within four hours: Mohammed et al.,
# BMJ Quality & Safety 22, 2013, doi 10.1136/bmjqs-2012-001373, as `nhs_accidents` of the R package qicharts2 has them.
SEEN = [
    266501, 264225, 276532, 281461, 269071, 261215, 270409, 279778, 270483, 270320, 267923, 271478, 255353, 256820,
    261835, 259144, 255910, 260863, 264465, 260989,
]  # fmt: skip
ATTENDED = [
    280443, 276823, 291681, 296155, 282343, 275888, 283867, 295251, 284468, 282529, 279618, 283932, 266629, 268091,
    276803, 271578, 266005, 273520, 278574, 273772,
]  # fmt: skip
BUCKETS = st.lists(
    st.integers(1, 5000).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))), min_size=1, max_size=40
)


def test_without_overdispersion_the_limits_are_the_p_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spc, "sigma_z", lambda counts, sizes: 1.0)
    found = laney(CANS, [50] * len(CANS))
    assert found.centre == pytest.approx(0.2313, abs=5e-5)
    assert (found.points[0].lower, found.points[0].upper) == pytest.approx((0.0524, 0.4102), abs=1e-4)
    assert [at + 1 for at, point in enumerate(found.points) if point.rules] == [15, 23]


def test_the_moving_average_is_the_textbooks() -> None:
    averages, spreads = moving(SHIFTED, [1.0] * len(SHIFTED), 10, 0.1)
    assert averages[:2] == pytest.approx([9.945, 9.7495])
    assert averages[-1] == pytest.approx(10.6341, abs=1e-3)
    limits = [10 + 2.7 * spread for spread in spreads]
    assert limits[:2] == pytest.approx([10.27, 10.36], abs=0.005)
    assert limits[-1] == pytest.approx(10.62, abs=0.005)
    assert max(averages[:28]) < 10.62 < averages[28]


@pytest.mark.parametrize(
    ("base", "centre", "first", "last"),
    [
        (None, 0.952899711344191, (0.940129644177514, 0.965669778510868), (0.939974996522904, 0.965824426165478)),
        (10, 0.951059643832770, (0.938664691389007, 0.963454596276534), (0.938514586436589, 0.963604701228952)),
    ],
)
def test_laneys_limits_are_those_that_qicharts2_draws(
    base: int | None, centre: float, first: tuple[float, float], last: tuple[float, float]
) -> None:
    """The P' chart of qicharts2 0.8.1, whole and with its limits from the first ten weeks (`freeze = 10`).

    Its output is published to 17 digits by github.com/AUS-DOH-Safety-and-Quality/PowerBI-SPC at d4bb4f6,
    test/fixtures/qicharts2.ts, cases "nhs pp" and "nhs pp freeze 10".
    """
    found = laney(SEEN, ATTENDED, base=base)
    assert found.centre == pytest.approx(centre, rel=1e-12)
    for point, limits in ((found.points[0], first), (found.points[-1], last)):
        assert (point.lower, point.upper) == pytest.approx(limits, rel=1e-12)
    p_chart_width = 3 * (centre * (1 - centre) / ATTENDED[0]) ** 0.5
    assert found.sigma_z == pytest.approx((first[1] - centre) / p_chart_width, rel=1e-12)


def test_sigma_z_is_laneys_moving_range_of_z_scores() -> None:
    # By hand: the centre is .2, a bucket of 100 has deviation .04, and the z-scores are -1, 1, 0: ranges 2 and 1.
    assert sigma_z([16, 24, 20], [100] * 3) == pytest.approx(1.5 / 1.128)
    found = laney([16, 24, 20], [100] * 3)
    assert found.points[0].upper == pytest.approx(0.2 + 3 * 0.04 * 1.5 / 1.128)


def test_binomial_counts_are_not_overdispersed_and_wandering_ones_are() -> None:
    rng = random.Random(7)
    sizes = [rng.randrange(2000, 4000) for _ in range(400)]
    steady = [sum(rng.random() < 0.02 for _ in range(size)) for size in sizes]
    assert sigma_z(steady, sizes) == pytest.approx(1, abs=0.12)
    wandering = [sum(rng.random() < rate for _ in range(size)) for size in sizes for rate in [rng.uniform(0.01, 0.03)]]
    assert sigma_z(wandering, sizes) > 1.7
    alarms = [sum(bool(point.rules) for point in laney(counts, sizes).points) for counts in (steady, wandering)]
    assert max(alarms) < 10


def test_limits_from_the_first_buckets_do_not_move_with_what_came_after() -> None:
    before, after = [20, 24, 16, 22, 18], [80, 90, 85]
    found = laney(before + after, [1000] * 8, base=5)
    assert (found.centre, found.sigma_z) == (0.02, laney(before, [1000] * 5).sigma_z)
    assert [bool(point.rules) for point in found.points] == [False] * 5 + [True] * 3
    assert ewma(before + after, [1000] * 8, base=5).points[-1].rules == (1,)


@given(BUCKETS)
def test_limits_enclose_the_centre_and_narrow_with_the_bucket(buckets: list[tuple[int, int]]) -> None:
    counts, sizes = [count for count, _ in buckets], [size for _, size in buckets]
    for chart in (laney(counts, sizes, tuple(spc.RULES)), ewma(counts, sizes)):
        assert all(0 <= point.lower <= chart.centre <= point.upper <= 1 for point in chart.points)
        assert [point.n for point in chart.points] == sizes
    widths = sorted((size, point.upper) for size, point in zip(sizes, laney(counts, sizes).points, strict=True))
    assert all(larger[1] <= smaller[1] + 1e-12 for smaller, larger in pairwise(widths))


@given(st.lists(st.integers(0, 100), min_size=3, max_size=30), st.floats(0.05, 1))
def test_with_equal_buckets_the_limits_follow_the_closed_form(counts: list[int], weight: float) -> None:
    chart = ewma(counts, [100] * len(counts), weight)
    plain = laney(counts, [100] * len(counts))
    for at, point in enumerate(chart.points, 1):
        spread = (plain.points[0].upper - plain.centre) / 3 if plain.points[0].upper < 1 else None
        if spread and point.upper < 1:
            expected = 3 * spread * (weight / (2 - weight) * (1 - (1 - weight) ** (2 * at))) ** 0.5
            assert point.upper - chart.centre == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("counts", "sizes"), [([], []), ([1], [1, 2]), ([2], [1]), ([0], [0]), ([-1], [5])])
def test_what_is_no_proportion_is_refused(counts: list[int], sizes: list[int]) -> None:
    with pytest.raises(ValueError, match=r"count"):
        laney(counts, sizes)


def test_a_rule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no run rule 9"):
        laney([1], [2], (9,))


@pytest.mark.parametrize("before", [[0] * 5, [1] * 5])
def test_a_jump_after_a_base_without_spread_is_a_signal(before: list[int]) -> None:
    for chart in (laney([*before, 50, 50], [100] * 7, base=5), ewma([*before, 50, 50], [100] * 7, base=5)):
        assert [bool(point.rules) for point in chart.points] == [False] * 5 + [True] * 2


def test_nothing_counted_draws_a_flat_chart() -> None:
    found = laney([0, 0, 0], [10, 20, 30])
    assert found.centre == 0 and found.sigma_z == 1
    assert all((point.lower, point.upper, point.rules) == (0, 0, ()) for point in found.points)
