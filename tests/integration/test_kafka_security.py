"""TLS, passwords and ACLs on Apache Kafka: what is right works, and each thing that is wrong is told apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
)

from agent.cli import checks
from agent.demo.broker import create_topics
from agent.settings import Kafka, Settings
from agent.sources import broker
from agent.sources.base import Assigned, Decision, SourceError, SourceUnreachableError
from agent.sources.broker import BrokerRefusedError, LoginFailedError
from agent.sources.kafka import KafkaSource
from agent.sources.kafka_decisions import KafkaDecisions
from tests.apache_kafka import UNPROVEN, ApacheKafka, Secure, apache_kafka, is_here
from tests.parts import missing
from tests.streams import until

FRAMES, DECISIONS, GROUP = "frames", "decisions", "goodpart.test"
PASSWORDS = {name: f"{name}-pass" for name in ("admin", "agent", "reader", "looker", "loner")}


@dataclass(frozen=True)
class Plant:
    """A secured broker with both topics.

    `agent` has its rights; `reader` may read frames, `looker` only see topics, and `loner` all but join the group.
    """

    broker: ApacheKafka
    folder: Path

    def kafka(self, user: str = "agent", **changes: Any) -> Kafka:
        given: dict[str, Any] = {
            "bootstrap": self.broker.bootstrap, "security": "SASL_SSL", "user": user, "password": PASSWORDS[user],
            "ca_file": str(self.folder / "ca.pem"), "frames_topic": FRAMES, "decisions_topic": DECISIONS,
            "session_timeout_s": 2, "heartbeat_s": 0.2, "group_id": GROUP,
        }  # fmt: skip
        return Kafka(**(given | changes))


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    if not is_here():
        missing(UNPROVEN)
    folder = tmp_path_factory.mktemp("secure")
    for name in ("ca", "other-ca"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{name}.pem")
        if name == "ca":
            (folder / "broker.pem").write_bytes(_keystore(authority.issue_cert("127.0.0.1")))
    with apache_kafka(Secure(folder / "broker.pem", folder / "ca.pem", PASSWORDS)) as started:
        made = Plant(started, folder)
        create_topics(made.kafka("admin"), {FRAMES: 1, DECISIONS: 1})
        admin: Any = broker.connect(KafkaAdminClient, made.kafka("admin"))
        seen = [_acl(user, ACLOperation.DESCRIBE, ResourceType.TOPIC, topic)
                for user in ("reader", "looker") for topic in (FRAMES, DECISIONS)]  # fmt: skip
        used = [one for user in ("agent", "loner")
                for one in (*_acls(user, FRAMES, "READ"), *_acls(user, DECISIONS, "WRITE"))]  # fmt: skip
        admin.create_acls([*used, _group("agent"), *_acls("reader", FRAMES, "READ"), *seen])
        admin.close()
        yield made


def _keystore(issued: trustme.LeafCert) -> bytes:
    """Java reads a private key in PKCS #8 only."""
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pkcs8 + b"".join(one.bytes() for one in issued.cert_chain_pems)


def _acls(user: str, topic: str, right: str) -> list[Any]:
    return [_acl(user, ACLOperation[one], ResourceType.TOPIC, topic) for one in (right, "DESCRIBE")]


def _group(user: str) -> Any:
    return _acl(user, ACLOperation.READ, ResourceType.GROUP, GROUP)


def _acl(user: str, operation: Any, kind: Any, name: str) -> Any:
    return ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))


def test_an_agent_with_its_rights_reads_and_decides(plant: Plant) -> None:
    producer: Any = broker.connect(KafkaProducer, plant.kafka("admin"))
    producer.send(FRAMES, b"frame").get(10)
    producer.close()
    source = KafkaSource(plant.kafka(), group_id=GROUP)
    source.open()
    try:
        events: list[Any] = []

        def assigned() -> bool:
            source.poll(0.05, 10)
            events.extend(source.events())
            return bool(events)

        until(assigned)
        assert events == [Assigned(frozenset({0}))]
        assert source.bounds([0])[0].end == 1
    finally:
        source.close()
    sink = KafkaDecisions(plant.kafka())
    sink.publish([Decision("s1", (), b"{}")])
    sink.close()
    assert checks.broker(Settings(kafka=plant.kafka())).ok


WRONG: dict[str, tuple[Callable[[Plant], Kafka], type[SourceError], str]] = {
    "password": (lambda plant: plant.kafka(password="guess"), LoginFailedError, r"user 'agent' in with this pass"),
    "mechanism": (lambda plant: plant.kafka(mechanism="SCRAM-SHA-256"), LoginFailedError, r"by SCRAM-SHA-256"),
    "no user": (lambda plant: plant.kafka(security="SSL"), LoginFailedError, r"wants a user and a password"),
    "authority": (
        lambda plant: plant.kafka(ca_file=str(plant.folder / "other-ca.pem")), SourceError, r"no TLS with .*ca_file",
    ),
    "file": (lambda plant: plant.kafka(ca_file="/nowhere.pem"), SourceError, r"kafka\.ca_file.*PEM"),
    "protocol": (lambda plant: plant.kafka(security="PLAINTEXT"), SourceUnreachableError, r"kafka\.security"),
}  # fmt: skip


@pytest.mark.parametrize("what", list(WRONG))
def test_what_is_wrong_is_said(plant: Plant, what: str) -> None:
    wrong, kind, said = WRONG[what]
    with pytest.raises(kind, match=said) as caught:
        broker.connect(KafkaConsumer, wrong(plant), bootstrap_s=1.5)
    assert "guess" not in str(caught.value)
    assert "-pass" not in str(caught.value)
    assert issubclass(kind, SourceUnreachableError) == isinstance(caught.value, SourceUnreachableError)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("password", "mend kafka.user, kafka.mechanism or GOODPART_KAFKA__PASSWORD"),
        ("authority", "no TLS with"),
        ("file", "PEM files are needed"),
    ],
)
def test_the_doctor_says_which_password_or_certificate_is_wrong(plant: Plant, what: str, said: str) -> None:
    found = checks.broker(Settings(kafka=WRONG[what][0](plant)))
    assert not found.ok
    assert said in found.found


def test_a_missing_right_to_the_group_is_said(plant: Plant) -> None:
    source = KafkaSource(plant.kafka("reader"), group_id=GROUP)
    source.open()
    try:
        with pytest.raises(BrokerRefusedError, match=r"user 'reader' lacks a right .*Group"):
            until(lambda: source.poll(0.05, 10) is None)
    finally:
        source.close()


@pytest.mark.parametrize(
    ("user", "said"),
    [("reader", "WRITE topic decisions"), ("looker", "READ topic frames"), ("loner", f"READ group {GROUP}")],
)
def test_the_doctor_says_which_right_is_missing(plant: Plant, user: str, said: str) -> None:
    found = checks.broker(Settings(kafka=plant.kafka(user)))
    assert not found.ok
    assert f"does not let user {user!r} {said}" in found.found
    assert said.split()[0] in found.fix


def test_decisions_without_the_right_to_write_wait_as_in_an_outage(plant: Plant) -> None:
    sink = KafkaDecisions(plant.kafka("reader"))
    with pytest.raises(SourceError, match="TopicAuthorizationFailed"):
        sink.publish([Decision("s1", (), b"{}")])
    sink.close()


def test_plaintext_beyond_this_host_must_be_allowed() -> None:
    with pytest.raises(SourceError, match=r"kafka\.allow_plaintext = true"):
        broker.connect(KafkaConsumer, Kafka(bootstrap="192.0.2.1:9092"))
    assert json.loads(Kafka(password="x").model_dump_json())["password"] == "x"  # a child process gets it
    assert "xyzzy" not in repr(Kafka(password="xyzzy"))
