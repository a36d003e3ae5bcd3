"""A frame and its wire envelope: CloudEvents in the Kafka binding, binary mode.

Source: CloudEvents Kafka Protocol Binding 1.0.2, section 3.2; the plain aliases are goodpart's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.phrases import Worded

ALIASES = {
    "id": "ce_id",
    "station": "ce_source",
    "product": "ce_product",
    "serial": "ce_subject",
    "lot": "ce_lot",
    "captured_at": "ce_time",
}
EVENT_TYPE = "goodpart.frame.v1"
CONTENT_TYPES = {  # of encoded images, by the suffix of a file
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".bmp": "image/bmp",
    ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
}  # fmt: skip
OLDEST = timedelta(days=7)
NEWEST = timedelta(minutes=5)
# Times beyond are taken for the nearest of these: both databases, every timezone and the charts' nanoseconds hold them.
FIRST, LAST = datetime(1700, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHA256 = re.compile("[0-9a-f]{64}")
UNKNOWN = "\N{REPLACEMENT CHARACTER}"  # sources put it where a header's name is not UTF-8
LONGEST = 200  # characters of a name: id, station, product, serial, lot


class BadHeader(Worded):
    """A record whose headers do not say what it is; its message says which and what is allowed."""


@dataclass(frozen=True, slots=True)
class StreamKey:
    """Which log a record came from. A recreated topic is another stream."""

    cluster_id: str
    topic_id: str
    topic: str


@dataclass(frozen=True, slots=True)
class Record:
    """One record as a source read it. `timestamp` is the record's own, aware UTC.

    `leader_epoch`: under which leader of the partition it was written; None where the log has none.
    """

    partition: int
    offset: int
    timestamp: datetime
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    leader_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a record's headers say. None where they say nothing."""

    frame_id: str
    station: str
    product: str | None
    serial: str | None
    lot: str | None
    captured_at: datetime | None
    content_type: str
    sequence: int | None
    raw: RawFormat | None
    dataref: DataRef | None = None
    replay_of: str | None = None  # where the dead letter was that this frame was made of

    @property
    def part(self) -> str:
        """What draws go by: the serial, or the frame's id where it has none."""
        return self.serial or self.frame_id


@dataclass(frozen=True, slots=True)
class DataRef:
    """A claim check: where a frame too large for the broker lies, and what it must be."""

    uri: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class RawFormat:
    """Uncompressed pixels: GenICam PFNC name and size in pixels."""

    width: int
    height: int
    pixel_format: str


def header_texts(record: Record) -> dict[str, str]:
    """The headers by their canonical names.

    Raises:
        BadHeader: one, or its name, is not UTF-8, or one is given twice with different values.
    """
    texts: dict[str, str] = {}
    for name, value in record.headers:
        canonical = ALIASES.get(name.lower(), name.lower())
        if UNKNOWN in name:
            raise BadHeader("the name of header {name!r} is not UTF-8", name=name[:40])
        try:
            text = (value or b"").decode("utf-8").strip()
        except UnicodeDecodeError:
            raise BadHeader("header {name!r} is not UTF-8", name=name[:40]) from None
        if texts.setdefault(canonical, text) != text:
            raise BadHeader("header {name!r} is given twice with different values", name=canonical[:40])
    return texts


def parse(record: Record, *, stream: str, default_station: str = "") -> Envelope:
    """Reads the envelope of one record.

    Args:
        record: as the source read it.
        stream: name of its stream, used in the id of a frame that has none.
        default_station: station of frames that name none; "" for none.

    Raises:
        BadHeader: a header is missing or malformed.
    """
    texts = header_texts(record)
    for header, allowed in (("ce_type", EVENT_TYPE), ("ce_specversion", "1.0")):
        text = texts.get(header, allowed)
        if text != allowed:
            raise BadHeader(
                "{header} is {text!r}; {allowed} is allowed", header=header, text=text[:40], allowed=allowed
            )
    station = _name(texts, "ce_source") or default_station
    if not station:
        raise BadHeader("ce_source (or station) is missing, and kafka.station names no default")
    return Envelope(
        frame_id=_name(texts, "ce_id") or f"{stream}/{record.partition}/{record.offset}",
        station=station,
        product=_name(texts, "ce_product"),
        serial=_name(texts, "ce_subject"),
        lot=_name(texts, "ce_lot"),
        captured_at=_time(texts.get("ce_time")),
        content_type=texts.get("content-type", "").partition(";")[0].strip().lower(),
        sequence=_whole(texts, "ce_sequence"),
        raw=raw_format(texts),
        dataref=_dataref(texts, record),
        replay_of=_name(texts, "ce_replayof"),
    )


def station_of(record: Record, default_station: str = "") -> str:
    """The station that a record names, whatever is wrong with its other headers; "" where that cannot be told."""
    given = (value or b"" for name, value in record.headers if ALIASES.get(name.lower(), name.lower()) == "ce_source")
    named = {text for value in given if (text := value.decode("utf-8", "replace").strip())}
    return "" if len(named) > 1 else named.pop() if named else default_station


def at(microseconds: int) -> datetime:
    """A record's or file's own time, in microseconds since 1970: one that came in another unit is held in bounds."""
    return _EPOCH + timedelta(microseconds=min(max(microseconds, 0), (LAST - _EPOCH) // timedelta(microseconds=1)))


def event_time(captured_at: datetime | None, timestamp: datetime) -> tuple[datetime, bool]:
    """When the part was seen, and whether the camera's clock is suspect.

    The capture time where it lies within -7 d/+5 min of the record's own timestamp, else that timestamp, which is
    suspect itself where it had to be held in bounds. It depends on the record alone, so a record read twice gives the
    same key.
    """
    if captured_at is None:
        return timestamp, timestamp >= LAST
    if timestamp - OLDEST <= captured_at <= timestamp + NEWEST:
        return captured_at, False
    return timestamp, True


def to_headers(envelope: Envelope) -> list[tuple[str, bytes]]:
    """The headers that `parse` reads back into the same envelope."""
    texts: dict[str, str | None] = {
        "ce_specversion": "1.0",
        "ce_type": EVENT_TYPE,
        "ce_id": envelope.frame_id,
        "ce_source": envelope.station,
        "ce_time": envelope.captured_at.isoformat() if envelope.captured_at else None,
        "ce_subject": envelope.serial,
        "ce_product": envelope.product,
        "ce_lot": envelope.lot,
        "ce_sequence": None if envelope.sequence is None else str(envelope.sequence),
        "content-type": envelope.content_type or None,
        "ce_replayof": envelope.replay_of,
    }
    if envelope.raw:
        texts |= {
            "width": str(envelope.raw.width),
            "height": str(envelope.raw.height),
            "pixel_format": envelope.raw.pixel_format,
        }
    if envelope.dataref:
        texts |= {
            "ce_dataref": envelope.dataref.uri,
            "ce_datasha256": envelope.dataref.sha256,
            "ce_datasize": str(envelope.dataref.size),
        }
    return [(name, text.encode()) for name, text in texts.items() if text]


RAW = "application/x-goodpart-raw"


def raw_format(texts: Mapping[str, str]) -> RawFormat | None:
    """How raw pixels lie, by the headers that `header_texts` gives; None for an encoded image.

    Raises:
        BadHeader: the headers name raw pixels, and not their size and format.
    """
    if texts.get("content-type", "").partition(";")[0].strip().lower() != RAW:
        return None
    width, height = _whole(texts, "width"), _whole(texts, "height")
    if not width or not height or "pixel_format" not in texts:
        raise BadHeader("{kind} needs the headers width, height (positive) and pixel_format", kind=RAW)
    return RawFormat(width, height, texts["pixel_format"])


def _dataref(texts: Mapping[str, str], record: Record) -> DataRef | None:
    uri = texts.get("ce_dataref")
    if not uri:
        return None
    sha256, size = texts.get("ce_datasha256", "").lower(), _whole(texts, "ce_datasize")
    if record.value or not _SHA256.fullmatch(sha256) or not size:
        raise BadHeader("ce_dataref needs ce_datasha256 (64 hex digits), ce_datasize (bytes) and an empty value")
    return DataRef(uri, sha256, size)


def _name(texts: Mapping[str, str], header: str) -> str | None:
    text = texts.get(header)
    if text and (len(text) > LONGEST or not text.isprintable()):
        raise BadHeader("{header} must be at most {longest} printable characters", header=header, longest=LONGEST)
    return text or None


def _whole(texts: Mapping[str, str], header: str) -> int | None:
    text = texts.get(header)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadHeader("{header} is {text!r}; a whole number is allowed", header=header, text=text[:40])
    return int(text)


def _time(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise BadHeader(
            "ce_time is {text!r}; RFC 3339 such as 2026-01-31T08:00:00Z is allowed", text=text[:40]
        ) from None
    if moment.tzinfo is None:
        raise BadHeader("ce_time is {text!r}; it needs a timezone such as Z", text=text[:40])
    return min(max(moment, FIRST), LAST)
