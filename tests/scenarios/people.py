"""What people do in a scenario, all through agent.service: operators review, an engineer decides on what is held up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from agent.service import reviews
from agent.service import samples as service
from agent.store import items, proposals, samples
from agent.store.drawing import Drawing
from agent.store.engine import reading
from tests.scenarios.plant import Plant

PAGE = 50


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Items that operators closed, by what they were."""

    audit_normal: int = 0
    audit_defect: int = 0
    flagged_normal: int = 0
    flagged_defect: int = 0

    def __add__(self, other: Reviewed) -> Reviewed:
        return Reviewed(
            self.audit_normal + other.audit_normal,
            self.audit_defect + other.audit_defect,
            self.flagged_normal + other.flagged_normal,
            self.flagged_defect + other.flagged_defect,
        )


def review(plant: Plant) -> Reviewed:
    """Operators in turn close every open item of the queue, as the parts are."""
    counts: Counter[str] = Counter()
    while True:
        with reading(plant.engine) as conn:
            found = items.queue(conn, product_id=plant.product.id, limit=PAGE)
        if not found:
            return Reviewed(**counts)
        for item in found:
            kind = plant.truth[str(item.serial)].kind
            said = "defect" if kind else "normal"
            reviews.decide(
                plant.engine, plant.people.operators[item.id % 2], item.id, said, kind,
                rules=plant.settings.samples, drawn=Drawing(plant.settings.audit, plant.settings.certificate),
                key=f"review-{item.id}", now=plant.clock(),
            )  # fmt: skip
            counts[f"{item.kind}_{said}"] += 1


def waiting(plant: Plant) -> int:
    """Proposals that no quarantine check has looked at."""
    with reading(plant.engine) as conn:
        return proposals.counts(conn, plant.product.id).get("proposed", 0)


def to_compare_again(plant: Plant) -> bool:
    """Whether a check shall look again at what it held up."""
    with reading(plant.engine) as conn:
        return bool(proposals.again(conn, plant.product.id, 1))


def second_look(plant: Plant, *, all: bool) -> int:
    """The engineer, who reviewed none of them, accepts what the quarantine held up, which are all good parts; how many.

    All of them, or only as many as it takes until the others are compared with them.
    """
    with reading(plant.engine) as conn:
        held = samples.all(conn, plant.product.id, "train", state="quarantined")
    for done, one in enumerate(sorted(held, key=lambda one: one.id)):
        if not all:
            with reading(plant.engine) as conn:
                if not proposals.missing(conn, plant.product.id):
                    return done
        service.accept(
            plant.engine, plant.people.engineer, one.id,
            drawn=Drawing(plant.settings.audit, plant.settings.certificate), key=f"accept-{one.id}", now=plant.clock(),
        )  # fmt: skip
    return len(held)
