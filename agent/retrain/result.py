"""What a training run came to, for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.retrain.gate import Report
from model.certificate import Certificate


@dataclass(frozen=True, slots=True)
class RunResult:
    """One finished training run; `state` is promoted, shadow, rejected or needs_person."""

    run_id: int
    product: str
    state: str
    reason: str
    version_id: int
    number: int  # of the version
    certificate: Certificate
    report: Report | None  # None: the product's first model
    deployment_id: int | None  # None: not promoted
    seconds: float
    rests_on: str = ""  # which epoch the certificate rests on, in words

    @property
    def promoted(self) -> bool:
        """Whether the new version is live."""
        return self.state == "promoted"

    def describe(self) -> str:
        """A few lines for people: the outcome, the certificate, and what to do where a person is needed."""
        outcome = {
            "promoted": "is the champion",
            "shadow": "goes into a shadow",
            "rejected": "was rejected",
            "needs_person": "needs a person",
        }[self.state]
        lines = [f"{self.product} v{self.number} {outcome}: {self.reason}", self.certificate.describe(self.rests_on)]
        if self.report:
            lines.append(f"gate: {self.report.words}")
        of = f"{self.number} --product {self.product}"
        if self.promoted and not self.report:
            lines.append(
                f"look at the calibration parts that scored highest: goodpart models calibration {of} --out looks; one "
                "mislabelled defect among them would be the threshold"
            )
        if self.state == "needs_person":
            lines.append(f"see what its certificate rests on: goodpart models calibration {of}")
            lines.append(f'promote it: goodpart models promote {of} --reason "..."')
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "run": self.run_id,
            "product": self.product,
            "state": self.state,
            "reason": self.reason,
            "version": self.number,
            "seconds": round(self.seconds, 1),
            "certificate": self.certificate.to_dict(),
            "rests_on": self.rests_on,
            "gate": {"verdict": self.report.verdict, "numbers": self.report.numbers} if self.report else None,
        }
