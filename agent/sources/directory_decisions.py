"""Decisions into a spool directory: one file each, named by its id, so that one that is sent again stays one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from agent.files import sync, write_whole
from agent.sources.base import Decision, SourceUnreachableError


class DirectoryDecisions:
    """Writes `decisions/ID.json` whole or not at all; whoever reads them removes them.

    Args:
        directory: the spool.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / "decisions"

    def publish(self, decisions: Sequence[Decision]) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for one in decisions:
                name = quote(dict(one.headers)["ce_id"].decode(), safe="")
                write_whole(self._folder / f"{name}.json", (one.value,))
            sync(self._folder)
        except OSError as error:
            raise SourceUnreachableError(f"{self._folder} cannot be written ({error.strerror})") from error

    def close(self) -> None:
        """Nothing to end."""
