"""What decided of a product, version by version: who changed it, when and why, and what two of them differ in. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import pairwise

from agent.store.audit import Event
from agent.store.registry import Deployment
from agent.store.setting_versions import SettingVersion
from dashboard.words import later, retold, say

Rows = list[dict[str, object]]
Fields = Mapping[str, object]  # what a version says, by name
GATE, AGENT = later("the gate"), later("an agent that started")
NOTHING = later("none")
UNKNOWN = later("unknown: no agent has started with it")
FEWER, MORE = later("higher{percent}: fewer parts are rejected"), later("lower{percent}: more parts are rejected")
SAID = (NOTHING, later("part"), later("frame"))  # values that are words
THRESHOLDS = {"review_threshold": later("Review threshold"), "reject_threshold": later("Reject threshold")}
RATES = {
    "review_rate": later("Review rate asked for"), "certified_review_rate": later("Review rate certified"),
    "reject_rate": later("Reject rate"), "confidence": later("Confidence"),
}  # fmt: skip
COUNTS = {
    "n": later("Calibration scores, n"), "review_k": later("Review threshold is score k ="),
    "reject_k": later("Reject threshold is score k ="), "look": later("Look"), "unit": later("One score stands for a"),
    "fingerprint": later("Scorer"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Version:
    """A change of what decides.

    Attributes:
        at: since when.
        who: changed it.
        what: in a few words.
        why: as they said.
        changed: what is other than in the version before, in words; "" where nothing is, or there was none.
        fields: what it says; {} for a change of settings alone, which decides from the next deployment on.
    """

    at: datetime
    who: str
    what: str
    why: str
    changed: str
    fields: Fields


def history(
    deployments: Sequence[Deployment],
    settings: Sequence[SettingVersion],
    changes: Sequence[Event],
    names: Mapping[int, str],
) -> list[Version]:
    """All changes, newest first.

    Args:
        deployments: the product's, newest first.
        settings: the installation's, newest first.
        changes: `product.change` events of the product.
        names: of people, by their id.
    """
    known = {one.config_hash: one for one in settings}
    found = []
    for one, before in zip(deployments, [*deployments[1:], None], strict=True):
        said = fields(one, known)
        changed = differences(fields(before, known), said) if before else []
        words = "; ".join(f"{row['What']}: {row['Words'] or row['To']}" for row in changed)
        what = say("deployment {id}, v{number}", id=one.id, number=one.number)
        found.append(Version(one.live_from, _who(one.by, GATE, names), what, retold(one.told), words, said))
    for new, old in pairwise(settings):
        rows = differences(_flat(old.settings), _flat(new.settings))
        words = "; ".join(f"{row['What']}: {row['From']} → {row['To']}" for row in rows)
        found.append(Version(new.created_at, say(AGENT), say("configuration"), "", words, {}))
    for event in changes:
        before, after = event.detail.get("from", {}), event.detail.get("to", {})
        words = "; ".join(f"{name}: {before.get(name)} → {value}" for name, value in after.items())
        what = say("product settings, for the next model")
        found.append(Version(event.at, _who(event.user_id, AGENT, names), what, "", words, {}))
    return sorted(found, key=lambda one: one.at, reverse=True)


def _who(user_id: int | None, otherwise: str, names: Mapping[int, str]) -> str:
    if user_id is None:
        return say(otherwise)
    return names.get(user_id) or say("user {id}", id=user_id)


def rows(found: Sequence[Version], zone: tzinfo) -> Rows:
    """A row a version."""
    return [
        {
            later("Since"): f"{one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            later("What"): one.what,
            later("Who"): one.who,
            later("Why"): one.why,
            later("Changed"): one.changed,
        }
        for one in found
    ]


def fields(one: Deployment, known: Mapping[str, SettingVersion]) -> Fields:
    """What a deployment says, by name."""
    said: dict[str, object] = {later("Model"): f"v{one.number}"}
    if one.certificate is None:
        said[later("Certificate")] = NOTHING
    else:
        names = {**THRESHOLDS, **RATES, **COUNTS}
        said |= {name: NOTHING if (value := one.certificate.get(key)) is None else value for key, name in names.items()}
        said[later("Calibration set")] = str(one.certificate.get("calibration_sha256", ""))[:12]
    setting = known.get(one.config_hash)
    if setting is None:
        return {**said, later("Configuration"): f"{one.config_hash[:12]}, {say(UNKNOWN)}"}
    return {**said, **_flat(setting.settings)}


def differences(before: Fields, after: Fields) -> Rows:
    """A row for each name whose values differ."""
    same_model = before.get("Model") == after.get("Model")
    return [
        {
            later("What"): say(name),
            later("From"): _shown(name, before.get(name, NOTHING)),
            later("To"): _shown(name, after.get(name, NOTHING)),
            later("Words"): _words(name, before.get(name), after.get(name), same_model),
        }
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name, NOTHING) != after.get(name, NOTHING)
    ]


def _words(name: str, before: object, after: object, same_model: bool) -> str:
    """The difference for people; "" where both values say enough."""
    if name in THRESHOLDS.values():
        return _moved(name == THRESHOLDS["review_threshold"], before, after, same_model)
    if isinstance(before, bool) or isinstance(after, bool):
        return ""
    if isinstance(before, int | float) and isinstance(after, int | float):
        points = say("{n:+.2f} points", n=100 * (after - before))
        return points if name in RATES.values() else f"{after - before:+g}"
    return ""


def _moved(flags: bool, before: object, after: object, same_model: bool) -> str:
    """What a threshold's move does; `flags`: it is the review threshold."""
    if not isinstance(after, float):
        return say("off: every part goes to review") if flags else say("off: nothing is rejected")
    if not isinstance(before, float):
        return say("on")
    if not same_model:
        return say("another model: its scores are on a scale of their own")
    percent = f" ({(after - before) / abs(before):+.1%})" if before else ""
    if after > before:
        text = later("higher{percent}: fewer parts are flagged") if flags else FEWER
    else:
        text = later("lower{percent}: more parts are flagged") if flags else MORE
    return say(text, percent=percent)


def _shown(name: str, value: object) -> str:
    if name in RATES.values() and isinstance(value, int | float):
        return f"{value:.2%}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return say(str(value)) if value in SAID else str(value)


def _flat(settings: Mapping[str, Mapping[str, object]]) -> Fields:
    return {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}
