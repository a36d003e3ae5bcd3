"""Run rules: where published examples find them broken, and the exact boundary of each.

Rules 1, 2, 5 and 6 are found where SAS and Minitab find them in measured data, rule 3 where SAS does. Of rules 4, 7 and
8 no measured example with its data was found: they are held to the examples that another program's documentation made
up, and to the boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import fmean, stdev

import pytest

from dashboard import spc
from dashboard.spc import D2, broken_by, laney

# SAS/QC User's Guide, The SHEWHART Procedure, "Applying Tests for Special Causes": circuits that fail, of 500
# a batch (PCHART statement, data set Circuit3), and means of gap widths (XCHART statement, data set Parts).
CIRCUITS = [12, 21, 16, 9, 3, 4, 6, 9, 11, 13, 12, 7, 2, 14, 9, 8, 14, 10, 11, 9]
GAPS = [
    270, 258, 248, 260, 273, 260, 259, 248, 260, 255, 268, 253, 273, 275, 257, 269, 249, 264, 258, 248, 248,
]  # fmt: skip
# Batches of limestone in pounds: Wheeler and Chambers, Understanding Statistical Process Control, p. 215; they are also
# the column Weight of Minitab's worksheet EXH_QC.
LIMESTONE = [
    905, 930, 865, 895, 905, 885, 890, 930, 915, 910, 920, 915, 925, 860, 905, 925, 925, 905, 915, 930, 890, 940, 860,
    875, 985, 970, 940, 975, 1000, 1035, 1020, 985, 960, 945, 965, 940, 900, 920, 980, 950, 955, 970, 970, 1035, 1040,
]  # fmt: skip
# Made up for the documentation of NelsonRules.jl, bluesmoon.github.io/NelsonRules.jl: centre and deviation are the
# mean and the standard deviation of the series itself.
SAWTOOTH = [1, 2] * 7 + [3] + [1, 2] * 3
CENTRED = [
    13, 81, 96, 40, 24, 66, 24, 34, 27, 72, 32, 73, 74, 22, 59, 39, 69, 62, 60, 2, 52, 51, 48, 25, 40, 60, 23, 109, -15,
    57,
]  # fmt: skip
PEAK = [*range(1, 24), *range(22, 0, -1)]


def test_run_rules_are_broken_where_sas_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests 1 to 4 of the p chart: "Test 1 is positive at batch 2 and Test 3 is positive at batch 10"."""
    monkeypatch.setattr(spc, "sigma_z", lambda counts, sizes: 1.0)
    found = laney(CIRCUITS, [500] * len(CIRCUITS), (1, 2, 3, 4))
    assert (found.points[0].lower, found.points[0].upper) == pytest.approx((0.00121703, 0.03878297), abs=5e-9)
    assert {at + 1: point.rules for at, point in enumerate(found.points) if point.rules} == {2: (1,), 10: (3,)}


def test_two_of_three_are_found_where_sas_finds_them() -> None:
    """Tests 1 to 5 of the means chart: centre 259.66667, upper limit 277.24592, "Test 5 was positive at sample 14"."""
    deviations = [3 * (gap - 259.66667) / (277.24592 - 259.66667) for gap in GAPS]
    assert [{at + 1 for at in broken_by(number, deviations)} for number in range(1, 6)] == [*[set()] * 4, {14}]


def test_all_eight_are_broken_where_minitab_finds_them() -> None:
    """The individuals chart of Minitab's "Example of I-MR chart", with all tests; sigma from the mean moving range."""
    spread = fmean(abs(later - earlier) for earlier, later in pairwise(LIMESTONE)) / D2
    assert fmean(LIMESTONE) + 3 * spread == pytest.approx(1010.93, abs=0.005)  # as Wheeler and Chambers have it
    deviations = [(weight - fmean(LIMESTONE)) / spread for weight in LIMESTONE]
    failed = {number: sorted(at + 1 for at in broken_by(number, deviations)) for number in spc.RULES}
    assert {number: found for number, found in failed.items() if found} == {
        1: [14, 23, 30, 31, 44, 45],
        2: [*range(9, 22), *range(33, 37)],
        5: [24, 30, 31, 45],
        6: [5, 6, 7, 29, 30, 31, 32, 45],
    }


@pytest.mark.parametrize(
    ("number", "series", "first", "length"),
    [(4, SAWTOOTH, [1], 14), (7, CENTRED, [4, 5], 15), (8, PEAK, [19, 20], 8)],
)
def test_rare_ones_are_broken_where_nelsonrules_finds_them(
    number: int, series: Sequence[float], first: list[int], length: int
) -> None:
    deviations = [(one - fmean(series)) / stdev(series) for one in series]
    assert broken_by(number, deviations) == {at - 1 + length - 1 for at in first}


# Of each rule the shortest run that breaks it, and what is one short of it by number, by place or by a tie.
UP, AGAIN = [1, 2, 3, 4, 5, 6], [0.0, 1.0] * 7


@pytest.mark.parametrize(
    ("number", "breaks", "keeps"),
    [
        (1, [3.001], [[3.0], [-3.0]]),
        (2, [0.001] * 9, [[0.001] * 8, [0.001] * 8 + [0.0], [0.001] * 4 + [0.0] + [0.001] * 4, [0.001] * 8 + [-0.001]]),
        (3, UP, [UP[1:], [1, 2, 3, 3, 4, 5], [1, 2, 3, 4, 6, 5]]),
        (4, AGAIN, [AGAIN[1:], [*AGAIN[:-1], 0.0], [*AGAIN[:-1], -1.0], [0.0, *AGAIN[:-1]]]),
        (5, [2.001, 0, 2.001], [[2.0, 0, 2.001], [2.001, 0, 2.0], [2.001, 0, 0, 2.001], [2.001, 0, -2.001]]),
        (6, [1.001, 1.001, 0, 1.001, 1.001], [
            [1.001, 1.001, 0, 1.0, 1.001], [1.001, 0, 0, 1.001, 1.001], [1.001, 1.001, 0, 0, 1.001, 1.001],
            [1.001, 1.001, 0, 1.001, -1.001],
        ]),
        (7, [0.999, -0.999, 0] * 5, [([0.999, -0.999, 0] * 5)[1:], [0.999] * 14 + [1.0], [-1.0] + [0.999] * 14]),
        (8, [1.001, -1.001] * 4, [([1.001, -1.001] * 4)[1:], [1.001] * 7 + [1.0], [1.001] * 3 + [0] + [1.001] * 4]),
    ],
)  # fmt: skip
def test_what_is_one_short_of_a_rule_keeps_it(number: int, breaks: list[float], keeps: list[list[float]]) -> None:
    """Constructed: no published example lies on a boundary. A point on the line of a zone is beyond it in no rule."""
    assert broken_by(number, breaks) == {len(breaks) - 1}
    assert broken_by(number, [-one for one in breaks]) == {len(breaks) - 1}
    for run in keeps:
        assert broken_by(number, run) == broken_by(number, [-one for one in run]) == set()


@pytest.mark.parametrize(
    ("number", "deviations", "expected"),
    [
        (1, [0, 3.1, -3.1, 3.0], {1, 2}),
        (2, [0.1] * 8 + [-0.1], set()),
        (2, [0.1] * 10, {8, 9}),
        (2, [-0.1] * 9, {8}),
        (3, [1, 2, 3, 4, 5, 6], {5}),
        (3, [1, 2, 3, 3, 4, 5], set()),
        (3, [0, 6, 5, 4, 3, 2, 1], {6}),
        (4, [(-1) ** at for at in range(15)], {13, 14}),
        (4, [0.0] * 14, set()),
        (5, [2.1, 0, 2.1], {2}),
        (5, [2.1, 0, -2.1], set()),
        (5, [2.1, 2.1, 0], {1}),  # nothing is told of a point that lies within
        (6, [-1.1, -1.1, 0, -1.1, -1.1], {4}),
        (7, [0.9, -0.9] * 8, {14, 15}),
        (8, [1.1, -1.1] * 4, {7}),
    ],
)
def test_a_rule_is_broken_where_its_run_ends(number: int, deviations: list[float], expected: set[int]) -> None:
    assert broken_by(number, deviations) == expected


def test_enough_of_a_run_are_told_as_soon_as_they_are_there() -> None:
    assert broken_by(5, [2.1, 2.1]) == {1}
    assert broken_by(6, [1.1] * 4) == {3}
