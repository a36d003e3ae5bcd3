"""The one graph that scores: pixels in, anomaly map, image score and pooled features out. Every engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from model import memory
from model.anomaly_map import blend, distances, hann, image_score, smooth
from model.distillation import Learner, Levels
from model.images import InputSpec
from model.score import ScoreParameters
from model.separable import gaussian, interpolation, separably
from model.teacher import Teacher

SCALES = 3  # of the reconstruction
STRIDES = (4, 8, 16)
MEMORY = 1  # the scale whose size the memory's map has


class ScoringNetwork(nn.Module):
    """Teacher, learner and score as one module without branches on data.

    Its two halves can be run apart, the first in a lower precision or quantised: maps as small as the teacher's levels
    are all that goes from one to the other.

    Args:
        teacher: frozen encoder.
        learner: trained; None where only the memory counts.
        parameters: of the score.
        spec: of the input.
    """

    def __init__(self, teacher: Teacher, learner: Learner | None, parameters: ScoreParameters, spec: InputSpec):
        super().__init__()
        self.spec = spec
        self.comparison = Comparison(teacher, learner, parameters, spec)
        self.fusion = Fusion(parameters, spec)

    def forward(self, tiles: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Scores frames.

        Args:
            tiles: uint8 (N * T) x height x width x 3, RGB, as `model.images.prepare` gives them.
            mask: float or bool N x canvas, 1 where inspected; needed exactly where the spec is masked.

        Returns:
            Scores N; maps N x canvas; the teacher's third level averaged over each frame, N x channels. All float32.
        """
        features, *small = self.comparison(tiles)
        scores, maps = self.fusion(small, mask)
        return scores, maps, features


class Comparison(nn.Module):
    """The heavy half: tiles -> distances to the student and to the memory, as small as the levels are."""

    def __init__(self, teacher: Teacher, learner: Learner | None, parameters: ScoreParameters, spec: InputSpec):
        super().__init__()
        self.teacher, self.learner, self._tiles = teacher, learner if parameters.reconstructs else None, spec.tiles
        self.register_buffer("mean", parameters.scales.mean, persistent=False)
        self.register_buffer("deviation", parameters.scales.deviation, persistent=False)
        self.register_buffer("prototypes", parameters.prototypes if parameters.remembers else None, persistent=False)

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """The frames' features N x channels; the scales' normalised distances, then the memory's: N * T x h x w."""
        return self.compared(cast(Levels, self.teacher(tiles.permute(0, 3, 1, 2))))

    def compared(self, levels: Levels) -> tuple[Tensor, ...]:
        """As `forward`, from the teacher's levels on."""
        maps: list[Tensor] = []
        if self.learner is not None:
            mean, deviation = cast(Tensor, self.mean), cast(Tensor, self.deviation)
            student = self.learner(levels)
            maps += [(scale - mean[at]) / deviation[at] for at, scale in enumerate(distances(levels, student))]
        if self.prototypes is not None:
            maps.append(memory.nearest(memory.patches(levels), cast(Tensor, self.prototypes)))
        features = levels[2].float().mean((2, 3)).reshape(-1, self._tiles, levels[2].shape[1]).mean(1)
        return features, *maps


class Fusion(nn.Module):
    """The light half, always in float32: distances -> enlarged, blended, smoothed, normalised, summed.

    The map is exactly that of `model.score` and `model.anomaly_map`. Where there is one tile and no mask, enlarging and
    smoothing are one matrix for each side, and nothing is smoothed at full size.
    """

    def __init__(self, parameters: ScoreParameters, spec: InputSpec):
        super().__init__()
        self.spec, self._share = spec, parameters.share
        self._groups = [list(range(SCALES))] if parameters.reconstructs else []
        strides = list(STRIDES) if parameters.reconstructs else []
        if parameters.remembers:
            self._groups.append([len(strides)])
            strides.append(STRIDES[MEMORY])
        self._plain = spec.tiles == 1 and not spec.masked
        for at, stride in enumerate(strides):
            for name, side in (("rows", spec.height), ("columns", spec.width)):
                enlarge = interpolation(side // stride, side)
                matrix = gaussian(side) @ enlarge if self._plain else enlarge
                self.register_buffer(f"{name}{at}", matrix.float(), persistent=False)
        for name, tensor in (
            ("mean", parameters.position.mean), ("deviation", parameters.position.deviation),
            ("shares", hann(spec) if spec.tiles > 1 else None),
        ):  # fmt: skip
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, small: Sequence[Tensor], mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps of the comparison, mask as of the network -> scores N, maps N x canvas."""
        large = [
            separably(one.float(), getattr(self, f"rows{at}"), getattr(self, f"columns{at}"))
            for at, one in enumerate(small)
        ]
        raw = torch.stack([torch.stack([large[at] for at in group]).sum(0) for group in self._groups], 1)
        smoothed = raw if self._plain else smooth(blend(raw, self.spec, cast(Tensor, self.shares)), mask)
        normal = (smoothed - cast(Tensor, self.mean)) / cast(Tensor, self.deviation)
        maps = normal[:, 0] if len(self._groups) == 1 else torch.lerp(normal[:, 0], normal[:, 1], self._share)
        if mask is not None:
            maps = fill(maps, mask)
        return image_score(maps), maps


def fill(maps: Tensor, mask: Tensor) -> Tensor:
    """Gives what is not inspected each map's smallest inspected value, so that it never decides."""
    inside = mask > 0
    smallest = torch.where(inside, maps, torch.inf).flatten(1).amin(1)
    return torch.where(inside, maps, smallest[:, None, None])
