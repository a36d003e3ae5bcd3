"""Claim checks read the configured store and nothing else, and only what the headers say."""

from __future__ import annotations

import hashlib
import random
import threading
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.frame import BadHeader, DataRef
from agent.health import Health
from agent.metrics import Metrics
from agent.pipeline.claim_checks import ClaimChecks, ClaimCorrupt, key_of
from agent.pipeline.patience import Patience
from agent.store.local_blobs import MemoryBlobs

S3 = "s3://bucket/plant 1"


@pytest.mark.parametrize(
    ("uri", "location", "key"),
    [
        ("s3://bucket/plant%201/a/b.png", S3, "a/b.png"),
        ("s3://bucket/plant 1/a/b.png", S3, "a/b.png"),
        ("s3://bucket/b.png", "s3://bucket", "b.png"),
        ("file:///var/blobs/frames/x.raw", "file:///var/blobs", "frames/x.raw"),
    ],
)
def test_a_reference_into_the_store_is_a_key(uri: str, location: str, key: str) -> None:
    assert key_of(uri, location) == key


@pytest.mark.parametrize(
    "uri",
    [
        "https://bucket/plant%201/a", "s3://other/plant%201/a", "s3://bucket:80/plant%201/a", "s3://BUCKET/plant%201/a",
        "s3://user@bucket/plant%201/a", "s3://bucket@evil/plant%201/a", "s3://bucket.evil/plant%201/a",
        "s3://bucket/plant%201/a?x=1", "s3://bucket/plant%201/a#x", "s3://bucket/plant%201", "s3://bucket/plant%201/",
        "s3://bucket/plant%201evil/a", "s3://bucket/a", "s3://bucket/plant%201/../a", "s3://bucket/plant%201/%2e%2e/a",
        "s3://bucket/plant%201/%2E/a", "s3://bucket/plant%201/a%2fb", "s3://bucket/plant%201//a",
        "s3://bucket/plant%201/a%00", "s3://bucket/plant%201/a%5c..%5cb", "s3://bucket/plant%201/%252e%252e/a",
        "s3://bucket/plant%201/%ff", "s3://bucket/plant%201/a%01b", "s3://bucket/plant%201/a%7f",
        "//bucket/plant%201/a", "plant%201/a", "s3:///plant%201/a", "s3://[bucket/plant%201/a",
    ],
)  # fmt: skip
def test_anything_else_is_a_bad_header(uri: str) -> None:
    with pytest.raises(BadHeader, match="ce_dataref"):
        key_of(uri, S3)


def test_a_key_longer_than_its_store_takes_is_a_bad_header() -> None:
    assert key_of(f"file:///blobs/{'x' * 255}", "file:///blobs") == "x" * 255
    assert key_of(f"s3://bucket/plant%201/{'x' * 1016}", S3) == "x" * 1016
    for uri, location in (
        (f"file:///blobs/{'x' * 256}", "file:///blobs"),
        (f"file:///blobs/{'%C3%BC' * 128}", "file:///blobs"),
        (f"s3://bucket/plant%201/{'x' * 1017}", S3),
    ):
        with pytest.raises(BadHeader, match="at most"):
            key_of(uri, location)


PART = st.text(
    st.characters(min_codepoint=32, exclude_characters="/\\%\x7f", codec="utf-8"), min_size=1, max_size=8
).filter(lambda part: part not in (".", ".."))


@given(parts=st.lists(PART, min_size=1, max_size=4))
def test_every_plain_key_comes_back_from_its_reference(parts: list[str]) -> None:
    uri = "s3://bucket/plant%201/" + "/".join(quote(part, safe="") for part in parts)
    assert key_of(uri, S3) == "/".join(parts)


@given(tail=st.text(max_size=30))
def test_no_reference_leaves_the_store(tail: str) -> None:
    try:
        key = key_of(f"s3://bucket/plant%201/{tail}", S3)
    except BadHeader:
        return
    assert not {"", ".", ".."} & set(key.split("/"))


@pytest.fixture
def store() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def checks(store: MemoryBlobs) -> ClaimChecks:
    return ClaimChecks(store, Patience(Health(), Metrics(), threading.Event(), random.Random(0)))


def _ref(data: bytes, key: str = "a.png") -> DataRef:
    return DataRef(f"memory:///{key}", hashlib.sha256(data).hexdigest(), len(data))


def test_what_is_there_and_right_is_read(store: MemoryBlobs, checks: ClaimChecks) -> None:
    store.put_by_key("a.png", b"frame")
    assert checks.read(_ref(b"frame")) == b"frame"
    assert checks.read(_ref(b"frame", "b.png")) is None


@pytest.mark.parametrize("there", [b"fram", b"frames", b"FRAME", b""])
def test_what_is_there_and_wrong_is_corrupt(store: MemoryBlobs, checks: ClaimChecks, there: bytes) -> None:
    store.put_by_key("a.png", there)
    with pytest.raises(ClaimCorrupt, match=r"ce_datasize|ce_datasha256"):
        checks.read(_ref(b"frame"))
