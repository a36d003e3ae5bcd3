"""The frozen teacher's features of all images, computed once: training sees them again and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.distillation import Levels
from model.images import Frame, InputSpec, Mask, pixels_sha256, prepare
from model.stores import Layout, Room, Store, open_store
from model.teacher import Teacher

Load = Callable[[], Frame]
BATCH = 16  # tiles encoded at once
NORMALS = 32  # tiles kept as pixels, of whole frames; more where these are fewer than FEWEST frames
FEWEST = 4


class Features:
    """The teacher's levels of every tile, in the teacher's format, wherever `room` allows them.

    Tiles are numbered frame by frame: tile t of frame f is number f * spec.tiles + t.

    Attributes:
        computed: tiles that went through the teacher.
        hashes: SHA-256 of each frame's pixels, in order.
        normals: all tiles of some frames, frame by frame, uint8 n x height x width x 3.
    """

    def __init__(self, teacher: Teacher, spec: InputSpec, device: torch.device, room: Room):
        self._teacher, self.spec, self._device, self._room = teacher, spec, device, room
        self._masks: list[Mask | None] = []
        self._pixels: list[Frame] = []  # each of all tiles of a frame
        self.hashes: list[str] = []
        self.computed = 0

    @property
    def frames(self) -> int:
        return len(self.hashes)

    @property
    def normals(self) -> Tensor:
        return torch.from_numpy(np.concatenate(self._pixels))

    @property
    def data_sha256(self) -> str:
        """Of the frames' hashes, whatever their order."""
        return sha256("\n".join(sorted(self.hashes)).encode()).hexdigest()

    def compute(self, images: Sequence[Frame | Load], on_frames: Callable[[int], None]) -> None:
        """Loads, prepares and encodes the images, in order; `on_frames` hears how many are done."""
        wanted = min(max(NORMALS // self.spec.tiles, FEWEST), len(images))
        kept = set(np.linspace(0, len(images) - 1, wanted).round().astype(int).tolist())
        self._store = self._open(len(images))
        step = max(1, BATCH // self.spec.tiles)
        for start in range(0, len(images), step):
            frames = [image() if callable(image) else image for image in images[start : start + step]]
            prepared = [prepare(frame, self.spec) for frame in frames]
            self._masks += [one.mask for one in prepared]
            self._pixels += [one.tiles for at, one in enumerate(prepared, start) if at in kept]
            tiles = np.concatenate([one.tiles for one in prepared])
            self._store.put(start * self.spec.tiles, torch.from_numpy(tiles))
            self.hashes += map(pixels_sha256, frames)
            on_frames(len(self.hashes))

    def _open(self, frames: int) -> Store:
        spec, encoder = self.spec, self._teacher.encoder
        dtype = next(encoder.parameters()).dtype
        layout = Layout(frames * spec.tiles, spec.height, spec.width, self._teacher.kind.channels, dtype)
        return open_store(self.encode, layout, self._device, self._room)

    def encode(self, tiles: Tensor) -> Levels:
        self.computed += len(tiles)
        images = tiles.to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        levels: Levels = self._teacher(images)
        return levels

    def tiles_of(self, frames: Sequence[int]) -> list[int]:
        """The numbers of all tiles of some frames."""
        count = self.spec.tiles
        return [frame * count + tile for frame in frames for tile in range(count)]

    def inspected_tiles(self, frames: Sequence[int]) -> list[int]:
        """The numbers of those tiles of some frames of which any feature is inspected."""
        found = []
        for frame in frames:
            tiles = self.tiles_of([frame])
            masks = self.level_masks(tiles)
            found += (
                tiles if masks is None else [tile for tile, mask in zip(tiles, masks[0], strict=True) if mask.any()]
            )
        return found

    def batch(self, tiles: Sequence[int]) -> Levels:
        """The three levels of some tiles, on the device, channels last."""
        return self._store.take(tiles)

    def mask(self, frames: Sequence[int]) -> Tensor | None:
        """Float N x canvas, 1 where inspected; None where the spec masks nothing."""
        if not self.spec.masked:
            return None
        full = np.ones(self.spec.canvas, np.bool_)
        masks = [self._masks[frame] for frame in frames]
        stacked = np.stack([full if mask is None else mask for mask in masks])
        return torch.from_numpy(stacked).to(self._device, torch.float32)

    def level_masks(self, tiles: Sequence[int]) -> Levels | None:
        """Per level, float N x 1 x h x w: 1 where at least half of a feature's pixels are inspected."""
        canvas = self.mask([tile // self.spec.tiles for tile in tiles])
        if canvas is None:
            return None
        corners = [self.spec.corners[tile % self.spec.tiles] for tile in tiles]
        cut = torch.stack([
            mask[top : top + self.spec.height, left : left + self.spec.width]
            for mask, (top, left) in zip(canvas, corners, strict=True)
        ])[:, None]  # fmt: skip
        first, second, third = ((F.avg_pool2d(cut, stride) >= 0.5).float() for stride in (4, 8, 16))
        return first, second, third
