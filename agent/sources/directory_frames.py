"""Frames into a spool directory, as its cameras put them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from agent.files import sync, write_whole
from agent.frame import CONTENT_TYPES
from agent.sources.base import SourceUnreachableError
from agent.sources.directory_log import SIDECAR

_SUFFIXES = {kind: suffix for suffix, kind in reversed(CONTENT_TYPES.items())}


class DirectoryFrames:
    """Writes `incoming/STATION/ID.jpg` and its sidecar, whole or not at all.

    Args:
        directory: the spool.
    """

    def __init__(self, directory: Path) -> None:
        self._incoming = directory / "incoming"

    def deliver(self, value: bytes, headers: Sequence[tuple[str, bytes]], *, key: str) -> None:
        """Returns once the frame is on disk.

        Args:
            value: the picture.
            headers: those of the wire, `ce_id` among them.
            key: the station.

        Raises:
            SourceUnreachableError: it cannot be written.
        """
        texts = {name: text.decode() for name, text in headers}
        folder = self._incoming / quote(key, safe="").replace(".", "%2E")  # hidden folders are not looked into
        # The suffix only has to be a picture's: the sidecar's content-type comes first, and the bytes before that.
        path = folder / f"{quote(texts['ce_id'], safe='')}{_SUFFIXES.get(texts.get('content-type', ''), '.png')}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for target, data in ((path.with_name(path.name + SIDECAR), json.dumps(texts).encode()), (path, value)):
                write_whole(target, (data,))
            sync(folder)
        except OSError as error:
            raise SourceUnreachableError(f"{folder} cannot be written ({error.strerror})") from error
