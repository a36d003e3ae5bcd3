"""Where the teacher's levels of all tiles are kept: in the device's memory, in a memory map, or nowhere."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from model.distillation import Levels

Encode = Callable[[Tensor], Levels]  # uint8 tiles on the CPU, N x height x width x 3 -> levels on the device
CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes that the levels may take: in the device's memory, and on disk among temporary files."""

    memory: int
    disk: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What is kept of how many tiles.

    Attributes:
        tiles: their number.
        height, width: of a tile in pixels.
        channels: of its levels, at strides 4, 8, 16.
        dtype: of the levels.
    """

    tiles: int
    height: int
    width: int
    channels: tuple[int, int, int]
    dtype: torch.dtype

    @property
    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Of each level of all tiles, channels last."""
        return [
            (self.tiles, self.height // stride, self.width // stride, channels)
            for stride, channels in zip((4, 8, 16), self.channels, strict=True)
        ]

    @property
    def size(self) -> int:
        """Bytes of all levels."""
        return sum(map(prod, self.shapes)) * self.dtype.itemsize


class Store(Protocol):
    """Tiles go in once, in order; their levels come out in any order, as often as wanted."""

    def put(self, start: int, tiles: Tensor) -> None:
        """Takes uint8 N x height x width x 3 on the CPU as the tiles from number `start` on."""

    def take(self, numbers: Sequence[int]) -> Levels:
        """The levels of some tiles, on the device, N x C x h x w, channels last."""


class Kept:
    """Encodes each tile once and keeps its levels in `buffers`, whose layout has channels last."""

    def __init__(self, encode: Encode, buffers: Sequence[Tensor], device: torch.device):
        self._encode, self._buffers, self._device = encode, buffers, device

    def put(self, start: int, tiles: Tensor) -> None:
        for buffer, level in zip(self._buffers, self._encode(tiles), strict=True):
            buffer[start : start + len(tiles)] = level.permute(0, 2, 3, 1)

    def take(self, numbers: Sequence[int]) -> Levels:
        at = torch.tensor(numbers).to(self._buffers[0].device, non_blocking=True)
        first, second, third = (
            buffer.index_select(0, at).to(self._device).permute(0, 3, 1, 2) for buffer in self._buffers
        )
        return first, second, third


class Recomputed:
    """Keeps the pixels, a fifth of the levels or less, and encodes whenever levels are wanted."""

    def __init__(self, encode: Encode, layout: Layout):
        self._encode = encode
        self._pixels = torch.empty(layout.tiles, layout.height, layout.width, 3, dtype=torch.uint8)

    def put(self, start: int, tiles: Tensor) -> None:
        self._pixels[start : start + len(tiles)] = tiles

    def take(self, numbers: Sequence[int]) -> Levels:
        first, second, third = self._encode(self._pixels[torch.tensor(numbers)])
        last = torch.channels_last
        return (
            first.contiguous(memory_format=last),
            second.contiguous(memory_format=last),
            third.contiguous(memory_format=last),
        )


def open_store(encode: Encode, layout: Layout, device: torch.device, room: Room) -> Store:
    """Memory where the levels fit; else a memory map on the CPU; else, or on a GPU, they are recomputed.

    A GPU computes them faster than they come back over the bus from a map.
    """
    if layout.size <= room.memory:
        buffers = [torch.empty(shape, dtype=layout.dtype, device=device) for shape in layout.shapes]
        return Kept(encode, buffers, device)
    if device.type == "cpu" and layout.size <= room.disk:
        with suppress(OSError):  # someone else has filled the disk since
            return Kept(encode, _mapped(layout), device)
    return Recomputed(encode, layout)


def _mapped(layout: Layout) -> list[Tensor]:
    """Buffers in a temporary file without a name: its space is freed with the last of them, however that ends."""
    with tempfile.TemporaryFile() as file:
        os.posix_fallocate(file.fileno(), 0, layout.size)  # a full disk fails here, not as a bus error later
        whole = torch.frombuffer(mmap.mmap(file.fileno(), layout.size), dtype=layout.dtype)
    parts = torch.split(whole, [prod(shape) for shape in layout.shapes])
    return [part.view(shape) for part, shape in zip(parts, layout.shapes, strict=True)]


def half_of_what_is_free(device: torch.device, processes: int) -> Room:
    """The room that training takes by itself, where this many processes share the machine's memory and disk."""
    disk = shutil.disk_usage(tempfile.gettempdir()).free // (2 * processes)
    if device.type == "cuda":
        return Room(torch.cuda.mem_get_info(device)[0] // 2, disk)
    return Room(available_memory() // (2 * processes), disk)


def available_memory() -> int:
    """Bytes of RAM that this process may still take: the machine's, within its control group's limit."""
    rows = dict(row.split(":") for row in Path("/proc/meminfo").read_text().splitlines())
    available = int(rows["MemAvailable"].split()[0]) * 1024
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text())
        stat = dict(row.split() for row in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such limit
        return available
    return max(0, min(available, limit - int(stat["anon"])))  # page cache gives way, what is allocated does not
