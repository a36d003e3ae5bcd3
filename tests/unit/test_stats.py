"""The numbers on the screen."""

from __future__ import annotations

from agent.pipeline.stats import Meter, p99
from agent.store.offsets import Counts


def test_p99_is_what_99_percent_do_not_exceed() -> None:
    assert p99([]) is None
    assert p99([5.0]) == 5.0
    assert p99([float(n) for n in range(1, 101)]) == 99.0
    assert p99([float(n) for n in range(1, 1001)]) == 990.0


def test_the_rate_is_of_the_last_ten_seconds() -> None:
    now = 100.0
    meter = Meter(monotonic=lambda: now)
    now = 110.0
    meter.add(Counts(50, inspected=50), 3, [10.0] * 50)
    counts, flagged, rate, latency = meter.snapshot()
    assert (counts.received, flagged, rate, latency) == (50, 3, 5.0, 10.0)
    now = 130.0
    assert meter.snapshot()[2] == 0.0
    now = 200.0
    assert meter.snapshot()[3] is None
