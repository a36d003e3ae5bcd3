"""Order statistics and certificates: the numbers of the method, exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from model.certificate import Certificate, CertificateError, certify
from model.parts import Scored, by_part
from model.statistics import best_rate, certifiable_k, clopper_pearson, keyed_fraction, look_delta, smallest_n

finite = st.floats(-1e6, 1e6)
rates = st.floats(0.02, 0.3)


def made(
    scores: Sequence[float] | Sequence[Scored], review: float = 0.05, reject: float = 0.01, look: int = 1
) -> Certificate:
    return certify(
        scores, artifact_sha256="a", calibration_sha256="c", fingerprint="f", review_rate=review, reject_rate=reject,
        confidence=0.95, look=look,
    )  # fmt: skip


@pytest.mark.parametrize(("rate", "one", "two"), [(0.05, 59, 82), (0.01, 299, 417), (0.001, 2995, 4185)])
def test_smallest_n_for_one_threshold_and_for_a_first_certificate(rate: float, one: int, two: int) -> None:
    assert smallest_n(rate, 0.05) == one
    assert smallest_n(rate, look_delta(0.05, 1) / 2) == two


@given(st.integers(1, 3000), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
def test_k_is_the_largest_that_is_certified(n: int, rate: float, delta: float) -> None:
    k = certifiable_k(n, rate, delta)
    assert k == 0 or stats.beta.cdf(rate, k, n + 1 - k) >= 1 - delta - 1e-12
    assert k == n or stats.beta.cdf(rate, k + 1, n - k) < 1 - delta + 1e-12


@given(st.integers(1, 500), st.floats(0.001, 0.5))
def test_the_best_rate_is_certified_and_hardly_less_is_not(n: int, delta: float) -> None:
    rate = best_rate(n, delta)
    assert certifiable_k(n, rate, delta) >= 1
    assert certifiable_k(n, rate * 0.999, delta) == 0


def test_all_looks_together_spend_the_error_once() -> None:
    assert sum(look_delta(0.05, j) for j in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)


@pytest.mark.parametrize("k", [0, 1, 5, 20])
def test_clopper_pearson_is_the_binomial_tails(k: int) -> None:
    low, high = clopper_pearson(k, 20)
    assert low == 0 if k == 0 else stats.binom.sf(k - 1, 20, low) == pytest.approx(0.025)
    assert high == 1 if k == 20 else stats.binom.cdf(k, 20, high) == pytest.approx(0.025)


def test_keyed_draws_depend_on_secret_person_and_key_and_are_uniform() -> None:
    secret = b"s" * 32
    draws = [keyed_fraction(secret, "audit", f"part {n}") for n in range(4000)]
    assert stats.kstest(draws, "uniform").pvalue > 0.001
    assert all(0 <= draw < 1 for draw in draws)
    others = [keyed_fraction(secret, "role", "x"), keyed_fraction(b"t" * 32, "audit", "x"), draws[0]]
    assert len({keyed_fraction(secret, "audit", "x"), *others}) == 4


@pytest.mark.parametrize(("n", "rate"), [(82, 0.05), (200, 0.05), (500, 0.01)])
def test_coverage_is_at_least_the_exact_one_less_four_standard_errors(n: int, rate: float) -> None:
    delta, runs = 0.05, 2000
    k = certifiable_k(n, rate, delta)
    rng = np.random.default_rng(n)
    threshold = np.sort(rng.random((runs, n)), axis=1)[:, -k]
    covered = float((1 - threshold <= rate).mean())  # scores are uniform, so the flag rate is known exactly
    exact = stats.beta.cdf(rate, k, n + 1 - k)
    assert exact >= 1 - delta
    assert covered >= exact - 4 * math.sqrt(exact * (1 - exact) / runs)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]) | finite, min_size=10, max_size=200), finite, rates, rates)
def test_flagged_exactly_where_p_is_at_most_k_of_n_plus_one(
    scores: list[float], score: float, rate: float, reject: float
) -> None:
    certificate = made(scores, review=rate, reject=reject)
    flagged = certificate.verdict(score) != "pass"
    assert flagged == (
        not certificate.certified or certificate.p_value(score) <= certificate.review_k / (certificate.n + 1)
    )


def test_a_score_equal_to_the_threshold_passes() -> None:
    certificate = made([1.0] * 100)
    assert certificate.verdict(1.0) == "pass"
    assert certificate.verdict(math.nextafter(1.0, 2)) == "review"
    assert certificate.severity(1.0) == 0


def test_reject_is_off_until_its_rate_is_certifiable() -> None:
    scores = np.linspace(0, 1, 416).tolist()
    assert made(scores).reject_threshold is None
    assert made(scores).verdict(99.0) == "review"
    assert made([*scores, 2.0]).verdict(99.0) == "reject"
    assert "reject is off" in made(scores).describe()


@pytest.mark.parametrize(("n", "review"), [(1000, 0.005), (3000, 0.002), (60, 0.001)])
def test_no_more_is_rejected_than_is_flagged_whatever_was_asked_for(n: int, review: float) -> None:
    certificate = made(np.random.default_rng(n).normal(size=n).tolist(), review=review, reject=0.01)
    assert certificate.review_threshold is not None and certificate.reject_rate == review
    assert certificate.reject_k <= certificate.review_k
    assert certificate.reject_threshold is None or certificate.reject_threshold >= certificate.review_threshold
    assert "at most 1.00%" not in certificate.describe()


def test_too_few_for_the_rate_use_the_best_one_and_say_so() -> None:
    certificate = made(np.linspace(0, 1, 40).tolist())
    assert certificate.review_k == 1
    assert 0.05 < certificate.certified_review_rate < 0.5
    assert "would need 82" in certificate.describe()


def test_far_too_few_certify_nothing_and_everything_is_reviewed() -> None:
    certificate = made([0.0, 1.0, 2.0])
    assert not certificate.certified
    assert certificate.verdict(-5.0) == "review"
    assert certificate.severity(1.0) is None


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [1.0, math.inf]])
def test_scores_that_cannot_calibrate_are_refused(scores: list[float]) -> None:
    with pytest.raises(CertificateError):
        made(scores)


@pytest.mark.parametrize(
    ("name", "value"),
    [("review_rate", 0.0), ("reject_rate", 0.0), ("confidence", 1.0), ("confidence", math.nan), ("look", 0)],
)
def test_what_no_certificate_can_hold_is_named(name: str, value: float) -> None:
    wanted: dict[str, Any] = {"review_rate": 0.05, "reject_rate": 0.01, "confidence": 0.95, name: value}
    with pytest.raises(ValueError, match=f"^{name} "):
        certify([1.0] * 100, artifact_sha256="", calibration_sha256="", fingerprint="", **wanted)


def test_scores_may_be_an_array() -> None:
    scores = np.random.default_rng(0).normal(size=100)
    array: Any = scores
    assert made(array) == made(scores.tolist())


def test_a_score_that_is_not_finite_has_no_verdict() -> None:
    with pytest.raises(CertificateError):
        made([1.0] * 100).verdict(math.nan)


def test_each_later_look_is_stricter() -> None:
    scores = np.linspace(0, 1, 300).tolist()
    thresholds = [made(scores, look=look).review_threshold or 0 for look in (1, 2, 5, 20)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_a_certificate_survives_json() -> None:
    certificate = made(np.linspace(-1, 1, 120).tolist())
    assert Certificate.from_dict(certificate.to_dict()) == certificate
    with pytest.raises(CertificateError):
        Certificate.from_dict({"n": 3, "scores": []})


def test_a_part_counts_once_with_its_largest_score() -> None:
    frames = [Scored(1.0, "a"), Scored(3.0, "b"), Scored(2.0, "a"), Scored(0.5, "b")]
    parts, unit = by_part(frames)
    assert unit == "part" and [part.score for part in parts] == [2.0, 3.0]
    assert made(frames * 50).n == 2
    two = [Scored(1.0, "a", "left"), Scored(3.0, "a", "right")]
    assert len(by_part(two)[0]) == 2  # a part at each station is a unit of its own
    assert by_part([*frames, Scored(1.0)])[1] == "frame"
    assert made([*frames, Scored(1.0)]).unit == "frame"
    with pytest.raises(CertificateError, match="1 of 1"):
        made([Scored(math.nan, "a"), Scored(1.0, "a")])


def test_any_flag_on_a_good_part_is_bounded_even_with_many_frames_a_part() -> None:
    rng = np.random.default_rng(5)
    flags = []
    for _ in range(300):
        offsets = rng.normal(size=90)
        frames = [Scored(float(o + rng.normal()), str(at)) for at, o in enumerate(offsets) for _ in range(4)]
        threshold = made(frames).review_threshold
        assert threshold is not None
        fresh = rng.normal(size=400)[:, None] + rng.normal(size=(400, 4))
        flags.append(float((fresh.max(1) > threshold).mean()))
    exact = 1 - 0.05 * 6 / math.pi**2 / 2
    # Each simulated rate is itself a mean of 400 parts, so a rate is called kept where it is not significantly above.
    kept = float(np.mean([rate <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400) for rate in flags]))
    assert kept >= exact - 4 * math.sqrt(exact * (1 - exact) / 300)


def test_stations_and_lots_are_told() -> None:
    parts = [Scored(float(n), str(n), "left" if n % 2 else "right", f"lot {n % 3}") for n in range(200)]
    certificate = made(parts)
    left, right = certificate.stations
    assert (left.station, left.n + right.n) == ("left", 200)
    assert left.flagged + right.flagged == certificate.review_k - 1
    assert left.low <= left.flagged / left.n <= left.high
    text = certificate.describe()
    assert "mix of 2 stations" in text and "from 3 lots - few" in text
    assert Certificate.from_dict(certificate.to_dict()) == certificate
    assert made([Scored(1.0, str(n), "left", None) for n in range(90)]).stations == ()
