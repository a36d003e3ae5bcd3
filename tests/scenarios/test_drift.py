"""Scenario 1 on few parts: every step of it comes, and the certificate that it ends with holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.demo.broker import KafkaBroker
from tests import databases
from tests.scenarios import drift
from tests.scenarios.story import Story


@pytest.mark.timeout(900)  # a minute on two idle cores
def test_a_drifted_product_has_a_model_that_holds_again(tmp_path: Path) -> None:
    with KafkaBroker() as broker:
        drift.play(tmp_path, broker.bootstrap, databases.new_url(tmp_path), seed=1, size=drift.SMALL, story=Story())
