"""What the gate said of a challenger, check by check. Pure."""

from __future__ import annotations

from agent.phrases import MADE, remade
from agent.store.runs import GateReport
from dashboard.words import later, retold, say

CHECKS = {
    "false_alarms": later("false alarms"), "holdout": later("hold-out"), "defects": later("defects"),
    "flagged_defects": later("flagged defects"), "bank": later("bank"),
    "approved": later("approved normals"), "unchecked": later("unchecked normals"), "latency": later("latency"),
}  # fmt: skip
STATES = {
    "fail": later("✖ fails"), "person": later("⚠ needs a person"), "ok": later("✔ passes"),
    "too_small": later("– too few to tell"),
}  # fmt: skip
VERDICTS = {
    "pass": later("It passes."), "fail": later("It fails: the challenger is rejected."),
    "needs_person": later("A person decides."),
}  # fmt: skip


def rows(report: GateReport) -> list[dict[str, object]]:
    """A row a check, what decided first."""
    return [
        {later("Check"): say(CHECKS.get(check, check)), later("Outcome"): say(STATES[state]), later("Found"): text}
        if check
        else {later("Found"): text}
        for check, state, text in _found(report)
    ]


def words(report: GateReport) -> str:
    """All that it found, in one line."""
    return "; ".join(text for *_, text in _found(report))


def _found(report: GateReport) -> list[tuple[str, str, str]]:
    """Check, outcome and words: `words` has them in this order, and `numbers` names their states; "" where it does not.

    They are said as `numbers` has them made, of an earlier release in English.
    """
    order = list(STATES)
    states: dict[str, str] = report.numbers.get("findings", {})
    made: dict[str, object] = report.numbers.get(MADE, {})
    checks = sorted(states.items(), key=lambda one: order.index(one[1]))
    said = report.words.split("; ")
    if len(said) != len(checks):
        return [("", "", text) for text in said]
    return [
        (check, state, retold(remade(text, made.get(check)))) for (check, state), text in zip(checks, said, strict=True)
    ]
