"""Conditions that the database shows: what is so now becomes what stands open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agent.alerts.base import Alarms, Level
from agent.phrases import Phrase
from agent.store.alerts import Alert, fitted


@dataclass(frozen=True, slots=True)
class Said:
    """What is wrong with one subject."""

    words: Phrase
    level: Level = "warning"
    detail: Mapping[str, object] = field(default_factory=dict)


def follow(alarms: Alarms, standing: Iterable[Alert], kind: str, found: Mapping[str, Said]) -> None:
    """Raises what is so and not open in these words, and ends what is open and no longer so.

    Args:
        alarms: takes it.
        standing: the open alerts.
        kind: only of this kind; nobody else raises or ends it.
        found: what is so now, by subject.
    """
    told = {one.subject: one.words for one in standing if one.kind == kind}
    for subject, said in found.items():
        if told.pop(fitted(subject), None) != said.words:
            alarms.raised(kind, subject, said.words, level=said.level, **said.detail)
    for subject in told:
        alarms.cleared(kind, subject)
