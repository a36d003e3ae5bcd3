"""Alarms as tests take them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from agent.store import alerts
from agent.store.alerts import Alert
from agent.store.engine import reading, writing
from tests.databases import NOW


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def standing(engine: Engine) -> list[Alert]:
    with reading(engine) as conn:
        return alerts.standing(conn)


class Noted:
    """Alarms as a list; `engine` also writes them, as the writer would."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.said: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.detail: dict[str, Any] = {}
        self.now, self._engine = NOW, engine

    def raised(self, kind: str, subject: str, words: str, *, level: str = "warning", **detail: object) -> None:
        self.said.append(("raised", kind, subject))
        self.words.append(words)
        self.detail = detail
        if self._engine:
            with writing(self._engine) as conn:
                alerts.raise_(conn, kind, subject, words, level=level, detail=detail, event=False, now=self.now)

    def cleared(self, kind: str, subject: str) -> None:
        self.said.append(("cleared", kind, subject))
        if self._engine:
            with writing(self._engine) as conn:
                alerts.clear(conn, kind, subject, self.now)

    def take(self) -> list[tuple[str, str, str]]:
        said, self.said = self.said, []
        return said
