"""A spool directory as source and sink: durable order, one reader, and nothing that a camera half wrote."""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import Engine

from agent import files
from agent.frame import BadHeader, Record, parse
from agent.settings import Settings
from agent.sources.base import Assigned, Bounds, Place, SourceError, SourceUnreachableError, Unreadable
from agent.sources.directory import AT_ONCE, DirectorySource
from agent.sources.directory_decisions import DirectoryDecisions
from agent.store.offsets import Counts
from agent.store.tables import dead_letter, stream
from tests.streams import DEFECT, frame, running, settings, until


def write(spool: Path, name: str, value: bytes = b"x", *, station: str = "s1", sidecar: str | None = None) -> None:
    """As a camera does."""
    folder = spool / "incoming" / station
    folder.mkdir(parents=True, exist_ok=True)
    if sidecar is not None:
        (folder / f"{name}.json").write_text(sidecar)
    (folder / f".{name}").write_bytes(value)
    (folder / f".{name}").rename(folder / name)


def opened(spool: Path, offset: int = 0) -> DirectorySource:
    source = DirectorySource(spool)
    source.open()
    until(lambda: source.poll(0, 1) == [] and source.events())
    source.seek(0, offset)
    source.resume([0])
    return source


def everything(source: DirectorySource) -> list[Record]:
    return [*source.poll(0, 100), *source.poll(0, 100)]


def test_a_reader_that_is_killed_finds_the_same_frames_at_the_same_offsets(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg"):
        write(tmp_path, name, name.encode(), sidecar=json.dumps({"ce_id": name}))
    first = opened(tmp_path)
    before = everything(first)
    first.close()  # what the kernel does for a killed process: the lock is free
    write(tmp_path, "0.bmp", b"later")
    after = everything(opened(tmp_path))
    assert after[:2] == before
    assert [one.value for one in after] == [b"b.png", b"a.jpg", b"later"]
    assert [dict(one.headers).get("ce_id") for one in after] == [b"b.png", b"a.jpg", None]
    assert [dict(one.headers)["content-type"] for one in after] == [b"image/png", b"image/jpeg", b"image/bmp"]
    assert {dict(one.headers)["ce_source"] for one in after} == {b"s1"}


def test_odd_names_of_stations_and_files_come_through(tmp_path: Path) -> None:
    write(tmp_path, "50% @ ö.png", station="Halle 1 @ Süd")
    (read,) = everything(opened(tmp_path))
    assert dict(read.headers)["ce_source"].decode() == "Halle 1 @ Süd"


def test_what_is_half_written_or_no_image_stays_where_it_is(tmp_path: Path) -> None:
    write(tmp_path, "whole.jpg")
    folder = tmp_path / "incoming" / "s1"
    for name in (".half.jpg", "notes.txt", "late.jpg.json"):
        (folder / name).write_bytes(b"?")
    assert len(everything(opened(tmp_path))) == 1
    assert {path.name for path in folder.iterdir()} == {".half.jpg", "notes.txt", "late.jpg.json"}


class Killed(BaseException):
    """As kill -9."""


def killed(spool: Path, renames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that is killed after so many renames."""
    rename, left = Path.rename, iter(range(renames))

    def dying(path: Path, target: Path) -> Path:
        if next(left, None) is None:
            raise Killed
        return rename(path, target)

    source = DirectorySource(spool)
    source.open()
    with monkeypatch.context() as patched, suppress(Killed):
        patched.setattr(Path, "rename", dying)
        source.poll(0, 1)
    source.close()


# Some are alike in their first 200 characters, or but for the suffix.
NAMES = ["a.jpg", "a.JPG", "ü" * 60 + ".JPG", *("p" * 200 + f"{number}.jpg" for number in range(3))]


@pytest.mark.parametrize("renames", range(2 * len(NAMES) + 1))
def test_a_crash_between_a_sidecar_and_its_frame_parts_them_not(
    tmp_path: Path, renames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        write(tmp_path, name, name.encode(), sidecar=json.dumps({"ce_subject": name}))
    killed(tmp_path, renames, monkeypatch)
    read = everything(opened(tmp_path))
    assert {one.value: dict(one.headers).get("ce_subject") for one in read} == {n.encode(): n.encode() for n in NAMES}


def test_a_sidecar_that_lost_its_frame_takes_no_others_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.jpg", b"old", sidecar=json.dumps({"ce_subject": "old"}))
    killed(tmp_path, 1, monkeypatch)
    write(tmp_path, "a.jpg", b"new", sidecar=json.dumps({"ce_subject": "new"}))  # the camera writes over it meanwhile
    (read,) = everything(opened(tmp_path))
    assert (read.value, dict(read.headers)["ce_subject"]) == (b"new", b"new")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from(["ce_id", "ce_subject", "ce_time", "ce_type", "lot"]) | st.text(st.characters(categories=None))
SIDECARS = st.binary(max_size=30) | st.dictionaries(KEYS, JSON, max_size=4).map(lambda one: json.dumps(one).encode())
FILES = st.binary(min_size=1, max_size=50).filter(lambda one: not set(one) & set(b"/\0") and one[:1] != b".")


@pytest.mark.promise(5)
@examples(deadline=None)
@given(found=st.dictionaries(FILES, st.none() | SIDECARS, min_size=1, max_size=4), folder=FILES)
def test_every_frame_comes_through_whatever_its_name_and_sidecar(
    found: dict[bytes, bytes | None], folder: bytes
) -> None:
    with TemporaryDirectory() as spool, structlog.testing.capture_logs():
        place = Path(spool, "incoming", os.fsdecode(folder))
        place.mkdir(parents=True)
        for name, sidecar in found.items():
            for suffix, data in ((b".jpg", b"x"), (b".jpg.json", sidecar)):
                if data is not None:
                    (place / os.fsdecode(name + suffix)).write_bytes(data)
        read = everything(opened(Path(spool)))
        assert [one.offset for one in read] == list(range(len(found)))
        for one in read:
            with suppress(BadHeader):
                assert parse(one, stream="t").frame_id.encode()


@pytest.mark.promise(5)
@pytest.mark.parametrize(
    "sidecar", ["[" * 100_000, '{"ce_id": ' + "9" * 5000 + "}", '{"a": "' + "x" * (1 << 20) + '"}']
)
def test_a_sidecar_that_cannot_be_read_makes_a_header_that_says_so(tmp_path: Path, sidecar: str) -> None:
    write(tmp_path, "a.jpg", sidecar=sidecar)
    write(tmp_path, "b.jpg")
    first, _ = everything(opened(tmp_path))
    assert b"unreadable sidecar" in dict(first.headers)["ce_type"]


def test_null_in_a_sidecar_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", sidecar=json.dumps({"ce_subject": None, "ce_lot": "L", "ce_sequence": 7}))
    (read,) = everything(opened(tmp_path))
    said = dict(read.headers)
    assert (said.get("ce_subject"), said["ce_lot"], said["ce_sequence"]) == (None, b"L", b"7")


@pytest.mark.promise(5)
def test_what_cannot_be_read_yet_waits_by_itself_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shut, scandir = {"odd.jpg", "shut"}, os.scandir

    def look(call: Any) -> Any:
        def refusing(path: Any) -> Any:
            if Path(path).name in shut:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path)

        return refusing

    monkeypatch.setattr("agent.sources.directory.sync", look(files.sync))
    monkeypatch.setattr(os, "scandir", look(scandir))
    write(tmp_path, "odd.jpg", sidecar=json.dumps({"ce_id": "mine"}))
    write(tmp_path, "a.jpg", station="shut")
    write(tmp_path, "a.jpg", station="ß" * 60)  # the log could not name it
    write(tmp_path, "b.jpg", b"b", station="other")
    (tmp_path / "incoming" / "other" / "loop.jpg").symlink_to("loop.jpg")
    with structlog.testing.capture_logs() as told:
        source = opened(tmp_path)
        assert [one.value for one in everything(source)] == [b"b"]
        assert len([one for one in told if one["event"] == "frame_waits"]) == 4
        shut.clear()
        more = everything(source)
        assert [one.offset for one in more] == [1, 2]
        assert {dict(one.headers).get("ce_id") for one in more} == {b"mine", None}
        assert len([one for one in told if one["event"] == "frame_waits"]) == 4


def test_a_sidecar_stays_with_its_frame_where_that_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a.jpg", sidecar=json.dumps({"ce_id": "mine"}))
    rename = Path.rename

    def refusing(path: Path, target: Path) -> Path:
        if path.name == "a.jpg":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refusing)
        source = opened(tmp_path)
        write(tmp_path, "b.jpg")
        (read,) = everything(source)
        assert dict(read.headers).get("ce_id") is None
    (read,) = everything(source)
    assert (read.offset, dict(read.headers)["ce_id"]) == (1, b"mine")


def test_a_spool_that_takes_nothing_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = opened(tmp_path)
    write(tmp_path, "a.jpg")

    def refuse(number: int) -> None:
        def refusing(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(Path, "rename", refusing)
        with pytest.raises(SourceUnreachableError):
            source.poll(0, 1)

    refuse(errno.ENOSPC)
    refuse(errno.EROFS)
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    refuse(errno.EACCES)
    monkeypatch.undo()
    assert len(everything(source)) == 1


@pytest.mark.promise(3)
def test_an_accepted_frame_that_cannot_be_read_is_told_and_read_once_it_can_be(tmp_path: Path) -> None:
    for name in ("0.jpg", "1.jpg"):
        write(tmp_path, name, name.encode())
    source = opened(tmp_path)
    assert source.poll(0, 1)
    (lost,) = (tmp_path / "log").glob("*1@s1@1@*.jpg")
    lost.rename(tmp_path / "aside")
    source.seek(0, 1)
    assert source.poll(0, 10) == []
    (event,) = source.events()
    assert isinstance(event, Unreadable)
    assert event.partition == 0
    assert Place(event.offset) == source.position(0)
    assert source.poll(0, 10) == [], "paused"
    (tmp_path / "aside").rename(lost)
    source.resume([0])
    assert [one.offset for one in source.poll(0, 10)] == [1]


@pytest.mark.promise(4)
def test_one_poll_reads_no_more_bytes_than_it_may_but_one_frame(tmp_path: Path) -> None:
    for number, size in enumerate((40, 40, 40, 500, 10)):
        write(tmp_path, f"{number}.jpg", bytes(size))
        os.utime(tmp_path / "incoming" / "s1" / f"{number}.jpg", (number, number))
    source = DirectorySource(tmp_path, poll_bytes=100)
    source.open()
    until(lambda: source.poll(0, 1) == [] and source.events())
    source.seek(0, 0)
    source.resume([0])
    assert [[one.offset for one in source.poll(0, 10)] for _ in range(4)] == [[0, 1], [2], [3], [4]]


@pytest.mark.promise(4)
def test_a_backlog_is_accepted_little_by_little_and_counts_as_lag(tmp_path: Path) -> None:
    for number in range(AT_ONCE + 40):
        write(tmp_path, f"{number}.jpg")
        os.utime(tmp_path / "incoming" / "s1" / f"{number}.jpg", (number, number))
    source = DirectorySource(tmp_path)
    source.open()
    source.poll(0, 1)
    assert source.bounds([0]) == {0: Bounds(0, AT_ONCE)}
    assert source.end(0) == AT_ONCE + 40, "the lag has what waits"
    source.poll(0, 1)
    assert source.bounds([0]) == {0: Bounds(0, AT_ONCE + 40)}
    assert source.end(0) == AT_ONCE + 40


def test_there_is_one_reader_and_another_takes_over(tmp_path: Path) -> None:
    first, second = opened(tmp_path), DirectorySource(tmp_path)
    second.open()
    write(tmp_path, "a.jpg")
    assert (second.poll(0, 1), second.events()) == ([], [])
    assert len(everything(first)) == 1
    first.close()
    second.poll(0, 1)
    assert second.events() == [Assigned(frozenset({0}))]


def test_what_the_database_has_is_removed_and_the_count_goes_on(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, f"{number}.jpg", sidecar="{}")
    source = opened(tmp_path)
    everything(source)
    source.commit({0: 3})
    assert len(list((tmp_path / "log").iterdir())) == 2  # the last frame and its sidecar keep the count
    source.close()
    write(tmp_path, "3.jpg")
    assert [one.offset for one in everything(opened(tmp_path, 3))] == [3]


def test_a_folder_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"source\.directory"):
        DirectorySource(tmp_path / "file").open()


@pytest.fixture
def wanted(tmp_path: Path) -> Settings:
    return settings(tmp_path, source={"kind": "directory", "directory": tmp_path / "spool"})


def test_a_line_without_kafka_decides_every_frame_once(engine: Engine, wanted: Settings) -> None:
    spool = wanted.source.directory
    sink = DirectoryDecisions(spool)
    for number in range(20):
        write(spool, f"{number:02}.png", frame(DEFECT if number == 7 else 150))
    write(spool, "bad.png", frame(), sidecar="not json")
    write(spool, "nowhere.png", frame(), station="unknown")
    write(spool, "half.png", frame(), sidecar=json.dumps({"ce_id": "\ud800"}))
    write(spool, os.fsdecode(b"Pr\xfcfling.png"), frame())
    for expected in (24, 25):
        with running(engine, wanted, DirectorySource(spool), sink=sink) as run:
            counts = run.until_received(expected)
            run.until(lambda expected=expected: len(_decided(spool)) == expected)  # type: ignore[misc]
            assert counts == Counts(expected, inspected=expected - 3, dead_lettered=3)
            assert len(run.rows(dead_letter)) == 3
            assert len(run.rows(stream)) == 1
        write(spool, "next.png", frame())
    assert sum(one.get("verdict") == "review" for one in _decided(spool)) == 1


def _decided(spool: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (spool / "decisions").glob("*.json")]
