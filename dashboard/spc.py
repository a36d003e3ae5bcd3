"""Statistical process control of proportions: Laney's p' chart, the EWMA chart and run rules. Pure.

Assumptions of all limits: the buckets of the window are of one stable process, whose proportion may wander from bucket
to bucket by about as much as its neighbours differ. Sources: Laney, "Improved control charts for attributes", Quality
Engineering 14(4), 2002; Roberts, "Control chart tests based on geometric moving averages", Technometrics 1(3), 1959;
Nelson, "The Shewhart control chart: tests for special causes", Journal of Quality Technology 16(4), 1984.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import copysign, inf, sqrt

from dashboard.words import later

D2 = 1.128  # expected range of two standard normals
WIDTH = 3.0
Deviations = Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket on a chart.

    Attributes:
        value: what is drawn: a proportion, or its moving average.
        n: how many it rests on.
        lower, upper: control limits, within 0 .. 1.
        deviation: from the centre in standard deviations of the chart.
        rules: numbers of the rules it breaks, as in `RULES`.
    """

    value: float
    n: int
    lower: float
    upper: float
    deviation: float
    rules: tuple[int, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Chart:
    """A control chart.

    Attributes:
        centre: the proportion over the buckets of the base.
        sigma_z: how much more the buckets differ than binomial chance alone would have it; 1: not at all.
        points: one a bucket, in order.
    """

    centre: float
    sigma_z: float
    points: tuple[Point, ...]


def _centre(counts: Sequence[int], sizes: Sequence[int]) -> float:
    if len(counts) != len(sizes) or not counts:
        raise ValueError("a control chart needs as many counts as sizes, and at least one")
    if any(not 0 <= count <= size or size == 0 for count, size in zip(counts, sizes, strict=True)):
        raise ValueError("a count lies between 0 and its bucket's size, and no bucket is empty")
    return sum(counts) / sum(sizes)


def _binomial(centre: float, sizes: Sequence[int]) -> list[float]:
    return [sqrt(centre * (1 - centre) / size) for size in sizes]


def sigma_z(counts: Sequence[int], sizes: Sequence[int]) -> float:
    """Laney's between-bucket factor: the mean moving range of the z-scores over 1.128.

    1 with fewer than three buckets, where nothing or everything was counted, and where all have the same z-score:
    nothing tells it there.
    """
    centre = _centre(counts, sizes)
    if len(counts) < 3 or centre in (0, 1):
        return 1.0
    scores = [
        (count / size - centre) / deviation
        for count, size, deviation in zip(counts, sizes, _binomial(centre, sizes), strict=True)
    ]
    ranges = [abs(later - earlier) for earlier, later in pairwise(scores)]
    return sum(ranges) / len(ranges) / D2 or 1.0


def laney(
    counts: Sequence[int], sizes: Sequence[int], rules: Sequence[int] = (1,), *, base: int | None = None
) -> Chart:
    """Laney's p' chart: a p chart whose limits are `sigma_z` times as wide.

    Args:
        counts: what was counted in each bucket.
        sizes: of how many, each at least 1.
        rules: numbers of `RULES` to look for.
        base: centre and limits come from the first so many buckets; None: from all.

    Raises:
        ValueError: counts and sizes do not fit each other, or a rule does not exist.
    """
    centre, factor = _centre(counts[:base], sizes[:base]), sigma_z(counts[:base], sizes[:base])
    values = [count / size for count, size in zip(counts, sizes, strict=True)]
    return _chart(centre, factor, values, sizes, [factor * one for one in _binomial(centre, sizes)], WIDTH, rules)


def ewma(
    counts: Sequence[int],
    sizes: Sequence[int],
    weight: float = 0.2,
    width: float = WIDTH,
    *,
    base: int | None = None,
) -> Chart:
    """The EWMA chart of proportions: sensitive to small shifts that last. Only rule 1 means something on it.

    Its deviation is carried along exactly, so that limits are narrower at first and follow the buckets' sizes; with
    equal sizes they are the textbook's.

    Args:
        counts: as `laney`.
        sizes: as `laney`.
        weight: of the newest bucket, over 0 and at most 1.
        width: of the limits, in standard deviations.
        base: as `laney`.

    Raises:
        ValueError: counts and sizes do not fit each other, or the weight is out of range.
    """
    if not 0 < weight <= 1:
        raise ValueError(f"the weight {weight} is not over 0 and at most 1")
    centre, factor = _centre(counts[:base], sizes[:base]), sigma_z(counts[:base], sizes[:base])
    values = [count / size for count, size in zip(counts, sizes, strict=True)]
    averages, deviations = moving(values, [factor * one for one in _binomial(centre, sizes)], centre, weight)
    return _chart(centre, factor, averages, sizes, deviations, width, (1,))


def moving(
    values: Sequence[float], deviations: Sequence[float], start: float, weight: float
) -> tuple[list[float], list[float]]:
    """Exponentially weighted moving averages from `start` on, and the standard deviation of each."""
    averages, spreads = [], []
    average, variance = start, 0.0
    for value, deviation in zip(values, deviations, strict=True):
        average = weight * value + (1 - weight) * average
        variance = (weight * deviation) ** 2 + (1 - weight) ** 2 * variance
        averages.append(average)
        spreads.append(sqrt(variance))
    return averages, spreads


def _chart(
    centre: float,
    factor: float,
    values: Sequence[float],
    sizes: Sequence[int],
    deviations: Sequence[float],
    width: float,
    rules: Sequence[int],
) -> Chart:
    scaled = [_scaled(value - centre, one) for value, one in zip(values, deviations, strict=True)]
    broken = {number: broken_by(number, scaled, width) for number in rules}
    points = tuple(
        Point(
            value, size, max(0.0, centre - width * one), min(1.0, centre + width * one), scaled[at],
            tuple(number for number in rules if at in broken[number]),
        )
        for at, (value, size, one) in enumerate(zip(values, sizes, deviations, strict=True))
    )  # fmt: skip
    return Chart(centre, factor, points)


def _scaled(distance: float, deviation: float) -> float:
    """In deviations; infinite where there are none: after a base of zeros any count is beyond the limits."""
    return distance / deviation if deviation else copysign(inf, distance) if distance else 0.0


@dataclass(frozen=True, slots=True)
class Rule:
    """A run rule, broken at a point where `holds` is true of the last `span` deviations.

    Where fewer are there yet, `least` of them suffice (0: none but `span`).
    """

    words: str
    span: int
    holds: Callable[[Deviations], bool]
    least: int = 0


def _one_side(least: int, beyond: float) -> Callable[[Deviations], bool]:
    """At least so many of the run, its last one among them, lie beyond that on one side of the centre."""

    def holds(run: Deviations) -> bool:
        side = 1 if run[-1] > 0 else -1
        return side * run[-1] > beyond and sum(side * one > beyond for one in run) >= least

    return holds


def _steady(run: Deviations) -> bool:
    steps = [later - earlier for earlier, later in pairwise(run)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


def _alternating(run: Deviations) -> bool:
    steps = [later - earlier for earlier, later in pairwise(run)]
    return all(earlier * later < 0 for earlier, later in pairwise(steps))


RULES = {
    1: Rule(later("beyond the control limits"), 1, lambda run: abs(run[-1]) > WIDTH),
    2: Rule(later("nine in a row on one side"), 9, _one_side(9, 0)),
    3: Rule(later("six in a row rising or falling"), 6, _steady),
    4: Rule(later("fourteen in a row up and down in turn"), 14, _alternating),
    5: Rule(later("two of three beyond two deviations on one side"), 3, _one_side(2, 2), 2),
    6: Rule(later("four of five beyond one deviation on one side"), 5, _one_side(4, 1), 4),
    7: Rule(later("fifteen in a row within one deviation"), 15, lambda run: all(abs(one) < 1 for one in run)),
    8: Rule(later("eight in a row beyond one deviation"), 8, lambda run: all(abs(one) > 1 for one in run)),
}  # Nelson's numbers


def broken_by(number: int, deviations: Deviations, width: float = WIDTH) -> set[int]:
    """Where a rule is broken: positions of the last point of each run. `width` is that of the limits, for rule 1.

    Raises:
        ValueError: there is no such rule.
    """
    if number not in RULES:
        raise ValueError(f"there is no run rule {number}; 1 to {len(RULES)} are")
    if number == 1:
        return {at for at, one in enumerate(deviations) if abs(one) > width}
    rule = RULES[number]
    ends = range(rule.least or rule.span, len(deviations) + 1)
    return {end - 1 for end in ends if rule.holds(deviations[max(0, end - rule.span) : end])}
