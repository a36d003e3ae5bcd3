"""Memory stays under its stated bound, whatever the lag."""

from __future__ import annotations

from pathlib import Path

from bench.memory import measure
from tests.apache_kafka import ApacheKafka
from tests.databases import database


def test_a_long_lag_costs_no_more_memory_than_docs_stream_says(apache: ApacheKafka, tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        peaks = measure(apache.bootstrap, tmp_path, engine, lag=3000, kilobytes=20, least=600)
    assert peaks.added <= peaks.bound, peaks
