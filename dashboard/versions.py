"""What decided of a product, version by version: who changed it, when and why, and what two of them differ in. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import pairwise

from agent.store.audit import Event
from agent.store.registry import Deployment
from agent.store.setting_versions import SettingVersion

Rows = list[dict[str, object]]
Fields = Mapping[str, object]  # what a version says, by name
GATE, AGENT = "the gate", "an agent that started"
NOTHING = "none"
UNKNOWN = "unknown: no agent has started with it"
THRESHOLDS = {"review_threshold": "Review threshold", "reject_threshold": "Reject threshold"}
RATES = {
    "review_rate": "Review rate asked for", "certified_review_rate": "Review rate certified",
    "reject_rate": "Reject rate", "confidence": "Confidence",
}  # fmt: skip
COUNTS = {
    "n": "Calibration scores, n", "review_k": "Review threshold is score k =",
    "reject_k": "Reject threshold is score k =", "look": "Look", "unit": "One score stands for a",
    "fingerprint": "Scorer",
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
        who = GATE if one.by is None else names.get(one.by, f"user {one.by}")
        found.append(Version(one.live_from, who, f"deployment {one.id}, v{one.number}", one.reason, words, said))
    for new, old in pairwise(settings):
        rows = differences(_flat(old.settings), _flat(new.settings))
        words = "; ".join(f"{row['What']}: {row['From']} → {row['To']}" for row in rows)
        found.append(Version(new.created_at, AGENT, "configuration", "", words, {}))
    for event in changes:
        before, after = event.detail.get("from", {}), event.detail.get("to", {})
        words = "; ".join(f"{name}: {before.get(name)} → {value}" for name, value in after.items())
        who = AGENT if event.user_id is None else names.get(event.user_id, f"user {event.user_id}")
        found.append(Version(event.at, who, "product settings, for the next model", "", words, {}))
    return sorted(found, key=lambda one: one.at, reverse=True)


def rows(found: Sequence[Version], zone: tzinfo) -> Rows:
    """A row a version."""
    return [
        {
            "Since": f"{one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
            "What": one.what,
            "Who": one.who,
            "Why": one.why,
            "Changed": one.changed,
        }
        for one in found
    ]


def fields(one: Deployment, known: Mapping[str, SettingVersion]) -> Fields:
    """What a deployment says, by name."""
    said: dict[str, object] = {"Model": f"v{one.number}"}
    if one.certificate is None:
        said["Certificate"] = NOTHING
    else:
        names = {**THRESHOLDS, **RATES, **COUNTS}
        said |= {name: NOTHING if (value := one.certificate.get(key)) is None else value for key, name in names.items()}
        said["Calibration set"] = str(one.certificate.get("calibration_sha256", ""))[:12]
    setting = known.get(one.config_hash)
    return {**said, **(_flat(setting.settings) if setting else {"Configuration": f"{one.config_hash[:12]}, {UNKNOWN}"})}


def differences(before: Fields, after: Fields) -> Rows:
    """A row for each name whose values differ."""
    same_model = before.get("Model") == after.get("Model")
    return [
        {
            "What": name,
            "From": _shown(name, before.get(name, NOTHING)),
            "To": _shown(name, after.get(name, NOTHING)),
            "Words": _words(name, before.get(name), after.get(name), same_model),
        }
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name, NOTHING) != after.get(name, NOTHING)
    ]


def _words(name: str, before: object, after: object, same_model: bool) -> str:
    """The difference for people; "" where both values say enough."""
    if name in THRESHOLDS.values():
        doing = "flagged" if name == THRESHOLDS["review_threshold"] else "rejected"
        if not isinstance(after, float):
            return "off: every part goes to review" if doing == "flagged" else "off: nothing is rejected"
        if not isinstance(before, float):
            return "on"
        if not same_model:
            return "another model: its scores are on a scale of their own"
        which = "fewer" if after > before else "more"
        percent = f" ({(after - before) / abs(before):+.1%})" if before else ""
        return f"{'higher' if after > before else 'lower'}{percent}: {which} parts are {doing}"
    if isinstance(before, bool) or isinstance(after, bool):
        return ""
    if isinstance(before, int | float) and isinstance(after, int | float):
        return f"{100 * (after - before):+.2f} points" if name in RATES.values() else f"{after - before:+g}"
    return ""


def _shown(name: str, value: object) -> str:
    if name in RATES.values() and isinstance(value, int | float):
        return f"{value:.2%}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _flat(settings: Mapping[str, Mapping[str, object]]) -> Fields:
    return {f"{section}.{key}": value for section, keys in settings.items() for key, value in keys.items()}
