"""Apache Kafka itself (KRaft, one node) on 127.0.0.1 for tests. Its jars: .ci/kafka/fetch."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.demo.server import HOST, Server, free_port

JARS = Path(__file__).parents[1] / ".kafka" / "libs"
CLUSTER = "Z29vZHBhcnQtdGVzdHMtMQ"
UNPROVEN = (
    "Apache Kafka is not here (it needs java and mvn, then .ci/kafka/fetch): broker restarts with data kept, "
    "truncation, recreated topics, transaction markers, TLS, passwords and ACLs stay unproven"
)


@dataclass(frozen=True, slots=True)
class Secure:
    """SASL_SSL with SCRAM-SHA-512 and ACLs.

    Attributes:
        keystore: PEM file with the broker's key and certificate.
        truststore: PEM file with the authority's certificate.
        users: passwords by name; `admin` may do everything, the others what ACLs say.
    """

    keystore: Path
    truststore: Path
    users: Mapping[str, str]


def is_here() -> bool:
    """Whether it can be started."""
    return shutil.which("java") is not None and JARS.is_dir()


class ApacheKafka(Server):
    """One broker whose data outlives `stop` and `start`.

    Args:
        folder: empty; its data and log.
        secure: None for plaintext.
        settings: of server.properties, beside ours.
    """

    ANSWER_S = 60.0

    def __init__(self, folder: Path, secure: Secure | None = None, settings: Mapping[str, str] | None = None):
        super().__init__("apache-kafka", self._run, folder=folder)
        self._folder, self._secure = folder, secure
        self._settings = {**self._plain(), **(self._security(secure) if secure else {}), **(settings or {})}
        self._file = folder / "server.properties"
        self._file.write_text("".join(f"{name}={value}\n" for name, value in self._settings.items()))
        self._format()

    @property
    def bootstrap(self) -> str:
        """HOST:PORT for clients."""
        return self.address

    @property
    def data(self) -> Path:
        """The folder of its logs, to be copied or changed while it is stopped."""
        return self._folder / "data"

    def _plain(self) -> dict[str, str]:
        controller = free_port()
        kind = "SASL_SSL" if self._secure else "PLAINTEXT"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listeners": f"CLIENT://{self.address},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"CLIENT://{self.address}",
            "listener.security.protocol.map": f"CLIENT:{kind},CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": str(self.data),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "500",
            "message.max.bytes": str(64 << 20),
            "log.retention.check.interval.ms": "500",
            "log.segment.delete.delay.ms": "100",
        }

    def _security(self, secure: Secure) -> dict[str, str]:
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
        admin = f'{login} username="admin" password="{secure.users["admin"]}";'
        return {
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": admin,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(secure.keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(secure.truststore),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:admin;User:ANONYMOUS",  # the controller's own plaintext listener
        }

    def _format(self) -> None:
        users = self._secure.users if self._secure else {}
        scram = [
            part
            for name, password in users.items()
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={json.dumps(password)}]")
        ]
        command = self._java("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._file), *scram)
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder)

    def _run(self, port: int) -> Sequence[str]:
        return self._java("kafka.Kafka", str(self._file))

    @staticmethod
    def _java(program: str, *arguments: str) -> list[str]:
        java = shutil.which("java")
        assert java is not None
        quick = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # starts in half the time
        return [java, *quick, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/*", program, *arguments]


@contextmanager
def apache_kafka(secure: Secure | None = None, settings: Mapping[str, str] | None = None) -> Iterator[ApacheKafka]:
    """A running broker, gone afterwards with all that it holds."""
    with (
        TemporaryDirectory(prefix="goodpart-kafka-", ignore_cleanup_errors=True) as folder,
        ApacheKafka(Path(folder), secure, settings) as broker,
    ):
        yield broker
