"""What turns a network's distances into the product's score: normalisations and the patch memory's share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model import memory
from model.anomaly_map import blur, distances, upsample

FLOOR = 0.25  # a place's deviation counts at least this fraction of the usual one
LEAST = 1e-6
LEAST_SHARE = 0.01  # of the deviation as a whole, that places have usually

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Normalisation:
    """Mean and deviation over validation normals.

    Attributes:
        mean, deviation: float32, of shapes that broadcast over what they normalise; deviation is positive.
    """

    mean: Tensor
    deviation: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """(values - mean) / deviation."""
        return (values - self.mean) / self.deviation


@dataclass(frozen=True, slots=True, eq=False)
class ScoreParameters:
    """The default score of one model version. All tensors float32 on the CPU.

    Attributes:
        scales: of the three distance maps, shapes (3,).
        position: of the smoothed maps, shapes C x canvas or C x 1 x 1; C counts the components that count.
        share: of the memory's map in the sum, 0 .. 1.
        prototypes: K x D of the patch memory (see `model.memory`); None where there is none.
    """

    scales: Normalisation
    position: Normalisation
    share: float = 0.0
    prototypes: Tensor | None = None

    @property
    def reconstructs(self) -> bool:
        """Whether the student's distances count; not where a new product has only its memory yet."""
        return self.share < 1

    @property
    def remembers(self) -> bool:
        """Whether the memory counts."""
        return self.share > 0

    def to_tensors(self) -> dict[str, Tensor]:
        """For an artifact."""
        found = {
            "scales.mean": self.scales.mean, "scales.deviation": self.scales.deviation,
            "position.mean": self.position.mean, "position.deviation": self.position.deviation,
            "share": torch.tensor(self.share),
        }  # fmt: skip
        return found if self.prototypes is None else {**found, "prototypes": self.prototypes}

    @classmethod
    def from_tensors(cls, tensors: Tensors) -> ScoreParameters:
        """Reads what `to_tensors` wrote.

        Raises:
            KeyError: something is missing.
            ValueError, RuntimeError: the share is no number of 0 .. 1.
        """
        share = float(tensors["share"])
        if not 0 <= share <= 1:
            raise ValueError(f"a share of {share} of the memory")
        return cls(
            Normalisation(tensors["scales.mean"], tensors["scales.deviation"]),
            Normalisation(tensors["position.mean"], tensors["position.deviation"]),
            share,
            tensors.get("prototypes"),
        )


def paper() -> ScoreParameters:
    """The paper's score: the plain sum of the three maps."""
    return ScoreParameters(
        Normalisation(torch.zeros(3), torch.ones(3)), Normalisation(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    )


def components(
    teacher: Sequence[Tensor],
    student: Sequence[Tensor] | None,
    scales: Normalisation,
    prototypes: Tensor | None,
    size: tuple[int, int],
) -> Tensor:
    """The maps that are added up, before smoothing: N x C x size.

    First the reconstruction's (where there is a student), its scales' distances normalised and summed, then the
    memory's (where there are prototypes).
    """
    found: list[Tensor] = []
    if student is not None:
        normal = [
            (scale - scales.mean[at]) / scales.deviation[at] for at, scale in enumerate(distances(teacher, student))
        ]
        found.append(torch.stack([upsample(scale, size) for scale in normal]).sum(0))
    if prototypes is not None:
        found.append(upsample(memory.nearest(memory.patches(teacher), prototypes), size))
    return torch.stack(found, 1)


def normalisation(maps: Tensor, mask: Tensor | None, *, positional: bool) -> Normalisation:
    """Mean and deviation of smoothed maps of validation normals.

    As a whole: C x 1 x 1. Or at each place, C x H x W, for parts that lie alike in the frame: few normals say little of
    one place, so both moments are smoothed as the maps were, and a place that hardly varied counts at least a quarter
    of the maps' root mean square deviation; that is no less than a hundredth of the deviation as a whole, since one
    normal, or one that is there again and again, does not vary at all.

    Args:
        maps: float32 n x C x H x W.
        mask: n x H x W, 1 where inspected; None for everywhere.
        positional: at each place.
    """
    inside = torch.ones_like(maps[:, 0]) if mask is None else (mask > 0).to(maps.dtype)
    if not positional:
        weight = inside[:, None]
        mean = (maps * weight).sum((0, 2, 3)) / weight.sum()
        variance = (((maps - mean[:, None, None]) ** 2) * weight).sum((0, 2, 3)) / weight.sum()
        return Normalisation(mean[:, None, None], variance.sqrt().clamp_min(LEAST)[:, None, None])
    mean, variance = maps.mean(0), maps.var(0, correction=0)
    always = inside.amin(0)  # places that some frame leaves out tell nothing
    count = always.sum().clamp_min(1)
    centre, usual = ((moment * always).sum((1, 2), keepdim=True) / count for moment in (mean, variance))
    whole = (((maps - centre) ** 2) * inside[:, None]).sum((0, 2, 3)) / inside.sum().clamp_min(1)
    usual = usual.maximum(LEAST_SHARE**2 * whole[:, None, None]).clamp_min(LEAST**2)
    mean, variance = (torch.where(always > 0, *pair) for pair in ((mean, centre), (variance, usual)))
    return Normalisation(blur(mean[None])[0], torch.sqrt(blur(variance[None])[0] + FLOOR**2 * usual))
