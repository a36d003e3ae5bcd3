"""What the steps of a training run work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from agent.phrases import Phrase
from agent.retrain.errors import RetrainError
from agent.settings import Settings
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore
from agent.store.samples import Sample
from model import images


@dataclass(frozen=True, slots=True)
class Bench:
    """What a run works with. `threads` limits training and scoring; 0 = all cores."""

    engine: Engine
    blobs: BlobStore
    settings: Settings
    clock: Callable[[], datetime]
    threads: int = 0

    def load(self, sample: Sample) -> images.Frame:
        """A sample's image.

        Raises:
            RetrainError: it cannot be read; the message says how to take it out.
        """
        try:
            data = self.blobs.get(sample.blob_sha256)
            return images.decode(data, max_megapixels=self.settings.pipeline.max_megapixels)
        except (images.ImageError, BlobMissing, BlobCorrupt) as error:
            raise RetrainError(
                "sample {id} cannot be read: {problem}; take it out: {how}",
                id=sample.id, problem=str(error), how=_out(sample),
            ) from error  # fmt: skip


def _out(sample: Sample) -> Phrase:
    if sample.role == "train":
        return Phrase("goodpart samples revoke {id}", id=sample.id)
    group = "bank" if sample.role == "defect" else "samples"
    return Phrase(
        "goodpart {group} withdraw {id} --reason unreadable, and a second person confirms", group=group, id=sample.id
    )
