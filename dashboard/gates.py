"""What the gate said of a challenger, check by check. Pure."""

from __future__ import annotations

from agent.store.runs import GateReport

CHECKS = {
    "false_alarms": "false alarms", "holdout": "hold-out", "defects": "defects", "flagged_defects": "flagged defects",
    "bank": "bank", "latency": "latency",
}  # fmt: skip
STATES = {"fail": "✖ fails", "person": "⚠ needs a person", "ok": "✔ passes", "too_small": "– too few to tell"}
VERDICTS = {"pass": "It passes.", "fail": "It fails: the challenger is rejected.", "needs_person": "A person decides."}


def rows(report: GateReport) -> list[dict[str, object]]:
    """A row a check, what decided first: `words` has the findings in this order, and `numbers` names their states."""
    order = list(STATES)
    found: dict[str, str] = report.numbers.get("findings", {})
    checks = sorted(found.items(), key=lambda one: order.index(one[1]))
    said = report.words.split("; ")
    if len(said) != len(checks):
        return [{"Found": one} for one in said]
    return [
        {"Check": CHECKS.get(check, check), "Outcome": STATES[state], "Found": text}
        for (check, state), text in zip(checks, said, strict=True)
    ]
