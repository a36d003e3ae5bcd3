"""The pipeline over frames of unusual sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.frame import RawFormat
from agent.sources.memory import MemoryLog, MemorySource
from agent.store.tables import item
from tests.streams import DEFECT, frame, headers, running, settings


@pytest.mark.promise(5)
@pytest.mark.parametrize("size", [(1_200_000, 1), (1, 1_200_000), (65_535, 32)])
def test_a_line_of_pixels_ends_no_agent(engine: Engine, tmp_path: Path, size: tuple[int, int]) -> None:
    """What no PNG can hold, and the longest that is inspected: all their evidence is kept."""
    log, raw = MemoryLog(), RawFormat(*size, "Mono8")
    pixels = bytes([DEFECT]) * (size[0] * size[1])
    log.append(pixels, headers("long", content_type="application/x-goodpart-raw", raw=raw))
    log.append(frame(), headers("next"))
    with running(engine, settings(tmp_path), MemorySource(log)) as run:
        run.until_received(2)
        found = {row.frame_id: (row.verdict, row.reason) for row in run.rows()}
        told = ("not_inspected", "too_large") if max(size) > 65_535 else ("review", None)
        assert found == {"long": told, "next": ("pass", None)}
        (kept,) = run.rows(item)
        assert kept.frame_sha256
