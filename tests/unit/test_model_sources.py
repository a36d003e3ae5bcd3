"""What the statistics rest on is said where they are."""

from __future__ import annotations

import inspect

import pytest

from model import statistics
from model.statistics import AuditSample, Drift, Rate, betting

SAID = {
    name: one
    for module in (statistics, betting)
    for name, one in vars(module).items()
    if inspect.isfunction(one) and not name.startswith("_")
} | {one.__name__: one for one in (AuditSample, Drift, Rate)}
SHAPES = {"log_reserve"}  # a choice of ours


@pytest.mark.parametrize("name", sorted(SAID.keys() - SHAPES))
def test_a_statistic_names_its_source(name: str) -> None:
    assert "Source: " in (inspect.getdoc(SAID[name]) or "")
