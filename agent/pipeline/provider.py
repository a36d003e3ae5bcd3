"""Who scores a product's frames now. The scorer's own kind stays open: torch, or what a test puts here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from agent.phrases import Phrase
from agent.pipeline.streak import Streak

if TYPE_CHECKING:
    from model.certificate import Certificate
    from model.images import Frame, InputSpec

BELIEVED = 20  # frames in a row that a companion fails on before that is told
LONGEST = 400  # characters of what a library says of that


class Scored(Protocol):
    """One frame's score, map and pooled features, as model.engines.Scored."""

    @property
    def score(self) -> float: ...

    @property
    def map(self) -> Any: ...

    @property
    def features(self) -> Any: ...


class Scorer(Protocol):
    """What model.engines.Scorer offers the stream."""

    @property
    def spec(self) -> InputSpec:
        """The model's input: how a map lies in its frame."""

    @property
    def fingerprint(self) -> str:
        """Engine, precision, version and input: what a certificate is bound to."""

    @property
    def space(self) -> str:
        """Of its features: those of another are not to be compared with them."""

    @property
    def artifact_sha256(self) -> str:
        """The artifact that it runs."""

    def score(self, frames: Sequence[Frame]) -> Sequence[Scored]:
        """Scores frames together; raises where one of them, or the engine, fails."""

    def warm_up(self) -> None:
        """Scores a made-up frame; raises where the engine fails."""


def speaks_of(certificate: Certificate | None, scorer: Scorer) -> bool:
    """Whether a certificate has thresholds, and they are those of this very scorer."""
    return (
        certificate is not None
        and certificate.certified
        and certificate.fingerprint == scorer.fingerprint
        and certificate.artifact_sha256 == scorer.artifact_sha256
    )


class Failing:
    """Whether a companion fails on whatever it is given. For the scoring thread; `problem` is for every thread.

    Attributes:
        problem: what it fails with, once it has failed on `BELIEVED` frames in a row; None from its next score on.
    """

    def __init__(self) -> None:
        self._streak = Streak(BELIEVED, 1)
        self.problem: str | None = None

    def see(self, error: Exception | None) -> None:
        """Takes one frame, and why it has no score."""
        if not self._streak.see(error is not None):
            return
        last = f"{type(error).__name__}: {error}"[:LONGEST]
        words = Phrase("{n} frames in a row failed, the last with {error}", n=BELIEVED, error=last)
        self.problem = None if error is None else words


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """A second model that scores a share of the parts beside what decides; its certificate speaks of its scorer.

    Attributes:
        watch_id: whose it is.
        share: of the parts.
        judged: whether its scores are recorded; its flags make items all the same.
        failing: what becomes of the frames that it is given.
    """

    watch_id: int
    scorer: Scorer
    certificate: Certificate
    share: float
    judged: bool = True
    failing: Failing = field(default_factory=Failing)


@dataclass(frozen=True, slots=True, eq=False)
class Deployed:
    """What decides for a product: immutable, so that a batch has exactly one."""

    deployment_id: int | None
    scorer: Scorer
    certificate: Certificate | None
    companion: Companion | None = None

    @property
    def certified(self) -> bool:
        """Whether the certificate speaks of this very scorer."""
        return speaks_of(self.certificate, self.scorer)

    @property
    def map_bytes(self) -> int:
        """What a frame's map takes: float32, of whichever scorer has the larger canvas."""
        specs = [self.scorer.spec, *([self.companion.scorer.spec] if self.companion else [])]
        return 4 * max(height * width for height, width in (one.canvas for one in specs))


class Deciding(Protocol):
    """Knows what decides for a product. Never waits."""

    def current(self, product_id: int) -> Deployed | None:
        """What decides for the product; None where it has no model."""

    def broken(self, product_id: int) -> bool:
        """Whether the product has a model that cannot be used; what has none yet, or is being loaded, is not broken."""

    def all(self) -> Collection[Deployed]:
        """Everything in use."""


class Provider(Deciding, Protocol):
    """Gives the scorer of a product, as it changes."""

    def start(self) -> None:
        """Makes ready what is live now, then follows changes."""

    def problems(self) -> str | None:
        """Why some product's model is not in use; None where all are."""

    def stop(self) -> None:
        """Follows no more changes."""
