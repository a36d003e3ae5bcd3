"""Next looks: whether an epoch's parts certify the review rate at the certificate that comes next.

Each certificate of an epoch is another look at its parts and may spend less of the error than the one before, so it
needs more of them. Source: goodpart's model.md, "Certificate".
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from agent.phrases import Phrase
from agent.settings import Certificates
from agent.store import certificates, epochs
from agent.store.epochs import Epoch
from agent.store.products import Product
from model.statistics import USELESS, best_rate, needed_n, threshold_delta


@dataclass(frozen=True, slots=True)
class NextLook:
    """The look that comes next at an epoch, and what is there for it. Its properties are pure functions of these.

    Attributes:
        epoch: which one.
        look: the how-manieth it will be.
        n: calibration parts that are there.
        review_rate: asked for.
        confidence: of the certificate.
    """

    epoch: Epoch
    look: int
    n: int
    review_rate: float
    confidence: float

    @property
    def needed(self) -> int:
        """Calibration parts that certify the review rate at this look."""
        return needed_n(self.review_rate, self.confidence, self.look)

    @property
    def enough(self) -> bool:
        """Whether so many are there."""
        return self.n >= self.needed

    @property
    def best(self) -> float | None:
        """The review rate that those which are there would certify; None for none below one half, of no use."""
        if self.enough:
            return self.review_rate
        rate = best_rate(self.n, threshold_delta(self.confidence, self.look)) if self.n else 1.0
        return rate if rate < USELESS else None

    @property
    def words(self) -> Phrase:
        """What it needs and what is there, for people."""
        look, needed, n, asked = self.look, self.needed, self.n, self.review_rate
        if self.enough:
            return Phrase(
                "{n} calibration parts are there, which certify {asked:.2%} (look {look} needs {needed}): a training "
                "run gives the next one",
                n=n, asked=asked, look=look, needed=needed,
            )  # fmt: skip
        would = Phrase("which would certify no useful rate")
        if self.best is not None:
            would = Phrase("which would certify {best:.2%}", best=self.best)
        return Phrase(
            "look {look} needs {needed} calibration parts for {asked:.2%}, and {n} are there, {would}: {how}",
            look=look, needed=needed, asked=asked, n=n, would=would, how=self.epoch.grows_by,
        )  # fmt: skip

    @property
    def waits(self) -> Phrase | None:
        """Why no training run starts by itself, in words: it would spend this look; None where it may."""
        if self.enough:
            return None
        return Phrase("no training run starts by itself: {look}", look=self.words)


def of_epoch(conn: Connection, epoch: Epoch, n: int, product: Product, rates: Certificates) -> NextLook:
    """The next look at an epoch of the product, of which `n` parts calibrate."""
    rate = product.review_rate or rates.review_rate
    return NextLook(epoch, 1 + certificates.looks(conn, epoch_id=epoch.id), n, rate, rates.confidence)


def of_product(conn: Connection, product: Product, rates: Certificates) -> NextLook | None:
    """The next look at the epoch that calibrates the product's next model; None where it has no epoch yet."""
    n = {epoch_id: held.calibration for epoch_id, held in epochs.held(conn, product.id).items()}
    epoch = epochs.chosen(epochs.of_product(conn, product.id), n, epochs.asked(product, rates))
    return of_epoch(conn, epoch, n.get(epoch.id, 0), product, rates) if epoch else None
