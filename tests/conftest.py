"""Servers that tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog
from argon2 import PasswordHasher
from sqlalchemy import Engine

from agent.service import passwords
from dashboard import catalogues, words
from tests import apache_kafka, databases, postgresql
from tests import s3 as s3_api
from tests.parts import WHOLE, missing
from tests.ui import pseudo

# What is searched at random is searched on developers' machines: here, what fails is what the change broke.
hypothesis.settings.register_profile("ci", derandomize=True, database=None)
if os.environ.get(WHOLE):
    hypothesis.settings.load_profile("ci")

# A line for each frame of each test would be most of what pytest has to keep.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("info"))


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that a test runs in this process sets its own logging up, and the next test would hear less."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture(scope="session", autouse=True)
def no_state_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What cameras buffer is the test run's own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Pages speak the language that nobody speaks: what its catalogue has stands in brackets (`tests.ui.pseudo`)."""
    folder = tmp_path_factory.mktemp("words")
    pseudo.write(folder)
    words.use(catalogues.load(pseudo.LANGUAGE, str(folder)))
    yield
    words.use(catalogues.load("", ""))


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords whose hashes cost nothing: a tenth of a second each is what keeps guessers out, and not tested here."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.PostgreSQL]:
    with postgresql.postgresql() as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def each_database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs a module's tests once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield
        return
    with databases.on(request.getfixturevalue("postgresql_server")):
        yield


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A migrated database without rows."""
    with databases.database(tmp_path) as opened:
        yield opened


@pytest.fixture
def here(tmp_path: Path) -> Iterator[databases.Line]:
    """A migrated database with a station, its product and people."""
    with databases.line(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def apache() -> Iterator[apache_kafka.ApacheKafka]:
    """Apache Kafka, plaintext. Tests that stop it start it again."""
    if not apache_kafka.is_here():
        missing(apache_kafka.UNPROVEN)
    with apache_kafka.apache_kafka() as broker:
        yield broker


@pytest.fixture(scope="module")
def s3() -> Iterator[s3_api.S3Server]:
    """An S3 API."""
    with s3_api.s3_server() as server:
        yield server


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Learners of a tenth of their width, which train in a third of the time."""
    from tests.narrow import narrow  # loads torch

    with narrow():
        yield
