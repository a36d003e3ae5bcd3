"""The catalogue of metrics and its page."""

from __future__ import annotations

import re
from pathlib import Path

from agent.metrics import Metrics
from tests.metrics_table import text

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_lists_every_metric_with_its_type_labels_and_meaning() -> None:
    assert PAGE.read_text() == text(), "run: .venv/bin/python -m tests.metrics_table > docs/metrics.md"


def test_the_page_names_metrics_as_they_are_served() -> None:
    served = re.findall(r"^# TYPE (goodpart_\S+) (\w+)$", Metrics().text().decode(), re.MULTILINE)
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(pair for pair in served if not pair[0].endswith("_created"))
