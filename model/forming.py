"""From a trained learner and a memory to the default score: measured on validation normals, its form chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from model.distillation import Levels
from model.drawing import seed_of
from model.features import Features
from model.images import Prepared
from model.normalising import Advance, Reconstruct, measure_scales, smoothed_maps
from model.probe import probe, probed
from model.score import Normalisation, ScoreParameters, components, normalisation
from model.selection import Form, Judged, judge


@dataclass(frozen=True, slots=True)
class Version:
    """What can score: the trained learner, where there is one, and the memory's prototypes, K x D on the CPU.

    `owners` are whose patch each prototype is and `whose` each frame is, where the memory holds patches of the normals
    that it is measured on: then each of these is held against the others' patches only. None where it holds none.
    """

    reconstruct: Reconstruct | None
    prototypes: Tensor
    owners: Sequence[str] | None = None
    whose: Sequence[str] = ()

    def without(self, frame: int) -> Tensor:
        """The prototypes that a normal is held against; all, where there are no others."""
        if self.owners is None:
            return self.prototypes
        others = torch.tensor([owner != self.whose[frame] for owner in self.owners])
        return self.prototypes[others] if others.any() else self.prototypes


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A version's maps of validation normals, before their form is chosen.

    Attributes:
        scales: normalisation of the distance maps.
        normals: smoothed maps, n x C x canvas; C = 2: reconstruction and memory, or the memory alone.
        mask: n x canvas, 1 where inspected; None for everywhere.
    """

    scales: Normalisation
    normals: Tensor
    mask: Tensor | None

    def parameters(self, form: Form, prototypes: Tensor) -> ScoreParameters:
        """The score in one form."""
        counting = slice(None) if 0 < form.share < 1 or self.normals.shape[1] == 1 else slice(*_ONLY[form.share])
        found = normalisation(self.normals[:, counting], self.mask, positional=form.positional)
        position = Normalisation(found.mean.cpu(), found.deviation.cpu())
        return ScoreParameters(self.scales, position, form.share, prototypes)


_ONLY = {0.0: (0, 1), 1.0: (1, 2)}


def measure(features: Features, validation: Sequence[int], version: Version, advance: Advance) -> Measured:
    """Measures a version on its validation normals; `advance` hears of frames, of each twice."""
    scales = measure_scales(features, validation, version.reconstruct, advance)
    together = [validation] if version.owners is None else [[frame] for frame in validation]
    maps = [
        smoothed_maps(features, some, version.reconstruct, version.without(some[0]), scales, advance)
        for some in together
    ]
    return Measured(scales, torch.cat(maps), features.mask(validation))


def probe_all(
    measured: Measured,
    features: Features,
    validation: Sequence[int],
    version: Version,
    candidates: Sequence[Form],
    load: Callable[[int], Prepared],
    seed: int,
    advance: Advance,
) -> list[Judged]:
    """How well each candidate tells pseudo-defects from the normals they were made of.

    Args:
        measured: the version's maps of `validation`.
        features: that encode tiles.
        validation: frame numbers.
        version: see there.
        candidates: forms; a single one is not probed.
        load: a frame's number -> the prepared frame.
        seed: of the pseudo-defects, with each frame's own pixels.
        advance: hears of frames.
    """
    if len(candidates) == 1:
        return [Judged(candidates[0], float("nan"))]
    frames = probed(validation, features.spec, measured.normals.shape[1])
    size = (features.spec.height, features.spec.width)

    def raw(levels: Levels, prototypes: Tensor) -> Tensor:
        near, scales = prototypes.to(levels[0].device), measured.scales
        moved = Normalisation(scales.mean.to(near), scales.deviation.to(near))
        return components(levels, version.reconstruct and version.reconstruct(levels), moved, near, size)

    pseudo = []
    for frame in frames:
        rng = np.random.default_rng(seed_of(features.hashes[frame], seed, "pseudo"))
        held_against = partial(raw, prototypes=version.without(frame))
        pseudo.append(probe(load(frame), features.spec, features.encode, held_against, rng))
        advance(1)
    advance(len(validation) - len(frames))  # those that need not be probed
    at = [list(validation).index(frame) for frame in frames]
    mask = None if measured.mask is None else measured.mask[at].cpu()
    return judge(measured.normals[at].cpu(), torch.stack(pseudo), candidates, mask)
