"""What every blob store promises; each implementation under the same tests."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.demo.server import free_port
from agent.store import blobs, s3_blobs
from agent.store.blobs import BlobCorrupt, BlobMissing, BlobStore, BlobTooLarge, keep, keep_all
from agent.store.engine import reading, writing
from agent.store.errors import Conflict, StoreError, Unreachable
from agent.store.local_blobs import LocalBlobs, MemoryBlobs
from agent.store.s3_blobs import S3Blobs
from agent.store.sweep import UNTOUCHED, Sweeper, Swept
from agent.store.tables import blob
from tests.databases import NOW, database
from tests.s3 import S3Server, refusing_s3


@dataclass(frozen=True)
class Shop:
    """A store, and how somebody else puts a file into it."""

    store: BlobStore
    put_by_key: Callable[[str, bytes], object]


@pytest.fixture(params=["local", "memory", "s3"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3")
        folder = f"f-{uuid4().hex[:8]}"
        return Shop(S3Blobs(f"s3://{server.bucket}/{folder}", endpoint=server.endpoint), server.putter(folder))
    if request.param == "memory":
        memory = MemoryBlobs()
        return Shop(memory, memory.put_by_key)

    def put_file(key: str, data: bytes) -> None:
        (tmp_path / "b" / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "b" / key).write_bytes(data)

    return Shop(LocalBlobs(tmp_path / "b"), put_file)


@pytest.fixture
def store(shop: Shop) -> BlobStore:
    return shop.store


def test_what_somebody_else_put_is_read_by_its_key(shop: Shop) -> None:
    shop.put_by_key("frames/press 1/part.png", b"12345")
    assert shop.store.read("frames/press 1/part.png", 5) == b"12345"
    with pytest.raises(BlobTooLarge, match="more than 4"):
        shop.store.read("frames/press 1/part.png", 4)
    for key in ("frames/press 1/other.png", "frames/press 1"):
        with pytest.raises(BlobMissing):
            shop.store.read(key, 5)
    assert "://" in shop.store.location


def test_s3_that_does_not_answer_or_refuses_says_what_to_check(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = S3Blobs("s3://bucket", endpoint=f"http://127.0.0.1:{free_port()}")
    sha256 = "0" * 64
    for ask in (
        lambda: nobody.put(b"x", "image/png"), lambda: nobody.get(sha256), lambda: nobody.read("a", 1),
        lambda: nobody.size(sha256), lambda: nobody.delete(sha256),
    ):  # fmt: skip
        with pytest.raises(Unreachable, match=r"blobs\.endpoint.*AWS_ACCESS_KEY_ID") as caught:
            ask()
        assert "\n" not in str(caught.value)
    with pytest.raises(Unreachable, match="NoSuchBucket"):
        S3Blobs("s3://no-such-bucket", endpoint=s3.endpoint).put(b"x", "image/png")


@pytest.mark.promise(5)
def test_an_object_that_s3_refuses_is_missing_unless_it_refuses_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_blobs, "PROVEN_S", -1.0)
    with refusing_s3() as server:
        store = S3Blobs("s3://bucket", endpoint=server.endpoint)
        for status in (400, 403):
            server.refused = {"mine": status}
            with pytest.raises(BlobMissing, match="mine is refused"):
                store.read("mine", 5)
            server.refuse_all = status
            with pytest.raises(Unreachable, match="AWS_ACCESS_KEY_ID"):
                store.read("mine", 5)
            server.refuse_all = None
        for status in (401, 500, 503):
            server.refused = {"mine": status}
            with pytest.raises(Unreachable):
                store.read("mine", 5)


@pytest.mark.promise(5)
def test_a_file_that_may_not_be_read_is_missing_unless_the_folder_may_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobs(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "mine").write_bytes(b"x")
    for key in ("loop", "x" * 300, "mine/x"):
        with pytest.raises(BlobMissing):
            store.read(key, 5)

    def refuse(path: Any, *_: object) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BlobMissing, match="Permission denied"):
        store.read("mine", 5)
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(Unreachable, match=r"check blobs\.directory"):
        store.read("mine", 5)


@pytest.mark.parametrize("url", ["http://h/b", "s3://", "s3://b?x=1", "s3://user@b"])
def test_an_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"blobs\.url"):
        S3Blobs(url)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=2000))
def test_what_was_put_is_got_by_its_hash(store: BlobStore, data: bytes) -> None:
    sha256 = store.put(data, "application/octet-stream")
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.put(data, "application/octet-stream") == sha256
    assert store.size(sha256) == len(data)
    assert store.get(sha256) == data


def test_a_blob_never_put_is_missing(store: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        store.get("0" * 64)
    assert store.size("0" * 64) is None


def test_a_deleted_blob_is_gone_and_may_be_deleted_and_put_again(store: BlobStore) -> None:
    gone, kept = store.put(b"1", "image/png"), store.put(b"2", "image/png")
    for _ in range(2):
        store.delete(gone)
        assert store.size(gone) is None
        with pytest.raises(BlobMissing):
            store.get(gone)
    store.delete("0" * 64)
    assert store.get(kept) == b"2"
    assert store.get(store.put(b"1", "image/png")) == b"1"


def test_a_sweep_deletes_bytes_and_row(tmp_path: Path, store: BlobStore) -> None:
    with database(tmp_path) as engine:
        sha256 = keep(engine, store, b"1", "image/png", NOW)
        later = [NOW]
        sweeper = Sweeper(engine, store, clock=lambda: later[0])
        assert sweeper.sweep() == Swept(looked=1)
        later[0] += UNTOUCHED + timedelta(seconds=1)
        assert sweeper.sweep() == Swept(looked=1, deleted=1, bytes=1)
        assert store.size(sha256) is None
        with reading(engine) as conn:
            assert conn.execute(sa.select(blob)).all() == []


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


def test_a_file_is_gone_before_its_folder_is_synced_and_drafts_of_the_killed_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobs(tmp_path)
    sha256 = store.put(b"frame", "image/png")
    folder = tmp_path / sha256[:2] / sha256[2:4]
    fresh, old = folder / ".fresh.tmp", folder / ".old.tmp"
    for draft in (fresh, old):
        draft.write_bytes(b"fra")
    os.utime(old, (1.0, 1.0))
    seen: list[list[Path]] = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(list(folder.iterdir())))
    for _ in range(2):
        store.delete(sha256)
    assert seen == [[fresh], [fresh]]


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
