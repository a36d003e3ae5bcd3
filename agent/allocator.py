"""How the process keeps the memory of frames that are done."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3), and their values.
_M_ARENA_MAX, _M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD = -8, -3, -1
_LARGEST = 32 << 20  # glibc takes no more
_KEPT = 128 << 20


def keep_freed() -> None:
    """Lets the C library's allocator use freed memory again instead of giving it back. Call it before threads start.

    By default glibc maps each frame's pixels and each of kafka-python's buffers anew, and the kernel clears their pages
    one fault at a time: a tenth to a fifth of the CPU time of a frame that costs nothing to score. One arena for all
    threads, so that what one of them frees serves the others, and the process is no larger for it. At most 128 MiB
    stay unused. Does nothing where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, value in ((_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _KEPT)):
        mallopt(parameter, value)
