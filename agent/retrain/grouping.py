"""Which imported images show the same part: by their names, or because they were taken one right after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from agent.retrain.errors import ImportRefused

SerialOf = Callable[[Path], str | None]
GAP = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|min|h)")
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_EXIF, _TAKEN, _FRACTION = 0x8769, 0x9003, 0x9291  # Exif 2.3: the sub-directory, DateTimeOriginal, SubSecTimeOriginal


def serials(group_by: str | None, paths: Sequence[Path]) -> SerialOf:
    """What tells the part of an image.

    Args:
        group_by: a time such as `2s` (ms, s, min, h): an image belongs to the part of the one before it where no more
            time lies between them; by the capture time in their EXIF data where all have it, else by the files' times.
            Or a regular expression on the file name whose first group is the serial. None: each image is a part.
        paths: all images of the import.

    Raises:
        ImportRefused: it is neither. The returned function raises it where a name has no serial.
    """
    if group_by is None:
        return lambda _: None
    gap = GAP.fullmatch(group_by)
    if gap:
        return _by_time(paths, float(gap[1]) * SECONDS[gap[2]])
    return _by_name(group_by)


def _by_name(group_by: str) -> SerialOf:
    try:
        pattern = re.compile(group_by)
    except re.error as error:
        raise ImportRefused(f"{group_by!r} is not a regular expression: {error}") from None
    if not pattern.groups:
        raise ImportRefused(
            f"{group_by!r} has no group; write one around the serial, such as '(part[0-9]+)_', or a time such as 2s"
        )

    def serial(path: Path) -> str:
        match = pattern.search(path.name)
        if not match or not match[1]:
            raise ImportRefused(f"{path}: no serial found by {group_by!r} in its name")
        return match[1]

    return serial


def _by_time(paths: Sequence[Path], gap_s: float) -> SerialOf:
    taken = {path: _taken(path) for path in paths}
    if not all(taken.values()):
        taken = {path: _written(path) for path in paths}
    found: dict[Path, str] = {}
    last, name = float("-inf"), ""
    for at, path in sorted((at, path) for path, at in taken.items() if at is not None):
        if at - last > gap_s:
            name = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%S.%f}-{path.stem}"[:200]
        last, found[path] = at, name
    return found.__getitem__


def _taken(path: Path) -> float | None:
    """Seconds, in the camera's own time; None where the file does not say."""
    try:
        with Image.open(path) as image:
            tags = image.getexif().get_ifd(_EXIF)
        taken = datetime.strptime(str(tags[_TAKEN]), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        fraction = str(tags.get(_FRACTION, "")).strip()
    except (OSError, KeyError, ValueError, UnidentifiedImageError):
        return None
    return taken.timestamp() + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read ({error.strerror}); nothing was imported") from None
