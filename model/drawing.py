"""What a training draws from its images: each image by a key of its own, so that one more changes no other's draw.

A challenger learns from nearly the images that the champion learnt from. Drawn anew as a whole, other validation
normals and other prototypes would part the two by as much as what was learnt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from model import memory
from model.errors import TOO_LITTLE, TrainingError
from model.features import Features
from model.statistics import keyed_fraction

SHARE = 5  # one image of this many is a validation normal
JUDGED = 400 * 256 * 256  # or so many pixels of maps, where a memory is all that there is
FEWEST_PARTS = 5  # with fewer, images are drawn one by one: a fifth of them could not be held back


def owners(hashes: Sequence[str], parts: Sequence[str] | None, fewest: int = FEWEST_PARTS) -> Sequence[str]:
    """Whose each frame is: its part's, or, where parts are not named or fewer than that, its own pixels'."""
    return hashes if parts is None or len(set(parts)) < fewest else parts


def held_back(hashes: Sequence[str], parts: Sequence[str] | None, seed: int, at_least: int = 0) -> list[int]:
    """The frames that are validation normals, ascending: whole parts in the order of their keys, up to a fifth.

    Args:
        hashes: of each frame's pixels.
        parts: whose frame each is; None, or fewer than five of them: every frame is a part of its own.
        seed: of the keys.
        at_least: frames, where a fifth is fewer.
    """
    whose = owners(hashes, parts)
    order = sorted(range(len(whose)), key=lambda at: (fraction(whose[at], seed, "validation"), whose[at]))
    wanted, held = max(1, len(whose) // SHARE, min(at_least, len(whose))), list[int]()
    for _, frames in groupby(order, key=whose.__getitem__):
        whole = list(frames)
        held += whole if len(held) + len(whole) <= wanted else []
    return sorted(held or order[:wanted])


def prototypes(
    features: Features, fitted: Sequence[int], seed: int, advance: Callable[[int], None]
) -> tuple[Tensor, list[int]]:
    """The patch memory of the fitted frames, K x D on the CPU, and the frame of each row; `advance` hears of frames.

    Raises:
        TrainingError: none of their patches is inspected.
    """
    hashes, rows, frames = features.hashes, [], list[int]()
    for frame in sorted(fitted, key=lambda at: fraction(hashes[at], seed, "memory")):
        rows.append(candidates(features, frame, len(fitted), seed))
        frames += [frame] * len(rows[-1])
        advance(1)
    found = torch.cat(rows)
    if not len(found):
        raise TrainingError(TOO_LITTLE)
    at = memory.chosen(found, memory.PROTOTYPES, seed)
    return found[at].cpu(), [frames[one] for one in at.tolist()]


def candidates(features: Features, frame: int, frames: int, seed: int) -> Tensor:
    """What one of some frames gives to choose prototypes among: M x D of its inspected patches, drawn by its key."""
    tiles = features.tiles_of([frame])
    own = memory.inspected(memory.patches(features.batch(tiles)), features.level_masks(tiles))
    return memory.drawn(own, frames, seed_of(features.hashes[frame], seed, "memory"))


def fraction(key: str, seed: int, purpose: str) -> float:
    """A number in [0, 1) of a key, as `keyed_fraction`; each purpose has its own."""
    return keyed_fraction(seed.to_bytes(16, "big"), purpose, key)


def seed_of(key: str, seed: int, purpose: str) -> int:
    """The seed of a generator that is a key's own, 0 .. 2**53."""
    return int(fraction(key, seed, purpose) * (1 << 53))
