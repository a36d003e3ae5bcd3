"""Settings: `config.toml`, overridden by the environment (`GOODPART_SECTION__KEY`), as one frozen object.

Every setting stands in `config.toml` with its default; the defaults here are the same (a test compares them), so the
program also runs where there is no file. Secrets are refused in the file: give them by the environment.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, ValidationError

from agent.sections import Agent as Agent
from agent.sections import Alerts as Alerts
from agent.sections import Audit as Audit
from agent.sections import Blobs as Blobs
from agent.sections import Certificates as Certificates
from agent.sections import Dashboard as Dashboard
from agent.sections import Database as Database
from agent.sections import Drift as Drift
from agent.sections import FrameSource as FrameSource
from agent.sections import Gate as Gate
from agent.sections import Input as Input
from agent.sections import Kafka as Kafka
from agent.sections import Log as Log
from agent.sections import Oidc as Oidc
from agent.sections import Pipeline as Pipeline
from agent.sections import Plant as Plant
from agent.sections import Redis as Redis
from agent.sections import Retention as Retention
from agent.sections import Retrain as Retrain
from agent.sections import Review as Review
from agent.sections import Samples as Samples
from agent.sections import Scoring as Scoring
from agent.sections import Shadow as Shadow
from agent.sections import Training as Training
from agent.sections import Watch as Watch
from agent.sections import is_loopback as is_loopback

PREFIX = "GOODPART_"
SECRETS = {  # settings that never stand in a file, and what such things are called
    ("kafka", "password"): "passwords",
    ("oidc", "client_secret"): "client secrets",
    ("alerts", "webhook"): "webhooks, whose path is a password,",
}


class SettingsError(Exception):
    """A setting that cannot be used; the message names the key, where it was set and what is allowed."""


class Settings(BaseModel):
    """All settings, immutable. Sections are attributes: `settings.kafka.bootstrap`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    database: Database = Database()
    blobs: Blobs = Blobs()
    source: FrameSource = FrameSource()
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    plant: Plant = Plant()
    pipeline: Pipeline = Pipeline()
    scoring: Scoring = Scoring()
    training: Training = Training()
    certificate: Certificates = Certificates()
    audit: Audit = Audit()
    drift: Drift = Drift()
    alerts: Alerts = Alerts()
    retention: Retention = Retention()
    retrain: Retrain = Retrain()
    review: Review = Review()
    samples: Samples = Samples()
    gate: Gate = Gate()
    shadow: Shadow = Shadow()
    watch: Watch = Watch()
    agent: Agent = Agent()
    dashboard: Dashboard = Dashboard()
    oidc: Oidc = Oidc()
    log: Log = Log()

    @property
    def timezone(self) -> ZoneInfo:
        """The plant's timezone: its days and shifts are cut in it."""
        return ZoneInfo(self.plant.timezone)

    @property
    def deciding(self) -> dict[str, Any]:
        """Every setting that can change a verdict, by section, as plain JSON values."""
        return self.model_dump(mode="json", include={"scoring", "certificate", "training"})

    @property
    def decision_hash(self) -> str:
        """SHA-256 of `deciding`; part of a deployment."""
        return hashlib.sha256(json.dumps(self.deciding, sort_keys=True).encode()).hexdigest()


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Reads `path` (None: no file) and overrides it from `environ`.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown, has a wrong value, or is a secret in the file.
    """
    values = _read_file(path) if path else {}
    _refuse_in_file(values, path)
    origins: dict[tuple[str, str], str] = {}
    for variable, text in environ.items():
        section, separator, key = variable.removeprefix(PREFIX).lower().partition("__")
        if not variable.startswith(PREFIX) or not separator:
            continue
        if not isinstance(values.setdefault(section, {}), dict):
            raise SettingsError(f"{section} in {path}: a section such as [{section}] is expected here")
        values[section][key] = text
        origins[section, key] = f"the environment variable {variable}"
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(one, origins, path) for one in error.errors())) from None


def environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables, for a child process that must run with exactly these."""
    return {
        f"{PREFIX}{section.upper()}__{key.upper()}": _text(value)
        for section, keys in settings.model_dump(mode="json").items()
        for key, value in keys.items()
    }


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file; give another with --config FILE") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as TOML: {error}") from error


def _refuse_in_file(values: Mapping[str, Any], path: Path | None) -> None:
    for (section, key), what in SECRETS.items():
        table = values.get(section)
        if isinstance(table, dict) and table.get(key):
            raise SettingsError(
                f'{section}.{key} in {path}: {what} never stand in a file; only "" is allowed here. '
                f"Set {PREFIX}{section.upper()}__{key.upper()} in the environment instead"
            )
    kafka = values.get("kafka")
    if isinstance(kafka, dict) and kafka.get("group_instance_id"):
        raise SettingsError(
            f'kafka.group_instance_id in {path}: one file would give it to several agents; only "" is allowed here. '
            f"Set {PREFIX}KAFKA__GROUP_INSTANCE_ID in the environment of each agent instead, another for each"
        )
    for section in ("database", "redis"):
        table = values.get(section)
        url = table.get("url") if isinstance(table, dict) else None
        if isinstance(url, str) and urlsplit(url).password:
            raise SettingsError(
                f"{section}.url in {path}: holds a password; a URL without one is allowed here. "
                f"Set {PREFIX}{section.upper()}__URL in the environment instead"
            )


def _explain(error: Any, origins: Mapping[tuple[str, str], str], path: Path | None) -> str:
    section, key = (*(str(part) for part in error["loc"]), "", "")[:2]
    name = f"{section}.{key}" if key else section
    variables = [origin for (one, _), origin in origins.items() if one == section]
    origin = origins.get((section, key)) or (variables[0] if variables and not key else str(path or "the settings"))
    if error["type"] == "extra_forbidden":
        known: Any = Settings.model_fields if not key else Settings.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        return f"{name} in {origin}: is not a setting; allowed here: {', '.join(known)}"
    found = "" if (section, key) in SECRETS else f" (found {error['input']!r})"
    return f"{name} in {origin}: {error['msg']}{found}"


def utc_now() -> datetime:
    """The clock that programs inject; tests inject their own."""
    return datetime.now(UTC)
