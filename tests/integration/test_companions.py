"""Which second model is in use beside what decides, and what its watch says where none can be, or it fails."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import Engine

from agent.phrases import Phrase
from agent.pipeline import companions
from agent.pipeline.models import ModelManager
from agent.pipeline.patience import BlobsUnreachableError
from agent.pipeline.provider import BELIEVED, Companion
from agent.settings import utc_now
from agent.sources.memory import MemoryLog, MemorySource
from agent.store import watches
from agent.store.engine import reading, writing
from agent.store.tables import shadow_score
from dashboard.words import retold
from tests.companions import NEITHER, Choosy, manager_of, send, share_of
from tests.streams import FakeScorer, Running, running, seed, settings


def test_a_companion_that_fails_on_all_it_is_given_says_so_until_it_scores_again(
    engine: Engine, tmp_path: Path
) -> None:
    log, wanted = MemoryLog(), settings(tmp_path)
    with running(engine, wanted, MemorySource(log)) as run:
        seed(engine, run.store, artifact=b"two", watch_share=1.0)
        beside = Choosy()
        manager = manager_of(run, wanted, {b"two": Choosy(), b"artifact": beside})
        manager._refresh()
        run.provider.current = manager.current  # type: ignore[method-assign]

        def told_after(frames: int) -> str | None:
            send(log, [NEITHER] * frames)
            run.until_received(log.bounds(0).end)
            manager._refresh()
            return _told(run)

        beside.broken = True
        assert told_after(BELIEVED - 1) is None
        told = told_after(1) or ""
        assert told.startswith("v1 cannot score beside it (20 frames in a row failed")
        assert "RuntimeError: the device is gone" in told
        beside.broken = False
        assert told_after(1) is None
        assert len(run.rows(shadow_score)) == 1


def test_a_companion_that_cannot_be_used_is_told_and_the_line_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(companions, "RETRY_S", 0.0)
    log, wanted = MemoryLog(), settings(tmp_path)
    with running(engine, wanted, MemorySource(log)) as run:
        second = seed(engine, run.store, artifact=b"two", watch_share=0.5)
        made: dict[bytes, FakeScorer] = {b"two": Choosy()}
        manager = manager_of(run, wanted, made)
        manager.start()
        try:
            used = manager.current(second.product_id)
            assert used and (used.deployment_id, used.companion) == (second.deployment_id, None)
            assert "v1 cannot score beside it (KeyError" in (_told(run) or "")
            assert manager.problems() is None
            made[b"artifact"] = Choosy(artifact_sha256=run.seeded.artifact_sha256)
            manager.notice(second.product_id)
            run.until(lambda: _told(run) is None)
            found = manager.current(second.product_id)
            assert found and found.companion and found.companion.share == 0.5
            with writing(engine) as conn:
                watches.distrust(conn, found.companion.watch_id, "neither", {})
            manager.notice(second.product_id)
            run.until(lambda: not _companion(manager, second.product_id).judged)
            assert _companion(manager, second.product_id).share == share_of(run) == 1.0
            with writing(engine) as conn:
                watches.end(conn, second.product_id, "enough", utc_now())
            manager.notice(second.product_id)
            run.until(lambda: share_of(run) == 0.0)
        finally:
            manager.stop()


def test_a_blob_store_that_is_away_costs_the_companion_and_no_swap(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, wanted = MemoryLog(), settings(tmp_path)
    with running(engine, wanted, MemorySource(log)) as run:
        seed(engine, run.store, artifact=b"two", watch_share=0.5)
        made = {b"two": Choosy(), b"artifact": Choosy(artifact_sha256=run.seeded.artifact_sha256)}
        manager, get = manager_of(run, wanted, made), run.store.get

        def away(sha256: str) -> bytes:
            if sha256 == run.seeded.artifact_sha256:
                raise BlobsUnreachableError("connection refused")
            return get(sha256)

        monkeypatch.setattr(run.store, "get", away)
        looking = Thread(target=manager._refresh, daemon=True)
        looking.start()
        looking.join(20)
        waits = looking.is_alive()
        manager._patience.abandon.set()
        assert not waits
        used = manager.current(run.seeded.product_id)
        assert used and used.companion is None
        assert "v1 cannot score beside it (BlobsUnreachableError" in (_told(run) or "")


def test_what_an_agent_before_said_of_a_companion_is_taken_back(engine: Engine, tmp_path: Path) -> None:
    log, wanted = MemoryLog(), settings(tmp_path)
    with running(engine, wanted, MemorySource(log)) as run:
        seed(engine, run.store, artifact=b"two", watch_share=0.5)
        made: dict[bytes, FakeScorer] = {b"two": Choosy()}
        manager_of(run, wanted, made)._refresh()
        assert "cannot score beside it" in (_told(run) or "")
        made[b"artifact"] = Choosy()
        restarted = manager_of(run, wanted, made)
        restarted._refresh()
        assert _companion(restarted, run.seeded.product_id).share == 0.5
        assert _told(run) is None


def _told(run: Running) -> str | None:
    """Why it cannot score, where it cannot; a page says that in the plant's language."""
    with reading(run.engine) as conn:
        found = watches.active(conn, run.seeded.product_id)
    assert found is not None
    assert found.words is None or isinstance(found.told, Phrase)
    return found.words


def _companion(manager: ModelManager, product_id: int) -> Companion:
    used = manager.current(product_id)
    assert used and used.companion
    return used.companion


@pytest.mark.usefixtures("spoken")
def test_a_companion_of_another_engine_has_nothing_to_compare_by_and_is_loaded_once(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, wanted = MemoryLog(), settings(tmp_path)
    with running(engine, wanted, MemorySource(log)) as run:
        second = seed(engine, run.store, artifact=b"two", watch_share=0.5)
        made = {b"two": Choosy(), b"artifact": Choosy(fingerprint="other/1")}
        manager = manager_of(run, wanted, made)
        monkeypatch.setattr(companions, "RETRY_S", 0.0)
        for _ in range(3):
            manager._refresh()
        used = manager.current(second.product_id)
        assert used and used.companion is None
        with reading(engine) as conn:
            found = watches.active(conn, second.product_id)
        assert found is not None
        assert found.words == "v1 cannot score beside it (Unfit: its certificate does not speak of other/1)"
        assert retold(found.told) == (
            "⟦v1 cannot score beside it (⟦Unfit: ⟦its certificate does not speak of other/1⟧⟧)⟧"
        )
