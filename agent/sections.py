"""The sections of the settings, each with its defaults and what is allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from apscheduler.triggers.cron import CronTrigger
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Rate = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Side = Annotated[int, Field(ge=64, le=2048, multiple_of=32)]
Tiles = Annotated[int, Field(ge=1, le=16)]
Share = Annotated[float, Field(ge=0, le=1)]


def _timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError("an IANA timezone name such as Europe/Berlin is allowed")
    return name


def _cron(text: str) -> str:
    if text:
        try:
            CronTrigger.from_crontab(text, timezone=UTC)
        except ValueError as error:
            raise ValueError(f"five cron fields such as '0 2 * * *', or '' for never, are allowed ({error})") from error
    return text


def _region(value: Any) -> tuple[float, ...]:
    try:
        left, top, right, bottom = map(float, value.split(",") if isinstance(value, str) else value)
    except (TypeError, ValueError):
        left = top = right = bottom = 0.0
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1) or min(right - left, bottom - top) < 1 / 64 - 1e-9:
        raise ValueError(
            "left, top, right, bottom as fractions of the frame such as 0.1,0,0.9,1, at least 1/64 apart, are allowed"
        )
    return left, top, right, bottom


Region = Annotated[tuple[float, float, float, float], BeforeValidator(_region)]


def _weights(value: Any) -> Any:
    try:
        found = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
    except ValueError:
        found = None
    files = found.values() if isinstance(found, dict) else [found]
    if not all(isinstance(file, str) for file in files):
        raise ValueError(
            'the path of a file, or of several by teacher such as { resnet18 = "FILE" }, or in the environment '
            '{"resnet18": "FILE"}, is allowed'
        )
    return found


Weights = Annotated[str | dict[str, str], BeforeValidator(_weights)]


def _reasons(value: Any) -> tuple[str, ...]:
    codes = tuple(str(one).strip() for one in (value.split(",") if isinstance(value, str) else value))
    usable = all(0 < len(one) <= 64 and one.isprintable() and "," not in one for one in codes)
    if not (1 <= len(codes) <= 9 and len(set(codes)) == len(codes) and usable):
        raise ValueError("1 to 9 different codes such as scratch, each with at most 64 characters, are allowed")
    return codes


Reasons = Annotated[tuple[str, ...], BeforeValidator(_reasons)]


def _shifts(value: Any) -> tuple[time, ...]:
    try:
        begins = tuple(time.fromisoformat(str(one)) for one in (value.split(",") if isinstance(value, str) else value))
    except (TypeError, ValueError):
        begins = ()
    if not begins or list(begins) != sorted(set(begins)) or any(one.minute % 15 or one.second for one in begins):
        raise ValueError("when each shift begins, ascending, on whole quarters, such as 06:00,14:00,22:00, is allowed")
    return begins


Shifts = Annotated[tuple[time, ...], BeforeValidator(_shifts)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Database(_Section):
    url: str = "sqlite:///goodpart.db"


class Blobs(_Section):
    url: str = ""
    endpoint: str = ""
    directory: Path = Path("blobs")
    failed_per_hour: Annotated[int, Field(ge=0)] = 100


class FrameSource(_Section):
    kind: Literal["kafka", "directory"] = "kafka"
    directory: Path = Path("spool")


class Kafka(_Section):
    bootstrap: str = "127.0.0.1:9092"
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    allow_plaintext: bool = False
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    user: str = ""
    password: Annotated[str, Field(repr=False)] = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    frames_topic: str = "goodpart.frames"
    decisions_topic: str = "goodpart.decisions"
    group_id: str = ""
    group_instance_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,200}$")] = ""
    start_from: Literal["earliest", "latest"] = "earliest"
    on_gap: Literal["earliest", "latest", "stop"] = "earliest"
    station: str = ""
    product: str = ""
    session_timeout_s: Seconds = 45.0
    heartbeat_s: Seconds = 1.0
    max_poll_records: Positive = 64


class Redis(_Section):
    url: str = "redis://127.0.0.1:6379/0"
    picture_every_s: Annotated[float, Field(ge=0)] = 5.0


class Plant(_Section):
    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    lots_per_day: Positive = 500
    shifts: Shifts = (time(6), time(14), time(22))


class Pipeline(_Section):
    batch_size: Positive = 16
    max_wait_ms: Annotated[float, Field(ge=0)] = 5.0
    queue_frames: Positive = 256
    queue_mb: Positive = 256
    decode_threads: Positive = 2
    evidence_threads: Positive = 1
    max_frame_mb: Positive = 16
    claim_wait_s: Seconds = 30.0
    max_megapixels: Positive = 64
    max_age_s: Seconds = 3600.0
    decision_deadline_ms: Seconds = 2000.0
    blind_after: Positive = 20
    drain_s: Seconds = 25.0


class Scoring(_Section):
    engine: Literal["torch", "openvino"] = "torch"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "int8"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0


class Input(_Section):
    """How a frame becomes model input, as model.images.InputSpec has it; a product may have its own."""

    height: Side = 256
    width: Side = 256
    fit: Literal["stretch", "letterbox"] = "stretch"
    region: Region = (0.0, 0.0, 1.0, 1.0)
    rows: Tiles = 1
    columns: Tiles = 1
    overlap: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class Training(Input):
    ignore: str = ""
    teacher: str = "efficientnet_lite2"
    weights: Weights = ""
    steps: Annotated[int, Field(ge=0)] = 0
    batch_size: Positive = 16
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 0.005
    memory_share: Literal["auto"] | Share = "auto"
    positional: Literal["auto"] | bool = "auto"
    seed: Annotated[int, Field(ge=0)] = 0

    @property
    def files(self) -> Mapping[str, str]:
        """Files with weights by teacher; one that is not among them is looked for where `model.teacher` says."""
        return self.weights if isinstance(self.weights, dict) else {self.teacher: self.weights}

    def weights_of(self, teacher: str) -> str:
        """The file with a teacher's weights; "" to look where `model.teacher` says."""
        return self.files.get(teacher, "")


class Certificates(_Section):
    review_rate: Rate = 0.05
    reject_rate: Rate = 0.01
    confidence: Rate = 0.95


def _part_of_a_day(hours: int) -> int:
    if hours < 1 or 24 % hours:
        raise ValueError("hours that divide a day are allowed: 1, 2, 3, 4, 6, 8, 12 or 24")
    return hours


class Audit(_Section):
    rate: Share = 0.01
    burst_rate: Share = 0.1
    window_h: Annotated[int, AfterValidator(_part_of_a_day)] = 24


def is_loopback(host: str) -> bool:
    """Whether a host is this one, as an address without brackets or as `localhost`."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def _webhook(url: str) -> str:
    """Messages never repeat it: its path is a password in most services."""
    if not url:
        return url
    allowed = "https://HOST/..., or http:// to this host, without user and password, is allowed"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(allowed) from None
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc and not parts.fragment
    if not host or not plain or parts.scheme not in ("https", "http"):
        raise ValueError(allowed)
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(allowed)
    return url


class Alerts(_Section):
    webhook: Annotated[str, Field(repr=False), AfterValidator(_webhook)] = ""
    silent_after_s: Annotated[float, Field(ge=0)] = 0.0
    disk_free_gb: Annotated[float, Field(ge=0)] = 5.0
    disk_full_days: Annotated[float, Field(ge=0)] = 7.0


class Retention(_Section):
    evidence_days: Annotated[int, Field(ge=0)] = 0
    evidence_gb: Annotated[float, Field(ge=0)] = 0.0
    inspections_days: Annotated[int, Field(ge=0)] = 90
    minutes_days: Annotated[int, Field(ge=0)] = 7
    records_days: Annotated[int, Field(ge=0)] = 365


class Retrain(_Section):
    new_samples: Positive = 20
    settle_s: Annotated[float, Field(ge=0)] = 600.0
    settle_most_s: Annotated[float, Field(ge=0)] = 3600.0
    check_every_s: Seconds = 15.0
    cooldown_s: Annotated[float, Field(ge=0)] = 600.0
    cron: Annotated[str, AfterValidator(_cron)] = ""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    warm: bool = False
    directory: Path = Path("retrain")
    checkpoint_s: Annotated[float, Field(ge=0)] = 30.0


class Drift(_Section):
    alpha: Rate = 0.01
    opens_epoch: bool = False


class Review(_Section):
    reasons: Reasons = ("scratch", "dent", "corrosion", "chip", "burr", "stain", "crack", "other")
    double: Share = 0.0


class Samples(_Section):
    second_person: Literal["never", "quarantined", "always"] = "quarantined"
    quarantine: bool = True
    check_every_s: Seconds = 300.0
    reviewer_share: Share = 0.5
    new_share: Share = 0.3


class Gate(_Section):
    min_defects: Annotated[int, Field(ge=0)] = 10
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    slowdown: Annotated[float, Field(gt=0)] = 2.0


class Shadow(_Section):
    share: Share = 0.0
    parts: Positive = 1000


class Watch(_Section):
    share: Share = 0.2
    parts: Positive = 2000
    defects: Annotated[int, Field(ge=0)] = 20


class Agent(_Section):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8081


def _address(host: str) -> str:
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError:
            raise ValueError(
                "an IP address of this machine, 0.0.0.0 for all of them, or localhost is allowed"
            ) from None
    return host


def _secure(url: str) -> str:
    if not url:
        return url
    try:
        parts = urlsplit(url.rstrip("/"))
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        raise ValueError("https://NAME, or http:// to this machine, is allowed")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("an address without user, ? and # is allowed")
    return parts.geturl()


def _site(url: str) -> str:
    if urlsplit(_secure(url)).path.strip("/"):
        raise ValueError("an address without a path is allowed")
    site = _secure(url).lower()
    default = ":443" if site.startswith("https:") else ":80"  # browsers leave it out
    return site.removesuffix(default)


class Dashboard(_Section):
    host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    port: Port = 8501
    url: Annotated[str, AfterValidator(_site)] = ""
    idle_minutes: Annotated[float, Field(gt=0, le=14)] = 10.0
    language: Annotated[str, Field(pattern=r"^([A-Za-z]{2,3}([_-][A-Za-z0-9]{2,8})*)?$")] = ""
    words: str = ""

    @property
    def origins(self) -> tuple[str, ...]:
        """What browsers call the dashboard, the first one first; nothing is answered under another name."""
        if self.url:
            return (self.url,)
        own = f"[{ip_address(self.host)}]" if ":" in self.host else self.host
        names = (own, *LOOPBACK) if is_loopback(self.host) else LOOPBACK
        return tuple(dict.fromkeys(_site(f"http://{name}:{self.port}") for name in names))


class Oidc(_Section):
    issuer: Annotated[str, AfterValidator(_secure)] = ""
    client_id: str = ""
    client_secret: Annotated[str, Field(repr=False)] = ""
    claim: Annotated[str, Field(min_length=1)] = "email"
    verified: bool = True


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"
