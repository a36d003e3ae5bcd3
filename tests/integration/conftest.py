"""Plants with a product to train, and with a first model that is live; each test gets a copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.retrain_parts import Plant, copied, imported, with_first_model


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return imported(tmp_path_factory.mktemp("bare"), tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def trained(bare: Path, narrow: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_first_model(bare, tmp_path_factory.mktemp("trained") / "plant")


@pytest.fixture
def untrained_plant(bare: Path, tmp_path: Path) -> Iterator[Plant]:
    with copied(bare, tmp_path / "plant") as made:
        yield made


@pytest.fixture
def plant(trained: Path, tmp_path: Path) -> Iterator[Plant]:
    with copied(trained, tmp_path / "plant") as made:
        yield made
