"""What `goodpart doctor` asks the broker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from kafka.admin import ACLOperation, KafkaAdminClient
from kafka.errors import GroupAuthorizationFailedError, KafkaError, TopicAuthorizationFailedError

from agent.cli.finding import Finding
from agent.settings import Kafka
from agent.sources import broker
from agent.sources.base import SourceError


def check(kafka: Kafka, group_id: str | None) -> Finding:
    """The broker takes us for whom we say, and lets us read frames, as a member of the group, and write decisions.

    Args:
        kafka: the section [kafka].
        group_id: the group's name; None where it is not known: then its right is not asked for.
    """
    wanted = {kafka.frames_topic: ACLOperation.READ, kafka.decisions_topic: ACLOperation.WRITE}
    try:
        admin: Any = broker.connect(KafkaAdminClient, kafka)
        try:
            topics = {one["name"]: one for one in admin.describe_topics(list(wanted))}
            may_join = group_id is None or _may_join(admin, group_id)
        finally:
            admin.close()
    except SourceError as error:
        return Finding("broker", False, str(error), "as it says")
    except KafkaError as error:
        return Finding("broker", False, f"{kafka.bootstrap} does not describe its topics ({error})", "try again")
    for topic, right in wanted.items():
        code = topics[topic]["error_code"]
        if code == TopicAuthorizationFailedError.errno or (code == 0 and not _has(topics[topic], right)):
            return _refused(kafka, right, f"topic {topic}")
        if code != 0:
            return Finding("broker", False, f"{kafka.bootstrap} answers, without {topic}", f"create the topic {topic}")
    if not may_join:
        return _refused(kafka, ACLOperation.READ, f"group {group_id}")
    said = f"{kafka.bootstrap} has {' and '.join(wanted)} ({kafka.security})"
    if not UUID(str(topics[kafka.frames_topic].get("topic_id") or UUID(int=0))).int:
        return Finding(
            "broker", False, f"{said}, and gives topics no ids: a topic made anew is not told from the old one",
            "use a broker of Kafka 2.8 or newer", needed=False,
        )  # fmt: skip
    return Finding("broker", True, said)


def _may_join(admin: Any, group_id: str) -> bool:
    """Whether we have the right to; where there is no such group yet, some brokers tell only whether we may see it."""
    try:
        group = admin.describe_groups([group_id])[group_id]
    except GroupAuthorizationFailedError:
        return False
    except (KafkaError, ValueError):  # it names no coordinator yet, or answers what kafka-python 3.0.12 cannot read
        return True
    if group["error"]:
        return GroupAuthorizationFailedError.__name__ not in group["error"]
    return _has(group, ACLOperation.READ)


def _has(described: Mapping[str, Any], right: ACLOperation) -> bool:
    rights = described.get("authorized_operations")  # None: it does not tell
    return rights is None or bool({right.name, ACLOperation.ALL.name} & set(rights))


def _refused(kafka: Kafka, right: ACLOperation, what: str) -> Finding:
    return Finding(
        "broker", False, f"{kafka.bootstrap} does not let user {kafka.user!r} {right.name} {what}",
        f"add an ACL that allows {right.name} and DESCRIBE on it",
    )  # fmt: skip
