"""The review desk: one part at a time, its pictures, and the verdict keys, in one component.

Verdicts collect in the component's state, each with its item and an idempotency key made in the browser, so that fast
keys neither repeat nor lose one. The desk goes on to the next part at once; the server's answer comes later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

from agent.store.items import Item

HERE = Path(__file__).parent
REASONS = ("scratch", "dent", "corrosion", "chip", "burr", "stain", "crack", "other")


@dataclass(frozen=True, slots=True)
class Said:
    """One press: a verdict on an item, or an undo."""

    key: str
    item: int
    decision: str  # normal | defect | unsure | undo
    reason: str | None


def card(item: Item) -> dict[str, Any]:
    """What the browser may know of an item before its verdict: no score, no p-value, no severity."""
    picture = item.preview_sha256 or item.frame_sha256
    return {
        "id": item.id,
        "station": item.station,
        "product": item.product,
        "serial": item.serial or item.frame_id,
        "lot": item.lot or "",
        "time": item.event_at.isoformat(),
        "kind": item.kind,
        "escalated": item.state == "escalated",
        "frame": f"/blob/{picture}" if picture else None,
        "overlay": f"/blob/{item.overlay_sha256}" if item.overlay_sha256 else None,
        "heatmap": f"/heatmap/{item.heatmap_sha256}" if item.heatmap_sha256 else None,
    }


def read(state: object) -> list[Said]:
    """The presses that the browser reports; anything malformed is left out."""
    found = []
    for one in state if isinstance(state, Sequence) else ():
        if isinstance(one, Mapping) and isinstance(one.get("key"), str) and isinstance(one.get("item"), int):
            reason = one.get("reason")
            found.append(Said(one["key"], one["item"], str(one.get("decision")), str(reason) if reason else None))
    return found


@cache
def _desk() -> Any:
    return st.components.v2.component(
        "goodpart_review",
        html="<div class='desk' tabindex='0' aria-label='Review desk'></div>",
        css=(HERE / "review.css").read_text(encoding="utf-8"),
        js=(HERE / "review.js").read_text(encoding="utf-8"),
    )


def desk(
    items: Sequence[Item], *, waiting: int, can_decide: bool, answers: Mapping[str, Mapping[str, Any]]
) -> list[Said]:
    """Draws the desk; returns all presses of this session so far.

    Args:
        items: the head of the queue, oldest first.
        waiting: how many are in the queue.
        can_decide: whether the acting user may.
        answers: the server's answer to each press, by its key.
    """
    result = _desk()(
        data={
            "items": [card(item) for item in items], "waiting": waiting, "canDecide": can_decide,
            "reasons": REASONS, "answers": dict(answers),
        },
        key="desk", default={"said": []}, on_said_change=lambda: None,
    )  # fmt: skip
    return read(result.said)
