"""What the review desk shows and says, as plain data: cards, presses, answers. No Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.service.bulk import MOST, Bulk
from agent.service.reviews import DECISIONS, Outcome
from agent.store.items import Item
from agent.store.reviews import Review, standing
from agent.store.score_bins import Histogram, place_of
from dashboard.codes import named, shown
from dashboard.words import retold, say, several

Data = dict[str, Any]
LONGEST = 200  # characters of a press's id: an idempotency key
LARGEST = 2**63  # ids are below it
NOTHING: Data = {"before": None, "rows": [], "more": None}  # a page of past verdicts
BACK = 50  # items that one desk holds because they came back to it


@dataclass(frozen=True, slots=True)
class Press:
    """One press: a verdict on the item that was on screen, or the undo of one, or of those of many at once.

    Attributes:
        id: made in the browser; the idempotency key, so that however often it is sent it is done once.
        item: the item's id.
        decision: normal, defect, unsure or undo.
        reason: the defect's code.
        made: of an undo of many: the reviews to take back, by item; `item` is one of these.
    """

    id: str
    item: int
    decision: str
    reason: str | None
    made: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a desk told last.

    Attributes:
        presses: those that it has not seen answered yet.
        shown: the item on screen.
        back: items that came back by an undo and were not passed over since, the last one first.
        before: the review that the page of older verdicts on screen lies before; None: it is the newest ones.
        spoke: whether it has told anything since the page was loaded.
    """

    presses: Sequence[Press] = ()
    shown: int | None = None
    back: Sequence[int] = ()
    before: int | None = None
    spoke: bool = False


def heard(state: object) -> Heard:
    """What the browser reports; anything malformed is left out."""
    if not isinstance(state, Mapping) or not state:
        return Heard()
    shown, back, before = (state.get(name) for name in ("shown", "back", "before"))
    return Heard(
        presses(state.get("presses")),
        shown if isinstance(shown, int) else None,
        [one for one in back if isinstance(one, int)][:BACK] if isinstance(back, list) else (),
        before if isinstance(before, int) and 0 < before < LARGEST else None,
        spoke=True,
    )


def presses(state: object) -> list[Press]:
    """The presses that the browser reports, in their order; anything malformed is left out."""
    found = []
    for one in state if isinstance(state, Sequence) and not isinstance(state, str) else ():
        if not isinstance(one, Mapping):
            continue
        press_id, item, decision, reason = (one.get(name) for name in ("id", "item", "decision", "reason"))
        made = _made(one.get("made"))
        if not (isinstance(press_id, str) and 0 < len(press_id) <= LONGEST and isinstance(item, int)):
            continue
        if decision in (*DECISIONS, "undo") and isinstance(reason, str | None) and made is not None:
            found.append(Press(press_id, item, str(decision), reason or None, made))
    return found


def _made(state: object) -> dict[int, int] | None:
    """Pairs of an item and a review; None where they are malformed."""
    if state is None:
        return {}
    if not isinstance(state, list) or len(state) > MOST:
        return None
    if not all(isinstance(pair, list) and len(pair) == 2 and all(map(_an_id, pair)) for pair in state):
        return None
    return dict(state)


def _an_id(value: object) -> bool:
    return isinstance(value, int) and 0 < value < LARGEST


def card(item: Item, number: int | None = None) -> Data:
    """What the browser may know of an item before its verdict.

    Audited items are like flagged ones here: no kind, no verdict, no score, p-value or severity, no word of a watch.
    An item that could not be inspected says so whatever its kind, since it has no heatmap; an escalated one says what
    people said of it.

    Args:
        item: open or escalated.
        number: of the model version that decided, the same whatever it said; None: none did.
    """
    picture = item.preview_sha256 or item.frame_sha256
    small = item.thumbnail_sha256 or picture
    said = standing(item.reviews) if item.state == "escalated" else []
    return {
        "id": item.id,
        "station": item.station,
        "product": item.product,
        "serial": item.serial or item.frame_id,
        "lot": item.lot or "",
        "model": None if number is None else f"v{number}",
        "time": item.event_at.isoformat(),
        "frame": f"/blob/{picture}" if picture else None,
        "thumbnail": f"/blob/{small}" if small else None,
        "heatmap": f"/heatmap/{item.heatmap_sha256}" if item.heatmap_sha256 else None,
        "failed": shown(item.reason or "not_inspected") if item.verdict == "not_inspected" else None,
        "said": [f"{one.user}: {_words(one)}" for one in said],
    }


def past(act: Sequence[Review], item: Item, number: int | None = None) -> Data:
    """A verdict of one's own that may be taken back; of many at once the reviews by item, and no card.

    Args:
        act: its reviews.
        item: of the first one.
        number: as for `card`.
    """
    review, *others = act
    many = {"made": [[one.item_id, one.id] for one in act]} if others else {"card": card(item, number)}
    return {
        "item": item.id,
        "decision": review.decision,
        "reason": review.reason,
        "time": review.created_at.isoformat(),
        **many,
    }


def back(done: Bulk) -> str:
    """What the undo of many did, in words."""
    words = several("{n:,} part is back in the queue", "{n:,} parts are back in the queue", len(done.done))
    if done.refused:
        (_, why), *_ = done.refused
        words += "; " + say("{n:,} could not be taken back: {why}", n=len(done.refused), why=retold(why))
    return words + (f"; {learnt(done.live)}" if done.live else "")


def learnt(number: int) -> str:
    """What a person is told whose undo took back a sample that is in the live model."""
    return say("v{number}, which is live, learnt from it: tell an engineer", number=number)


def became(outcome: Outcome) -> str:
    """What a verdict did, in words."""
    if outcome.state == "open":
        return say("a second person looks at it, too")
    if outcome.state == "escalated":
        return say("an engineer decides")
    if outcome.unused:
        return say("no sample: {why}", why=retold(outcome.unused))
    if outcome.sample_state == "accepted":
        return say("now a {role} sample", role=shown(outcome.role or ""))
    return say("proposed for training")


def figures(item: Item, number: int | None, certificate: Mapping[str, Any] | None, scores: Histogram | None) -> Data:
    """The score of a closed item beside those of its station; {} before it is closed, and where it has no score.

    `x` and `bars` are in bins of severity (`agent.store.score_bins`); 0 is the review threshold.

    Args:
        item: as it is after its verdict.
        number: of the model version that decided.
        certificate: the record that decided; None where nothing was certified.
        scores: the severities at its station under the same deployment.
    """
    if item.state != "closed" or item.score is None:
        return {}
    told: Data = {"score": f"{item.score:.2f}", "p": None if item.p_value is None else f"{item.p_value:.2g}"}
    told |= {"model": None if number is None else f"v{number}", "verdict": shown(item.verdict)}
    review = (certificate or {}).get("review_threshold")
    if item.severity is None or review is None or scores is None:
        return told
    limits = [{"name": say("review"), "x": 0.0, "score": f"{review:.2f}"}]
    reject = (certificate or {}).get("reject_threshold")
    if reject is not None and item.score != review:
        # The unit of severity is the certificate's own; this item's score and severity say which.
        severity = (reject - review) * item.severity / (item.score - review)
        limits.append({"name": say("reject"), "x": place_of(severity), "score": f"{reject:.2f}"})
    bars = [[number, scores.counts[number]] for number in sorted(scores.counts)]
    return told | {"x": place_of(item.severity), "limits": limits, "bars": bars, "n": scores.n}


def _words(review: Review) -> str:
    said = ", ".join(named(one) for one in (review.decision, review.reason) if one)
    return f"{said} ({review.note})" if review.note else said
