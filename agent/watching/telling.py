"""What people are told of watches: that no model can be trusted, that a new one flags more than the old one does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine

from agent.alerts.base import Alarms, Level
from agent.phrases import Phrase
from agent.store import alerts, watches
from agent.store.alerts import fitted
from agent.store.engine import reading
from agent.store.watches import Watch
from agent.watching.judging import in_excess

UNTRUSTED, EXCESS = "no_trusted_model", "excess_flags"


@dataclass(frozen=True, slots=True)
class Told:
    """One alert of a product."""

    words: Phrase
    level: Level
    detail: dict[str, Any]


def tell(engine: Engine, alarms: Alarms) -> None:
    """Raises what holds and is not told yet, and ends what holds no more."""
    with reading(engine) as conn:
        under_way = watches.all_active(conn)
        standing = {(one.kind, one.subject) for one in alerts.standing(conn) if one.kind in (UNTRUSTED, EXCESS)}
    holding = set()
    for one in under_way:
        subject = f"product:{one.product}"
        for kind, said in ((UNTRUSTED, _untrusted(one)), (EXCESS, _excess(one))):
            if said is None:
                continue
            holding.add((kind, fitted(subject)))
            if (kind, fitted(subject)) not in standing:
                alarms.raised(kind, subject, said.words, level=said.level, **said.detail)
    for kind, subject in sorted(standing - holding):
        alarms.cleared(kind, subject)


def _untrusted(watch: Watch) -> Told | None:
    if watch.state != "untrusted":
        return None
    words = Phrase(
        "{product} has no trusted model: {why}. Both go on, and what either flags goes to review: train "
        "another one, or promote one that you trust",
        product=watch.product, why=watch.told,
    )  # fmt: skip
    return Told(words, "error", {"watch": watch.id})


def _excess(watch: Watch) -> Told | None:
    numbers = watch.numbers
    if watch.kind != "watch" or watch.state != "open" or not numbers:
        return None
    new_only, old_only = int(numbers["new_only"]), int(numbers["old_only"])
    if not in_excess(new_only, old_only):
        return None
    words = Phrase(
        "{product}: of the watched parts v{new} alone flagged {new_only:,}, and v{old} alone {old_only:,}. That proves "
        "nothing by itself, they may be defects that only the new model sees: review the flagged parts of the watch, "
        "which the queue has first",
        product=watch.product, new=watch.number, new_only=new_only, old=watch.other_number, old_only=old_only,
    )  # fmt: skip
    return Told(words, "warning", {"watch": watch.id, "new_only": new_only, "old_only": old_only})
