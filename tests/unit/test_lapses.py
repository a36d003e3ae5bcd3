"""Next looks and lapses: what the next certificate of an epoch needs, and when the one in use does not hold."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from agent.alerts.lapses import Lapses
from agent.settings import Certificates
from agent.store import epochs, lapses, next_looks, products, samples
from agent.store.engine import reading, writing
from agent.store.epochs import Epoch
from agent.store.lapses import Lapse
from agent.store.next_looks import NextLook
from model.certificate import certify as certificate
from model.statistics import needed_n
from tests.alarms import Noted
from tests.databases import NOW, Line
from tests.streams import settings as stream_settings
from tests.unit.test_epochs import add, certify

pytestmark = pytest.mark.usefixtures("each_database")
DAY = timedelta(days=1)
ASKED = Certificates(review_rate=0.3)  # looks 1, 2, 3 need 12, 16 and 18 parts
AT_FIVE = [82, 109, 125, 136, 145]


def lapse(here: Line, conn: Connection) -> Lapse | None:
    product = products.get(conn, here.product_id)
    found = lapses.of_product(conn, product, ASKED)
    assert lapses.all(conn, ASKED) == ({here.product_id: found} if found else {})
    assert lapses.bursting(conn, ASKED) == ({here.product_id} if found and found.bursts else set())
    return found


# Next looks

EPOCH = Epoch(3, 1, "camera", "new lamp", True, None, NOW, None)


@pytest.mark.parametrize(("look", "needed"), [*enumerate(AT_FIVE, 1)])
def test_each_look_needs_more_parts_than_the_one_before(look: int, needed: int) -> None:
    assert needed_n(0.05, 0.95, look) == needed
    for n, enough in ((needed - 1, False), (needed, True)):
        next_ = NextLook(EPOCH, look, n, 0.05, 0.95)
        assert (next_.needed, next_.enough, next_.waits is None) == (needed, enough, enough)


@given(st.integers(1, 200), st.integers(1, 20))
def test_what_a_next_look_promises_is_what_its_certificate_holds(n: int, look: int) -> None:
    next_ = NextLook(EPOCH, look, n, 0.05, 0.95)
    made = certificate(
        [float(one) for one in range(n)], artifact_sha256="a", calibration_sha256="c", fingerprint="f",
        review_rate=0.05, reject_rate=0.01, confidence=0.95, look=look,
    )  # fmt: skip
    assert next_.best == (made.certified_review_rate if made.certified else None)
    assert next_.enough == (made.certified_review_rate == 0.05)


def test_a_next_look_says_what_it_needs_and_what_is_there() -> None:
    assert NextLook(EPOCH, 2, 84, 0.05, 0.95).words == (
        "look 2 needs 109 calibration parts for 5.00%, and 84 are there, which would certify 6.42%: review the audit "
        "items, or raise audit.rate"
    )
    given = Epoch(1, 1, "import", "imported images", False, None, NOW, None)
    assert NextLook(given, 2, 84, 0.05, 0.95).words.endswith("which would certify 6.42%: add good images")
    for n in (0, 7):
        assert f"and {n} are there, which would certify no useful rate" in NextLook(EPOCH, 2, n, 0.05, 0.95).words
    assert "109 calibration parts are there, which certify 5.00%" in NextLook(EPOCH, 2, 109, 0.05, 0.95).words


def test_the_next_look_is_of_the_epoch_that_calibrates_and_counts_its_versions(here: Line) -> None:
    with writing(here.engine) as conn:
        product = products.get(conn, here.product_id)
        assert next_looks.of_product(conn, product, ASKED) is None
        imported = epochs.open(conn, product.id, "import", "imported images", now=NOW)
        add(here, conn, range(12), imported.id)
        certify(here, conn, 100, imported.id)
        found = next_looks.of_product(conn, product, ASKED)
        assert found is not None and (found.epoch, found.look, found.n, found.needed) == (
            epochs.of_product(conn, product.id)[0], 2, 12, 16,
        )  # fmt: skip
        stream = epochs.open(conn, product.id, "stream", "audited parts", now=NOW + DAY)
        add(here, conn, range(12, 24), stream.id)
        certify(here, conn, 101, stream.id)
        found = next_looks.of_product(conn, product, ASKED)
        assert found is not None, "what the stream has taken over does not go back to the import for more looks"
        assert (found.epoch.id, found.look, found.n, found.needed) == (stream.id, 2, 12, 16)


# Lapses


def test_a_certificate_lapses_with_a_cut_until_one_since_then_holds_at_the_rate(here: Line) -> None:
    product, alarms = here.product_id, Noted(here.engine)
    watch = Lapses(here.engine, stream_settings(Path(), certificate={"review_rate": 0.3}), alarms)

    def look() -> list[str]:
        watch.check(NOW)
        assert {(kind, whose) for _, kind, whose in alarms.said} <= {("certificate_lapsed", "product:flange")}
        return [what for what, _, _ in alarms.take()]

    with writing(here.engine) as conn:
        imported = epochs.open(conn, product, "import", "imported images", now=NOW)
        add(here, conn, range(12), imported.id)
        certify(here, conn, 100, imported.id, certified_review_rate=0.3)
        stream = epochs.open(conn, product, "stream", "audited parts", now=NOW)
        assert lapse(here, conn) is None, "a stream epoch cuts nothing"
        assert epochs.calibrating(conn, product, 12) == epochs.of_product(conn, product)[0]
        assert "rests on the imported images and assumes that the stream looks like them" in imported.rests_on
        assert "audited parts since 2026-03-02 10:07 UTC" in stream.rests_on
    assert look() == []
    with writing(here.engine) as conn:
        camera = epochs.open(conn, product, "camera", "new lamp", now=NOW + DAY)
        add(here, conn, range(12, 18), camera.id)
        found = lapse(here, conn)
        assert found is not None
        assert (found.since.id, found.next.n, found.next.needed, found.old) == (camera.id, 6, 12, True)
        assert found.bursts
        assert "from before 2026-03-03 10:07 UTC (camera: new lamp); look 1 needs 12 calibration parts" in found.words
        assert "6 are there, which would certify no useful rate" in found.words
    assert look() == ["raised"]
    assert look() == []
    with writing(here.engine) as conn:
        certify(here, conn, 101, camera.id, certified_review_rate=0.66, look=1)
        found = lapse(here, conn)
        assert found is not None and not found.old
        assert "holds at 66.00% only, 30.00% are asked for; look 2 needs 16 calibration parts" in found.words
        add(here, conn, range(18, 27), camera.id)
        found = lapse(here, conn)
        assert found is not None and found.next.n == 15, "the first look's 12 parts are not enough for the second one"
        assert found.bursts and "15 are there, which would certify 31.03%" in found.words
        add(here, conn, range(27, 28), camera.id)
        found = lapse(here, conn)
        assert found is not None and not found.bursts
        assert "16 calibration parts are there, which certify 30.00%" in found.words
    assert look() == ["raised"]
    with writing(here.engine) as conn:
        certify(here, conn, 102, camera.id, certified_review_rate=0.3, look=2)
        assert lapse(here, conn) is None, "it holds at the rate asked for, whatever a third look would need"
    assert look() == ["cleared"]
    with writing(here.engine) as conn:
        second = epochs.open(conn, product, "person", "another supplier", now=NOW + 2 * DAY)
        add(here, conn, range(30, 42), second.id)
        found = lapse(here, conn)
        assert found is not None and not found.bursts
        assert "12 calibration parts are there, which certify 30.00% (look 1 needs 12): a training run" in found.words
    assert look() == ["raised"]
    with writing(here.engine) as conn:
        certify(here, conn, 103, second.id, certified_review_rate=0.3)
    assert look() == ["cleared"]


def test_a_certificate_of_the_stream_lapses_where_it_misses_its_rate_without_any_cut(here: Line) -> None:
    with writing(here.engine) as conn:
        imported = epochs.open(conn, here.product_id, "import", "imported images", now=NOW)
        stream = epochs.open(conn, here.product_id, "stream", "audited parts", now=NOW + DAY)
        add(here, conn, range(20), imported.id)
        add(here, conn, range(20, 34), stream.id)
        certify(here, conn, 100, stream.id, certified_review_rate=0.3)
        assert lapse(here, conn) is None
        certify(here, conn, 101, stream.id, certified_review_rate=0.33, look=2)
        found = lapse(here, conn)
        assert found is not None and found.bursts
        assert (found.since.id, found.next.epoch.id, found.next.look, found.next.needed) == (
            stream.id,
            stream.id,
            3,
            18,
        )
        products.change(conn, here.product_id, review_rate=0.4)
        assert lapse(here, conn) is None, "what is asked for now is met"
        products.change(conn, here.product_id, review_rate=0.2)
        found = lapse(here, conn)
        assert found is not None and found.next.epoch.id == stream.id, "the audit lets that one grow, not the import"


@pytest.mark.parametrize("cause", ["import", "teach"])
def test_what_people_gave_grows_by_no_audit_and_is_no_lapse_at_a_larger_rate(here: Line, cause: str) -> None:
    with writing(here.engine) as conn:
        given = epochs.open(conn, here.product_id, cause, "good images", now=NOW)
        add(here, conn, range(10), given.id)
        certify(here, conn, 100, given.id, certified_review_rate=0.4)
        epochs.open(conn, here.product_id, "stream", "audited parts", now=NOW + DAY)
        assert lapse(here, conn) is None
        cut = epochs.open(conn, here.product_id, "camera", "new lamp", now=NOW + 2 * DAY)
        found = lapse(here, conn)
        assert found is not None and found.old and found.since.id == cut.id
        again = epochs.open(conn, here.product_id, "teach", "under the new lamp", now=NOW + 3 * DAY)
        certify(here, conn, 101, again.id, certified_review_rate=0.4)
        assert lapse(here, conn) is None


def test_a_cut_without_a_certificate_has_lapsed_until_it_has_its_parts(here: Line) -> None:
    with writing(here.engine) as conn:
        epochs.open(conn, here.product_id, "import", "w", now=NOW)
        cut = epochs.open(conn, here.product_id, "drift", "w", now=NOW + DAY)
        found = lapse(here, conn)
        assert found is not None and found.live is None and found.bursts
        assert "there is no certificate since" in found.words
        here.deploy(conn, 50)  # uncertified: it flags everything, which promises nothing
        add(here, conn, range(11), cut.id)
        assert lapse(here, conn) is not None
        add(here, conn, range(11, 12), cut.id)
        assert lapse(here, conn) is None
        samples.revoke(conn, samples.all(conn, here.product_id, "calibration")[0].id, NOW)
        products.retire(conn, here.product_id, NOW)
    with reading(here.engine) as conn:
        assert lapses.all(conn, ASKED) == {}
