"""How much may be in flight: frames, their bytes as received, and their decoded pixels with their maps."""

from __future__ import annotations

import threading


class Budget:
    """Counts what is between broker and database. Thread-safe.

    Half of the bytes are for frames as received, half for decoded pixels and the maps that scoring makes of them. The
    consumer's thread never blocks: it looks at `room` and pauses. Decoding waits, because pixels are given back by
    threads that wait for nobody.

    Args:
        frames: most frames in flight.
        limit: most bytes in flight. One frame larger than its half may pass alone.
    """

    def __init__(self, frames: int, limit: int) -> None:
        self.most_frames = frames
        self._half = limit // 2
        self._frames = self._received = self._pixels = 0
        self._changed = threading.Condition()

    @property
    def frames(self) -> int:
        """Frames in flight."""
        return self._frames

    @property
    def held(self) -> int:
        """Bytes in flight, received, and decoded with room for their maps."""
        with self._changed:
            return self._received + self._pixels

    @property
    def room(self) -> int:
        """Frames that may still be taken."""
        with self._changed:
            return 0 if self._received >= self._half else max(0, self.most_frames - self._frames)

    @property
    def low(self) -> bool:
        """Whether at most half of the budget is in use."""
        with self._changed:
            return self._frames * 2 <= self.most_frames and self._received * 2 <= self._half

    def take(self, size: int) -> None:
        """A frame of `size` bytes came in."""
        with self._changed:
            self._frames += 1
            self._received += size

    def give(self, size: int) -> None:
        """A frame is recorded or dropped."""
        with self._changed:
            self._frames -= 1
            self._received -= size
            self._changed.notify_all()

    def take_pixels(self, size: int, abandon: threading.Event) -> bool:
        """Waits for room for a frame's pixels and its map; False where `abandon` is set first."""
        with self._changed:
            while self._pixels and self._pixels + size > self._half:
                if abandon.is_set():
                    return False
                self._changed.wait(0.2)
            self._pixels += size
            return True

    def give_pixels(self, size: int) -> None:
        """Pixels are not needed any more."""
        with self._changed:
            self._pixels -= size
            self._changed.notify_all()

    def wait_empty(self, timeout_s: float) -> bool:
        """Waits until nothing is in flight."""
        with self._changed:
            return self._changed.wait_for(lambda: self._frames == 0, timeout_s)
