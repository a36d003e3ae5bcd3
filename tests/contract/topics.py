"""Topics of the contract tests."""

from __future__ import annotations

from uuid import uuid4

from agent.settings import Kafka

PARTITIONS = 2


def settings_of(bootstrap: str) -> Kafka:
    """Topics that nobody else uses, and a short session."""
    name = f"t-{uuid4().hex[:8]}"
    return Kafka(
        bootstrap=bootstrap, frames_topic=name, decisions_topic=f"{name}-out", session_timeout_s=3, heartbeat_s=1
    )
