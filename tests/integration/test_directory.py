"""A spool directory as source and sink: durable order, one reader, and nothing that a camera half wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from agent.frame import Record
from agent.settings import Settings
from agent.sources.base import Assigned, SourceError, SourceUnreachableError
from agent.sources.directory import DirectorySource
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


@pytest.mark.parametrize("name", ["a.jpg", "ü" * 60 + ".JPG"])
def test_a_crash_between_a_sidecar_and_its_frame_parts_them_not(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, name, b"a", sidecar=json.dumps({"ce_id": "mine"}))
    rename = Path.rename

    def dying(path: Path, target: Path) -> Path:
        if path.suffix != ".json":
            raise OSError("killed")
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dying)
        first = DirectorySource(tmp_path)
        first.open()
        with pytest.raises(SourceUnreachableError):
            first.poll(0, 1)
        first.close()
    (read,) = everything(opened(tmp_path))
    assert dict(read.headers)["ce_id"] == b"mine"


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
    for expected in (22, 23):
        with running(engine, wanted, DirectorySource(spool), sink=sink) as run:
            counts = run.until_received(expected)
            run.until(lambda expected=expected: len(_decided(spool)) == expected)  # type: ignore[misc]
            assert counts == Counts(expected, inspected=expected - 2, dead_lettered=2)
            assert len(run.rows(dead_letter)) == 2
            assert len(run.rows(stream)) == 1
        write(spool, "next.png", frame())
    assert sum(one.get("verdict") == "review" for one in _decided(spool)) == 1


def _decided(spool: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (spool / "decisions").glob("*.json")]
