"""Connections to a Kafka broker: how they are secured, and why one cannot be had."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from kafka.errors import AuthorizationError, KafkaConfigurationError, KafkaError, SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient

from agent.settings import Kafka, is_loopback
from agent.sources import buffers, reach, sockets
from agent.sources.base import SourceError, SourceUnreachableError

T = TypeVar("T")
BOOTSTRAP_S = 5.0


class BrokerRefusedError(SourceError):
    """The broker answers and says that it will not have us: a password or a right is wrong. Retrying does not help."""


class LoginFailedError(SourceUnreachableError):
    """The broker answers what needs no login, and then does not go on: most likely it refuses ours.

    It may also be starting still, and a password may be mended while we wait: retrying may help.
    """


def connect(make: Callable[..., T], kafka: Kafka, *, bootstrap_s: float = BOOTSTRAP_S, **options: Any) -> T:
    """Makes one of kafka-python's clients under the section [kafka].

    Args:
        make: KafkaConsumer, KafkaProducer or KafkaAdminClient.
        kafka: the section.
        bootstrap_s: how long the broker may take to answer.
        options: of that client.

    Raises:
        LoginFailedError: wrong user or password, or none where one is wanted.
        SourceUnreachableError: nobody answers.
        SourceError: the settings cannot be used, or TLS fails.
    """
    _demand_secrecy(kafka)
    context = _context(kafka)
    reach.check(kafka.bootstrap, context=context)
    buffers.use()
    # Given up, kafka-python 3.0.12 keeps the reason to itself, and its IO thread and sockets open.
    kept: list[Any] = []

    def keep(**given: Any) -> Any:
        kept.append(KafkaNetClient(**given))
        return kept[-1]

    try:
        return make(
            bootstrap_servers=kafka.bootstrap.split(","),
            bootstrap_timeout_ms=int(bootstrap_s * 1000),
            kafka_client=keep,
            proxy_url=sockets.VIA,
            **_security(kafka, context),
            **options,
        )
    except KafkaConfigurationError as error:
        raise SourceError(f"kafka settings cannot be used: {error}") from error
    except KafkaError as error:
        for one in kept:
            one.close()
        raise _explained(error, kafka, context) from error


def partitions(consumer: Any, topic: str, timeout_s: float = BOOTSTRAP_S) -> Collection[int]:
    """A topic's partitions, by kafka-python's consumer; none where there is no such topic that we may read.

    The consumer's own `partitions_for_topic` waits without an end where the broker has gone since it was connected.

    Raises:
        KafkaError: the broker does not answer in time, or refuses.
    """
    cluster = consumer._cluster
    cluster.need_all_topic_metadata = True  # of one topic that is not there the answer would be an error
    end = time.monotonic() + timeout_s
    try:
        for _ in range(2):  # the answer to what was asked before may not know of it
            if not cluster.partitions_for_topic(topic):
                left_ms = max(1, int(1000 * (end - time.monotonic())))
                consumer._net.run(consumer._manager.wait_for, cluster.request_update(), left_ms)
    finally:
        cluster.need_all_topic_metadata = False
    return cluster.partitions_for_topic(topic) or ()


def refused(error: Exception, kafka: Kafka) -> BrokerRefusedError:
    """What an authentication or authorisation error of kafka-python means, and what to do."""
    if isinstance(error, SaslAuthenticationFailedError):
        return BrokerRefusedError(_wrong_login(kafka))
    return BrokerRefusedError(
        f"user {kafka.user or 'ANONYMOUS'!r} lacks a right at {kafka.bootstrap} ({_named(error)}); ACLs must allow it "
        f"Read and Describe on {kafka.frames_topic!r} (and Write, for dead letters) and on the group, "
        f"Write and Describe on {kafka.decisions_topic!r}"
    )


def told(error: KafkaError | SourceError, kafka: Kafka) -> SourceError:
    """An error of a client in use, as ours: whether retrying may help, and what to do."""
    if isinstance(error, SourceError):
        return error
    if is_refusal(error):
        return refused(error, kafka)
    return SourceUnreachableError(
        f"the broker at {kafka.bootstrap} does not answer as it should ({_named(error)}); its log says why"
    )


def is_refusal(error: Exception) -> bool:
    """Whether kafka-python says that the broker will not have us."""
    return isinstance(error, SaslAuthenticationFailedError | AuthorizationError)


def _named(error: Exception) -> str:
    said = " ".join(str(part) for part in error.args)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _wrong_login(kafka: Kafka) -> str:
    return (
        f"kafka.user: the broker at {kafka.bootstrap} does not let user {kafka.user!r} in with this password by "
        f"{kafka.mechanism}; mend kafka.user, kafka.mechanism or GOODPART_KAFKA__PASSWORD"
    )


def _explained(error: KafkaError, kafka: Kafka, context: ssl.SSLContext | None) -> SourceUnreachableError:
    """kafka-python says only that it gave up; so ask what a broker answers before a login."""
    if reach.speaks_kafka(kafka.bootstrap, context=context):
        if kafka.security.startswith("SASL"):
            return LoginFailedError(_wrong_login(kafka))
        return LoginFailedError(
            f"kafka.security: the broker at {kafka.bootstrap} wants a user and a password, or is starting still; "
            "set it to SASL_SSL or SASL_PLAINTEXT, with kafka.user and GOODPART_KAFKA__PASSWORD"
        )
    hint = "" if kafka.security.endswith("SSL") else "; if it wants TLS, set kafka.security"
    return SourceUnreachableError(
        f"kafka.bootstrap: no Kafka broker answers at {kafka.bootstrap} ({type(error).__name__}); start it, or set "
        f"GOODPART_KAFKA__BOOTSTRAP=HOST:PORT{hint}"
    )


def _security(kafka: Kafka, context: ssl.SSLContext | None) -> dict[str, Any]:
    found: dict[str, Any] = {"security_protocol": kafka.security, "ssl_context": context}
    if kafka.security.startswith("SASL"):
        found |= {
            "sasl_mechanism": kafka.mechanism,
            "sasl_plain_username": kafka.user,
            "sasl_plain_password": kafka.password,
        }
    return found


def _context(kafka: Kafka) -> ssl.SSLContext | None:
    if not kafka.security.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file or None)
        context.sslsocket_class = sockets.WideTls
        if kafka.certificate_file:
            context.load_cert_chain(kafka.certificate_file, kafka.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(
            f"kafka.ca_file, kafka.certificate_file or kafka.key_file cannot be used ({error}); PEM files are needed"
        ) from error
    return context


def _demand_secrecy(kafka: Kafka) -> None:
    if kafka.allow_plaintext or kafka.security.endswith("SSL"):
        return
    for address in kafka.bootstrap.split(","):
        host, separator, _ = address.strip().rpartition(":")
        if separator and not is_loopback(host.strip("[]")):
            raise SourceError(
                f"kafka.security: {kafka.security} to {host} would show every frame and decision to the network; set "
                "kafka.security to SSL or SASL_SSL, or kafka.allow_plaintext = true where the network is trusted"
            )
