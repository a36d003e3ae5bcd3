"""What `goodpart doctor` looks at: each check says what it found, and how to mend what it did not."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from agent.cli.finding import Finding as Finding
from agent.settings import Settings


def database(settings: Settings) -> Finding:
    """The database answers and is at this program's revision."""
    from agent.store.engine import DatabaseBehind, StoreError, check_revision, open_engine, revision

    try:
        engine = open_engine(settings.database.url)
        check_revision(engine)
    except DatabaseBehind as error:
        return Finding("database", False, str(error), "goodpart db upgrade")
    except StoreError as error:
        return Finding("database", False, str(error), "start it, or set GOODPART_DATABASE__URL")
    return Finding("database", True, f"{engine.url.render_as_string()} at revision {revision(engine)}")


def source(settings: Settings) -> Finding:
    """Frames can come in, and decisions can go out."""
    return broker(settings) if settings.source.kind == "kafka" else _writable("spool", settings.source.directory)


def broker(settings: Settings) -> Finding:
    """The broker answers, and lets us do what an agent does."""
    from agent.cli.broker_check import check

    return check(settings.kafka, settings.kafka.group_id or _group_id(settings))


def _group_id(settings: Settings) -> str | None:
    """The group's default name; None while there is no database to say it, which has a line of its own."""
    from agent.store.engine import StoreError, open_engine, reading
    from agent.store.install import install_of

    try:
        with reading(open_engine(settings.database.url)) as conn:
            return install_of(conn).group_id
    except StoreError:
        return None


def redis(settings: Settings) -> Finding:
    """Redis answers; the line runs without it."""
    import redis as client

    shown = settings.redis.url.rpartition("@")[2]
    try:
        client.Redis.from_url(settings.redis.url, socket_connect_timeout=2, socket_timeout=2).ping()
    except (client.RedisError, ValueError, OSError) as error:
        return Finding(
            "redis", False, f"{shown} does not answer ({error})",
            "start it, or set redis.url; without it the live view is missing and promotions take a second longer",
            needed=False,
        )  # fmt: skip
    return Finding("redis", True, f"{shown} answers")


def blobs(settings: Settings) -> Finding:
    """The blob folder can be written."""
    from agent.store.blobs import open_blobs
    from agent.store.errors import StoreError

    if not settings.blobs.url:
        return _writable("blobs", settings.blobs.directory)
    try:
        open_blobs(settings.blobs).put(b"goodpart doctor", "text/plain")
    except StoreError as error:
        return Finding("blobs", False, str(error), "as it says")
    return Finding("blobs", True, f"{settings.blobs.url} can be written")


def _writable(name: str, directory: Path) -> Finding:
    existing = next(folder for folder in (directory, *directory.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(name, False, f"{directory} cannot be written ({error})", "mend its rights, or set another")
    return Finding(name, True, f"{directory} can be written")


def webhook(settings: Settings) -> Finding:
    """Whom alerts are sent to; nothing is sent."""
    # Its form was checked when the settings were read; its path is a password.
    where = urlsplit(settings.alerts.webhook).netloc
    return Finding(
        "webhook", True, f"{where} is told of alerts" if where else "none: alerts are in the log and on the dashboard"
    )


def silence(settings: Settings) -> Finding:
    """A station that stops sending is told of."""
    from agent.cli.silence import check

    return check(settings)


def teacher(settings: Settings) -> Finding:
    """The weights of the configured teacher, and of others with a file of their own, are what they should be."""
    from model.teacher import TeacherError, load_teacher

    def refuse(url: str) -> bytes:
        raise OSError("doctor downloads nothing")

    training = settings.training
    names = dict.fromkeys((training.teacher, *training.files))
    try:
        for name in names:
            load_teacher(name, training.weights_of(name), fetch=refuse)
    except TeacherError as error:
        return Finding("teacher", False, str(error), "set training.teacher or training.weights")
    return Finding("teacher", True, f"{', '.join(names)} {'loads' if len(names) == 1 else 'load'}")


def crc32c(settings: Settings) -> Finding:
    """The fast checksum is there: without it kafka-python reads 10 MB/s on a full core."""
    if importlib.util.find_spec("crc32c") is None:
        return Finding(
            "crc32c", False, "kafka-python runs without it, 20 times slower", "pip install 'kafka-python[crc32c]'"
        )
    return Finding("crc32c", True, "the fast checksum is installed")


def device(settings: Settings) -> Finding:
    """The device that will score."""
    import torch

    wanted = settings.scoring.device
    if wanted == "cuda" and not torch.cuda.is_available():
        return Finding("device", False, "scoring.device is cuda, and torch sees no GPU", "set scoring.device = 'auto'")
    if wanted != "cpu" and torch.cuda.is_available():
        return Finding("device", True, torch.cuda.get_device_name())
    return Finding(
        "device", True, f"CPU, {torch.get_num_threads()} threads ({torch.backends.cpu.get_cpu_capability()})"
    )


CHECKS: tuple[Callable[[Settings], Finding], ...] = (
    database, source, redis, blobs, webhook, silence, teacher, crc32c, device,
)  # fmt: skip


def configuration(path: Path | None) -> Finding:
    """The settings in use; reading them raised no error."""
    return Finding("settings", True, str(path) if path else "no config.toml here: the defaults and the environment")
