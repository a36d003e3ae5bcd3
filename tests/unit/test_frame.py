"""The wire envelope."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.frame import BadHeader, DataRef, Envelope, RawFormat, Record, event_time, parse, station_of, to_headers

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
names = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=200)
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
refs = st.builds(DataRef, names, st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(1, 10**9))
raws = st.builds(RawFormat, st.integers(1, 10_000), st.integers(1, 10_000), st.sampled_from(["Mono8", "BayerRG8"]))


def record(*headers: tuple[str, bytes], value: bytes = b"x") -> Record:
    return Record(partition=3, offset=41, timestamp=NOW, key=None, headers=headers, value=value)


def read(*headers: tuple[str, bytes], default_station: str = "") -> Envelope:
    return parse(record(*headers), stream="goodpart.frames", default_station=default_station)


@st.composite
def envelopes(draw: st.DrawFn) -> Envelope:
    raw = draw(st.none() | raws)
    return Envelope(
        frame_id=draw(names),
        station=draw(names),
        product=draw(st.none() | names),
        serial=draw(st.none() | names),
        lot=draw(st.none() | names),
        captured_at=draw(st.none() | times),
        content_type="application/x-goodpart-raw" if raw else "image/png",
        sequence=draw(st.none() | st.integers(0, 10**15)),
        raw=raw,
        dataref=draw(st.none() | refs),
    )


@given(envelopes())
def test_an_envelope_survives_the_wire(envelope: Envelope) -> None:
    sent = record(*to_headers(envelope), value=b"" if envelope.dataref else b"x")
    assert parse(sent, stream="goodpart.frames") == envelope


REF = (("ce_source", b"s"), ("ce_dataref", b"s3://b/k"), ("ce_datasha256", b"0" * 64), ("ce_datasize", b"3"))


@pytest.mark.parametrize("left_out", ["ce_datasha256", "ce_datasize"])
def test_a_reference_needs_its_hash_and_size_and_an_empty_value(left_out: str) -> None:
    for broken in (
        record(*(one for one in REF if one[0] != left_out), value=b""),
        record(*((name, b"0" if name == left_out else value) for name, value in REF), value=b""),
        record(*REF, value=b"x"),
    ):
        with pytest.raises(BadHeader, match="ce_dataref needs"):
            parse(broken, stream="t")
    assert parse(record(*REF, value=b""), stream="t").dataref == DataRef("s3://b/k", "0" * 64, 3)


def test_plain_aliases_are_read() -> None:
    found = read(("station", b"press-1"), ("id", b"7"), ("captured_at", b"2026-01-31T07:59:00+00:00"), ("lot", b"L"))
    assert (found.station, found.frame_id, found.lot) == ("press-1", "7", "L")
    assert found.captured_at == NOW - timedelta(minutes=1)


def test_a_frame_without_an_id_is_named_by_its_place() -> None:
    assert read(("ce_source", b"s")).frame_id == "goodpart.frames/3/41"


def test_the_default_station_serves_frames_that_name_none() -> None:
    assert read(default_station="only").station == "only"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ((), "ce_source"),
        ((("ce_source", b"\xff\xfe"),), "not UTF-8"),
        ((("ce_source", b"s"), ("Pr\ufffdfer", b"x")), "name of header 'Pr\ufffdfer' is not UTF-8"),
        ((("ce_source", b"a"), ("station", b"b")), "twice"),
        ((("ce_source", b"x" * 201),), "at most 200"),
        ((("ce_source", b"a\nb"),), "printable"),
        ((("ce_source", b"s"), ("ce_type", b"other")), "goodpart.frame.v1"),
        ((("ce_source", b"s"), ("ce_specversion", b"0.3")), "1.0"),
        ((("ce_source", b"s"), ("ce_time", b"yesterday")), "RFC 3339"),
        ((("ce_source", b"s"), ("ce_time", b"2026-01-31T08:00:00")), "timezone"),
        ((("ce_source", b"s"), ("ce_sequence", b"-1")), "whole number"),
        ((("ce_source", b"s"), ("content-type", b"application/x-goodpart-raw")), "width"),
    ],
)
def test_a_malformed_header_says_what_is_allowed(headers: tuple[tuple[str, bytes], ...], message: str) -> None:
    with pytest.raises(BadHeader, match=message):
        read(*headers)


@given(st.lists(st.tuples(st.sampled_from(["ce_source", "ce_time", "ce_sequence", "width", "x"]), st.binary())))
def test_no_headers_raise_anything_but_bad_header(headers: list[tuple[str, bytes]]) -> None:
    with contextlib.suppress(BadHeader):
        assert read(*headers, default_station="d").station == station_of(record(*headers), "d")
    assert isinstance(station_of(record(*headers)), str)


@pytest.mark.parametrize(
    ("headers", "station"),
    [
        ([("station", b" s1 "), ("ce_time", b"yesterday")], "s1"),
        ([("ce_source", b"s1"), ("station", b"s1"), ("x", b"\xff")], "s1"),
        ([("ce_source", b"s1"), ("station", b"s2")], ""),
        ([("ce_source", b""), ("ce_sequence", b"?")], "default"),
    ],
)
def test_whose_frame_it_is_can_be_told_of_many_that_are_malformed(
    headers: list[tuple[str, bytes]], station: str
) -> None:
    assert station_of(record(*headers), "default") == station


@pytest.mark.parametrize(
    ("captured", "suspect"),
    [
        (NOW, False),
        (NOW - timedelta(days=7), False),
        (NOW - timedelta(days=7, seconds=1), True),
        (NOW + timedelta(minutes=5), False),
        (NOW + timedelta(minutes=5, seconds=1), True),
        (datetime(2026, 1, 31, 9, tzinfo=timezone(timedelta(hours=1))), False),
    ],
)
def test_event_time_is_the_capture_time_unless_the_clock_is_suspect(captured: datetime, suspect: bool) -> None:
    assert event_time(captured, NOW) == (NOW if suspect else captured, suspect)


def test_event_time_without_a_capture_time_is_the_records_own() -> None:
    assert event_time(None, NOW) == (NOW, False)
