"""What there is to say of a sample: its role, why it is held up, who may let it train, what learnt from it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from agent.service.samples import MEASURING
from agent.store.lineage import Lineage
from agent.store.sample_search import Found
from agent.store.samples import Sample
from agent.store.users import User
from dashboard.codes import named, shown
from dashboard.words import later, opening, retold, say

ROLES = {
    "train": later(
        "what the next model learns from: imported good parts, and flagged parts that somebody called normal and the "
        "quarantine or a second person let through"
    ),
    "calibration": later(
        "what thresholds and certificates come from: good parts drawn before they were scored; no model learns from "
        "them"
    ),
    "holdout": later(
        "what a challenger is compared with the champion on, drawn likewise; no threshold comes from them"
    ),
    "defect": later(
        "the defect bank: confirmed defects, which a challenger must not lose; proposals are compared with them"
    ),
}
NAMES = {
    "train": later("train"), "calibration": later("calibration"), "holdout": later("hold-out"),
    "defect": later("defect"),
}  # fmt: skip
ORIGINS = {"import": later("imported"), "flagged": later("a flagged part"), "audit": later("an audited part")}


def state(one: Sample) -> str:
    """What a sample is now, in a word or two."""
    if one.revoked_at is not None:
        return say("taken out") if one.role != "train" else say("revoked")
    if one.state == "quarantined":
        return say("held up")
    if one.state == "proposed":
        return say("waits for its check")
    return say("in use") if one.state == "accepted" else say("refused")


def in_use(one: Sample) -> bool:
    """Whether the next run may take it."""
    return one.revoked_at is None and one.state == "accepted"


def held(one: Sample) -> tuple[str, str]:
    """Why a proposal waits for a second person, and the numbers behind that ("" where there are none)."""
    found = one.quarantine
    if one.state == "proposed":
        return say("The quarantine check has not looked at it yet."), ""
    if found is None:
        return say("A second person is always asked: the check is off."), ""
    said = retold(one.checked or "") or say("a second person is asked for")
    said = f"{opening(said)}."
    if found.get("found") in ("clear", "off"):
        said += " " + say("A second person is asked for every proposal.")
    if "figure" not in found:
        return said, ""
    return said, say(
        "likeness {figure:.2f}, held up above {cut:.2f} (1: as the {defects} defects, -1: as the {normals} normals; "
        "seen by v{version})",
        **found,
    )


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
        return say("You proposed it, {name}: a second person accepts.", name=user.name)
    if measures := roles & MEASURING:
        both = say(" and ").join(sorted(say(NAMES[role]) for role in measures))
        return say("Part {serial} is a {roles} part by now: it may not train.", serial=one.serial, roles=both)
    return None


def facts(found: Found, names: Mapping[int, str], zone: tzinfo) -> list[dict[str, object]]:
    """What is on record of a sample: a row each."""
    one = found.sample
    by = names.get(one.added_by or 0, "" if one.origin == "import" else say("the agent"))
    origin = say(ORIGINS[one.origin])
    said = [
        (say("Role"), say(NAMES[one.role])),
        (say("State"), state(one)),
        (say("Comes from"), say("{origin}, by {name}", origin=origin, name=by) if by else origin),
        (say("Part"), one.serial or ""),
        (say("Station"), found.station or ""),
        (say("Lot"), one.lot or ""),
        (say("Defect"), named(one.reason or "")),
        (say("Inspected"), _at(found.seen_at, zone)),
        (say("A sample since"), _at(one.created_at, zone)),
        (say("Check"), retold(one.checked or "")),
        (say("Accepted"), _accepted(one, names, zone)),
        (say("Taken out"), _at(one.revoked_at, zone)),
    ]
    return [{later("Sample"): name, later("On record"): text} for name, text in said if text]


def _accepted(one: Sample, names: Mapping[int, str], zone: tzinfo) -> str:
    if one.accepted_at is None:
        return ""
    by = names.get(one.accepted_by or 0, say("the agent"))
    return say("{at} by {name}", at=_at(one.accepted_at, zone), name=by)


def seen_by(found: Lineage, zone: tzinfo) -> list[dict[str, object]]:
    """A row for each version that used a sample: how, and when that version decided."""
    rows: list[dict[str, object]] = []
    for one in found.versions:
        spans = [served for served in found.deployments if served.number == one.number]
        decided = ", ".join(
            say("{start} to {end}", start=_at(one.live_from, zone), end=_at(one.live_until, zone) or say("now"))
            for one in spans
        )
        used = say(NAMES[one.role])
        if one.via:
            used = say("{role}, through v{number}, whose weights it began with", role=used, number=one.via)
        rows.append(
            {
                later("Version"): f"v{one.number}",
                later("Now"): shown(one.state),
                later("Used it as"): used,
                later("Decided"): decided or say("never"),
            }
        )
    return rows


def meaning(found: Lineage) -> str:
    """What it means that a train sample is revoked."""
    learnt = [one.number for one in found.versions if one.role == "train"]
    if not learnt:
        return say("No model learnt from it. The next training run starts without it.")
    text = say(
        "{versions} learnt from it and keep what they learnt; the next training run starts without it.",
        versions=", ".join(f"v{number}" for number in learnt),
    )
    if found.live is not None:
        text += " " + say(
            "v{number} is live: a run from fresh weights makes a model that never saw it.", number=found.live
        )
    return text


def _at(at: datetime | None, zone: tzinfo) -> str:
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}" if at else ""
