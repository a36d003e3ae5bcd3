"""What the gate said of a challenger, check by check. Pure."""

from __future__ import annotations

from agent.store.runs import GateReport
from dashboard.words import later, say

CHECKS = {
    "false_alarms": later("false alarms"), "holdout": later("hold-out"), "defects": later("defects"),
    "flagged_defects": later("flagged defects"), "bank": later("bank"), "latency": later("latency"),
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
    """A row a check, what decided first: `words` has the findings in this order, and `numbers` names their states."""
    order = list(STATES)
    found: dict[str, str] = report.numbers.get("findings", {})
    checks = sorted(found.items(), key=lambda one: order.index(one[1]))
    said = report.words.split("; ")
    if len(said) != len(checks):
        return [{later("Found"): one} for one in said]
    return [
        {later("Check"): say(CHECKS.get(check, check)), later("Outcome"): say(STATES[state]), later("Found"): text}
        for (check, state), text in zip(checks, said, strict=True)
    ]
