"""What every blob store promises; each implementation under the same tests."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.store import blobs
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore, LocalBlobs, MemoryBlobs, keep, keep_all
from agent.store.engine import reading, writing
from agent.store.errors import Conflict, Unreachable
from agent.store.tables import blob
from tests.databases import NOW, database


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    made: dict[str, Callable[[], BlobStore]] = {"local": lambda: LocalBlobs(tmp_path / "b"), "memory": MemoryBlobs}
    return made[request.param]()


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_what_was_put_is_got_by_its_hash(store: BlobStore, data: bytes) -> None:
    sha256 = store.put(data, "application/octet-stream")
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.put(data, "application/octet-stream") == sha256
    assert store.exists(sha256)
    assert store.get(sha256) == data


def test_a_blob_never_put_is_missing(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        store.get("0" * 64)
    assert not store.exists("0" * 64)


def test_many_threads_put_the_same_blob(store: BlobStore) -> None:
    data = b"x" * 100_000
    threads = [threading.Thread(target=store.put, args=(data, "image/png")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get(hashlib.sha256(data).hexdigest()) == data


def test_damage_is_found_and_put_mends_a_torn_file(tmp_path: Path) -> None:
    store = LocalBlobs(tmp_path)
    sha256 = store.put(b"frame", "image/png")
    path = tmp_path / sha256[:2] / sha256[2:4] / sha256
    path.write_bytes(b"fram")
    with pytest.raises(BlobCorrupt):
        store.get(sha256)
    store.put(b"frame", "image/png")
    assert store.get(sha256) == b"frame"
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [sha256]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_only_a_hash_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(BlobMissing):
        LocalBlobs(tmp_path).get(name)


def test_a_folder_that_cannot_be_written_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"a file where the folder should be")
    with pytest.raises(Unreachable, match=r"check blobs\.directory"):
        LocalBlobs(tmp_path / "b").put(b"x", "image/png")


def test_a_put_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "aa").mkdir()
    with pytest.raises(Unreachable, match="No space left"):
        LocalBlobs(tmp_path).put(b"x", "image/png")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_the_bytes_are_synced_before_and_the_folder_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobs(tmp_path)
    seen: list[tuple[str, bool]] = []
    sync = os.fsync
    sha256 = hashlib.sha256(b"x").hexdigest()
    path = tmp_path / sha256[:2] / sha256[2:4] / sha256

    def spy(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        seen.append((kind, path.exists()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", spy)
    store.put(b"x", "image/png")
    assert ("file", False) in seen
    assert seen[-1] == ("folder", True)


def test_keeping_writes_row_and_bytes(tmp_path: Path, store: BlobStore) -> None:
    with database(tmp_path) as engine:
        first, second, again = keep_all(engine, store, [(b"1", "image/png"), (b"2", "image/webp"), (b"1", "x")], NOW)
        assert first == again
        assert keep(engine, store, b"2", "image/webp", NOW) == second
        with reading(engine) as conn:
            assert blobs.media_type(conn, second) == "image/webp"
            assert {row.state for row in conn.execute(sa.select(blob.c.state))} == {"stored"}
        assert store.get(first) == b"1"


def test_a_store_that_fails_leaves_a_pending_row(tmp_path: Path) -> None:
    class Full(MemoryBlobs):
        def put(self, data: bytes, media_type: str) -> str:
            raise Unreachable("full")

    with database(tmp_path) as engine:
        with pytest.raises(Unreachable):
            keep(engine, Full(), b"1", "image/png", NOW)
        with reading(engine) as conn:
            assert conn.execute(sa.select(blob.c.state)).scalar_one() == "pending"
        keep(engine, MemoryBlobs(), b"1", "image/png", NOW)
        with reading(engine) as conn:
            assert conn.execute(sa.select(blob.c.state)).scalar_one() == "stored"


def test_a_blob_that_is_being_deleted_is_waited_for(tmp_path: Path, store: BlobStore) -> None:
    with database(tmp_path) as engine:
        sha256 = keep(engine, store, b"1", "image/png", NOW)
        with writing(engine) as conn:
            conn.execute(sa.update(blob).values(state="deleting"))
        waits: list[float] = []

        def swept(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                with writing(engine) as conn:
                    conn.execute(sa.delete(blob))

        assert keep_all(engine, store, [(b"1", "image/png")], NOW, sleep=swept) == [sha256]
        assert len(waits) == 2
        with writing(engine) as conn:
            conn.execute(sa.update(blob).values(state="deleting"))
        with pytest.raises(Conflict, match="being deleted"):
            keep_all(engine, store, [(b"1", "image/png")], NOW, sleep=lambda _: None)
