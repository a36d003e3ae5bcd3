"""Epochs: spans that never overlap, which one calibrates, looks."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from agent.retrain import roles
from agent.service import Invalid, PermissionDenied
from agent.service import epochs as service
from agent.settings import Certificates
from agent.store import audit, certificates, epochs, products, registry, samples, snapshots, stations
from agent.store.engine import Conflict, NotFound, reading, writing
from agent.store.epochs import CUTTING, GIVEN, Epoch, Held, chosen
from agent.store.samples import NewSample
from tests.databases import NOW, Line, add_blob, sha

pytestmark = pytest.mark.usefixtures("each_database")
CAUSES = ("import", "teach", "stream", "drift", "camera", "person")
DAY = timedelta(days=1)


def add(
    here: Line,
    conn: Connection,
    numbers: range,
    epoch_id: int | None,
    role: str = "calibration",
    serials: int = 0,
    station_id: int | None = None,
) -> None:
    """Samples; with `serials` that many parts share them."""
    for number in numbers:
        serial = f"p{number % serials}" if serials else None
        new = NewSample(
            here.product_id, role, "audit", add_blob(conn, number), sha(number), serial=serial, epoch_id=epoch_id,
            station_id=station_id,
        )  # fmt: skip
        samples.add(conn, new, NOW)


def certify(
    here: Line, conn: Connection, number: int, epoch_id: int | None, *, live: bool = True, **record: float
) -> int:
    """A new version with a certificate of that epoch; returns the certificate's id."""
    version = registry.add_version(
        conn, product_id=here.product_id, artifact_sha256=add_blob(conn, number), teacher="none", manifest={}, now=NOW
    )
    given = {"look": 1, "n": 82, "calibration_sha256": "c" * 64, "review_threshold": 1.5, **record}
    row = certificates.add(conn, version_id=version.id, epoch_id=epoch_id, record=given, now=NOW)
    if live:
        registry.promote(
            conn, version_id=version.id, certificate_id=row, config_hash="0" * 64, reason="test", by=None, now=NOW
        )
    return row


# Spans


def test_whenever_epochs_are_opened_their_spans_never_overlap(here: Line) -> None:
    @settings(max_examples=20, deadline=None)
    @given(moments=st.lists(st.tuples(st.sampled_from(CAUSES), st.integers(0, 20)), min_size=1, max_size=8))
    def whenever(moments: list[tuple[str, int]]) -> None:
        with writing(here.engine) as conn:
            product_id = products.add(conn, uuid4().hex, now=NOW).id
            for cause, days in moments:
                made = epochs.open(conn, product_id, cause, "why", at=NOW + days * DAY, now=NOW)
                assert made.cuts == (cause in CUTTING)
            found = epochs.of_product(conn, product_id)
            assert len(found) == len(moments)
            assert all(one.closed_at == next_.opened_at for one, next_ in pairwise(found))
            assert found[-1].closed_at is None
            assert epochs.current(conn, product_id) == found[-1]
            for day in range(-1, 22):
                moment = NOW + day * DAY
                over = [
                    one for one in found if one.opened_at <= moment and (not one.closed_at or moment < one.closed_at)
                ]
                assert epochs.at(conn, product_id, moment) == next(iter(over), None)
                assert len(over) <= 1

    whenever()
    with reading(here.engine) as conn:
        assert audit.verify(conn) is None


def test_an_unknown_product_has_no_epochs(here: Line) -> None:
    with writing(here.engine) as conn:
        with pytest.raises(NotFound):
            epochs.open(conn, 99, "stream", "why", now=NOW)
        assert epochs.current(conn, here.product_id) is None
        assert epochs.calibrating(conn, here.product_id, 1) is None
        assert epochs.of_certificate(conn, None) is None


def test_the_first_import_opens_the_one_epoch_of_all_imports(here: Line) -> None:
    with writing(here.engine) as conn:
        first = epochs.of_import(conn, here.product_id, NOW)
        epochs.open(conn, here.product_id, "stream", "audited parts", now=NOW + DAY)
        assert epochs.of_import(conn, here.product_id, NOW + 2 * DAY).id == first.id


# Which one calibrates

HISTORIES = st.lists(st.tuples(st.sampled_from(CAUSES), st.integers(0, 30)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(history=HISTORIES, needed=st.integers(1, 20))
def test_the_calibrating_epoch_is_the_newest_with_enough_since_the_newest_cut(
    history: list[tuple[str, int]], needed: int
) -> None:
    made = [
        Epoch(number, 1, cause, "", cause in CUTTING, None, NOW + number * DAY, None)
        for number, (cause, _) in enumerate(history)
    ]
    n = dict(enumerate(parts for _, parts in history))
    found = chosen(made, n, needed)
    if found is None:
        assert not made
        return
    after = made[found.id + 1 :]
    assert not any(one.cuts for one in after), "nothing from before a cut speaks for the stream"
    assert all(n[one.id] < needed for one in after), "a newer one with enough goes first"
    if n[found.id] < needed:
        since = [one for one in made if not any(later.cuts for later in made[one.id + 1 :])]
        assert all(n[one.id] < needed for one in since)
        assert found.cuts or found.cause in GIVEN or not any(one.cause in GIVEN for one in made)
        if not found.cuts and not n[found.id]:
            assert not any(one.cause in GIVEN and n[one.id] for one in made), "an empty one hides no set"


def test_what_an_epoch_has_is_parts_or_else_frames(here: Line) -> None:
    with writing(here.engine) as conn:
        first = epochs.open(conn, here.product_id, "import", "w", now=NOW).id
        second = epochs.open(conn, here.product_id, "stream", "w", now=NOW + DAY).id
        add(here, conn, range(6), first, serials=3)
        add(here, conn, range(6, 8), first, "holdout", serials=2)
        add(here, conn, range(8, 12), second, serials=2)
        add(here, conn, range(12, 13), second)  # of no serial, so that frames are what counts
        add(here, conn, range(13, 15), None)  # whose window is not decided
        assert epochs.held(conn, here.product_id) == {first: Held(3, 2), second: Held(5, 0)}
        samples.revoke(conn, samples.all(conn, here.product_id, "holdout")[0].id, NOW)
        assert epochs.held(conn, here.product_id)[first] == Held(3, 1)


def test_a_serial_at_two_stations_is_two_parts(here: Line) -> None:
    """As in a certificate, whose unit is a good part at a station."""
    with writing(here.engine) as conn:
        first = epochs.open(conn, here.product_id, "stream", "w", now=NOW).id
        other = stations.add(conn, "press-2", product_id=here.product_id, now=NOW).id
        add(here, conn, range(6), first, serials=3, station_id=here.station_id)
        add(here, conn, range(6, 9), first, serials=3, station_id=other)
        assert epochs.held(conn, here.product_id) == {first: Held(6, 0)}


def test_a_snapshot_takes_one_epoch_and_nothing_that_waits(here: Line) -> None:
    with writing(here.engine) as conn:
        first = epochs.open(conn, here.product_id, "import", "w", now=NOW).id
        second = epochs.open(conn, here.product_id, "stream", "w", now=NOW + DAY).id
        add(here, conn, range(2), None, "train")
        add(here, conn, range(2, 5), first)
        add(here, conn, range(5, 7), second)
        add(here, conn, range(7, 8), second, "holdout")
        add(here, conn, range(8, 20), None)
        for epoch_id, counted in ((first, (3, 0)), (second, (2, 1)), (None, (0, 0))):
            frozen = snapshots.freeze(conn, here.product_id, NOW, epoch_id=epoch_id)
            assert (len(frozen.of_role("calibration")), len(frozen.of_role("holdout"))) == counted
            assert (len(frozen.of_role("train")), frozen.epoch_id) == (2, epoch_id)
            counts = samples.counts(conn, here.product_id, epoch_id)
            assert (counts["calibration"], counts["holdout"], counts["train"]) == (*counted, 2)
        assert len(samples.came(conn, here.product_id, None, epoch_id=first)) == 5
        assert len(samples.came(conn, here.product_id, None, epoch_id=second)) == 5


def test_what_a_rate_needs_is_what_the_certificate_needs(here: Line) -> None:
    with writing(here.engine) as conn:
        product = products.get(conn, here.product_id)
        for rate in (0.05, 0.01, 0.3):
            products.change(conn, here.product_id, review_rate=rate)
            product = products.get(conn, here.product_id)
            assert epochs.asked(product, Certificates()) == roles.needs(rate, 0.95).asked


# Looks


def test_looks_count_the_certified_versions_of_one_epoch(here: Line) -> None:
    with writing(here.engine) as conn:
        first = epochs.open(conn, here.product_id, "import", "w", now=NOW).id
        second = epochs.open(conn, here.product_id, "camera", "w", now=NOW + DAY).id
        assert certificates.looks(conn, epoch_id=first) == 0
        row = certify(here, conn, 1, first)
        certify(here, conn, 2, first, live=False)
        found = epochs.of_certificate(conn, row)
        assert found is not None and found.id == first
        version = registry.versions(conn, here.product_id)[0]
        record = {"look": 2, "n": 82, "calibration_sha256": "c" * 64}
        certificates.add(conn, version_id=version.id, epoch_id=first, record=record, now=NOW)
        assert certificates.looks(conn, epoch_id=first) == 2, "another engine of the same version is no new look"
        assert certificates.looks(conn, epoch_id=second) == 0
        certify(here, conn, 3, None, live=False)
        assert certificates.looks(conn, epoch_id=None) == 0


# A person's act


def _open(here: Line, cause: str = "camera", reason: str = "new lamp", *, key: str = "k", day: int = 1) -> Epoch:
    return service.open(here.engine, here.engineer, "flange", cause, reason, key=key, now=NOW + day * DAY)


def test_an_engineer_opens_an_epoch_once(here: Line) -> None:
    with pytest.raises(Conflict, match="no calibration images yet"):
        _open(here)
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "w", now=NOW)
    made = _open(here)
    assert (made.cause, made.words, made.cuts, made.by) == ("camera", "new lamp", True, here.engineer.id)
    assert _open(here) == made
    with reading(here.engine) as conn:
        assert epochs.current(conn, here.product_id) == made
        event = audit.recent(conn)[0]
        assert (event.action, event.user_id, event.subject) == ("epoch.open", here.engineer.id, f"epoch:{made.id}")
        assert audit.verify(conn) is None
    assert _open(here, "person", key="2", day=2).cuts


def test_who_and_what_opens_no_epoch(here: Line) -> None:
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "w", now=NOW)
    for cause, reason in (("drift", "r"), ("stream", "r"), ("camera", " "), ("camera", "r" * 501)):
        with pytest.raises(Invalid):
            _open(here, cause, reason)
    with pytest.raises(PermissionDenied):
        service.open(here.engine, here.operator, "flange", "camera", "r", key="k", now=NOW)
    with pytest.raises(NotFound):
        service.open(here.engine, here.engineer, "nothing", "camera", "r", key="k", now=NOW)
    with reading(here.engine) as conn:
        assert len(epochs.of_product(conn, here.product_id)) == 1
