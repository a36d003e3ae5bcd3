"""What there is to say of a sample: its role, why it is held up, who may let it train, what learnt from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from agent.service.samples import MEASURING
from agent.store.lineage import Lineage
from agent.store.sample_search import Found
from agent.store.samples import Sample
from agent.store.users import User

ROLES = {
    "train": "what the next model learns from: imported good parts, and flagged parts that somebody called normal and "
    "the quarantine or a second person let through",
    "calibration": "what thresholds and certificates come from: good parts drawn before they were scored; no model "
    "learns from them",
    "holdout": "what a challenger is compared with the champion on, drawn likewise; no threshold comes from them",
    "defect": "the defect bank: confirmed defects, which a challenger must not lose; proposals are compared with them",
}
NAMES = {"train": "train", "calibration": "calibration", "holdout": "hold-out", "defect": "defect"}
ORIGINS = {"import": "imported", "flagged": "a flagged part", "audit": "an audited part"}


def state(one: Sample) -> str:
    """What a sample is now, in a word or two."""
    if one.revoked_at is not None:
        return "taken out" if one.role != "train" else "revoked"
    if one.state == "quarantined":
        return "held up"
    if one.state == "proposed":
        return "waits for its check"
    return {"accepted": "in use", "refused": "refused"}[one.state]


def held(one: Sample) -> tuple[str, str]:
    """Why a proposal waits for a second person, and the numbers behind that ("" where there are none)."""
    found = one.quarantine
    if one.state == "proposed":
        return "The quarantine check has not looked at it yet.", ""
    if found is None:
        return "A second person is always asked: the check is off.", ""
    said = str(found.get("words", "a second person is asked for"))
    said = f"{said[0].upper()}{said[1:]}."
    if found.get("found") in ("clear", "off"):
        said += " A second person is asked for every proposal."
    if "figure" not in found:
        return said, ""
    numbers = (
        f"likeness {found['figure']:.2f}, held up above {found['cut']:.2f} "
        f"(1: as the {found['defects']} defects, -1: as the {found['normals']} normals; seen by v{found['version']})"
    )
    return said, numbers


def may_not_accept(one: Sample, user: User | None, engineer: str | None, roles: set[str]) -> str | None:
    """A sentence where the acting user cannot let a proposal train; None: they can.

    Args:
        one: the proposal.
        user: who acts.
        engineer: why they may not act as an engineer; None: they may.
        roles: that samples of its part have.
    """
    if engineer is not None:
        return engineer
    if user is not None and one.added_by == user.id:
        return f"You proposed it, {user.name}: a second person accepts."
    if measures := roles & MEASURING:
        named = " and ".join(sorted(NAMES[role] for role in measures))
        return f"Part {one.serial} is a {named} part by now: it may not train."
    return None


def facts(found: Found, names: Mapping[int, str], zone: tzinfo) -> list[dict[str, object]]:
    """What is on record of a sample: a row each."""
    one = found.sample
    by = names.get(one.added_by or 0, "the agent") if one.origin != "import" else names.get(one.added_by or 0, "")
    said = [
        ("Role", NAMES[one.role]),
        ("State", state(one)),
        ("Comes from", ORIGINS[one.origin] + (f", by {by}" if by else "")),
        ("Part", one.serial or ""),
        ("Station", found.station or ""),
        ("Lot", one.lot or ""),
        ("Defect", one.reason or ""),
        ("Inspected", _at(found.seen_at, zone)),
        ("A sample since", _at(one.created_at, zone)),
        ("Check", str((one.quarantine or {}).get("words", ""))),
        ("Accepted", _accepted(one, names, zone)),
        ("Taken out", _at(one.revoked_at, zone)),
    ]
    return [{"Sample": name, "On record": text} for name, text in said if text]


def _accepted(one: Sample, names: Mapping[int, str], zone: tzinfo) -> str:
    if one.accepted_at is None:
        return ""
    return f"{_at(one.accepted_at, zone)} by {names.get(one.accepted_by or 0, 'the agent')}"


def seen_by(found: Lineage, zone: tzinfo) -> list[dict[str, object]]:
    """A row for each version that used a sample: how, and when that version decided."""
    rows: list[dict[str, object]] = []
    for one in found.versions:
        spans = [served for served in found.deployments if served.number == one.number]
        decided = ", ".join(f"{_at(s.live_from, zone)} to {_at(s.live_until, zone) or 'now'}" for s in spans)
        rows.append(
            {
                "Version": f"v{one.number}",
                "Now": one.state,
                "Used it as": NAMES[one.role]
                + (f", through v{one.via}, whose weights it began with" if one.via else ""),
                "Decided": decided or "never",
            }
        )
    return rows


def meaning(found: Lineage) -> str:
    """What it means that a train sample is revoked."""
    learnt = [one.number for one in found.versions if one.role == "train"]
    if not learnt:
        return "No model learnt from it. The next training run starts without it."
    named = ", ".join(f"v{number}" for number in learnt)
    text = f"{named} learnt from it and keep what they learnt; the next training run starts without it."
    if found.live is not None:
        text += f" v{found.live} is live: a run from fresh weights makes a model that never saw it."
    return text


def _at(at: datetime | None, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else ""
