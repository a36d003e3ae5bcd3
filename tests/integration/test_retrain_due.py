from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from agent.live import NoLive
from agent.retrain import freezing, run
from agent.retrain.due import Due, due, settles_at
from agent.retrain.schedule import Scheduler
from agent.service import retrain as service
from agent.settings import Settings
from agent.store import certificates, commands, epochs, leases, next_looks, products, registry, runs, samples, snapshots
from agent.store.blobs import keep
from agent.store.engine import writing
from agent.store.local_blobs import MemoryBlobs
from agent.store.products import Product
from agent.store.users import User
from tests.integration.retrain_parts import NOW, approve, database, picture, tiny

MINUTE = timedelta(minutes=1)


class Shop:
    """A product that could train: enough imported samples, cooldown one minute."""

    def __init__(self, place: Path) -> None:
        self.settings: Settings = tiny(place, cooldown_s=60)
        self.engine: Engine
        self.user: User
        self.product: Product
        self.engine, self.user, self.product = database(self.settings)
        self.blobs = MemoryBlobs()
        sha = keep(self.engine, self.blobs, picture(0), "image/png", NOW)
        with writing(self.engine) as conn:
            self.epoch_id = epochs.of_import(conn, self.product.id, NOW).id
            for i in range(40):
                role, epoch_id = ("train", None) if i < 20 else ("calibration", self.epoch_id)
                new = samples.NewSample(self.product.id, role, "import", sha, f"{i:064}", epoch_id=epoch_id)
                samples.add(conn, new, NOW)

    def settle(self, minutes: float, most: float) -> None:
        rules = {"settle_s": 60 * minutes, "settle_most_s": 60 * most}
        self.settings = self.settings.model_copy(update={"retrain": self.settings.retrain.model_copy(update=rules)})

    def approve(self, seeds: range, minutes: int = 0) -> None:
        approve(self.engine, self.blobs, self.product, seeds, NOW + minutes * MINUTE)

    def due(self, minutes: float = 0, cron_minutes: float | None = None) -> Due | None:
        cron_at = None if cron_minutes is None else NOW + cron_minutes * MINUTE
        with writing(self.engine) as conn:
            return due(conn, self.settings, NOW + minutes * MINUTE, cron_at)

    def trigger(self, minutes: float = 0, cron_minutes: float | None = None) -> str | None:
        found = self.due(minutes, cron_minutes)
        return found.trigger if found else None

    def ran(self, state: str, minutes: float, snapshot_id: int | None = None) -> None:
        now = NOW + minutes * MINUTE
        with writing(self.engine) as conn:
            run_id = run.open_run(conn, self.settings, Due(self.product.id, "person"), now).id
            if snapshot_id is None:
                snapshot_id = snapshots.freeze(conn, self.product.id, now, epoch_id=self.epoch_id).id
            runs.start(conn, run_id, snapshot_id, now)
            runs.close(conn, run_id, state, "because", now)


class Clock:
    now = NOW + timedelta(minutes=7, seconds=3)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.engine.dispose()


def test_an_import_alone_starts_nothing(shop: Shop) -> None:
    assert shop.trigger(cron_minutes=0) is None


def test_enough_new_samples_start_a_run(shop: Shop) -> None:
    shop.approve(range(3))
    assert shop.trigger() is None
    shop.approve(range(3, 4))
    assert shop.due() == Due(shop.product.id, "samples")


def test_a_run_waits_until_nobody_accepts_any_more_but_not_for_ever(shop: Shop) -> None:
    shop.settle(minutes=10, most=60)
    shop.approve(range(4))
    assert (shop.trigger(9.9), shop.trigger(10)) == (None, "samples")
    assert shop.trigger(1, cron_minutes=1) == "cron", "that moment is somebody's choice"
    shop.approve(range(4, 5), minutes=8)
    assert (shop.trigger(17.9), shop.trigger(18)) == (None, "samples")
    for number in range(5, 11):
        shop.approve(range(number, number + 1), minutes=(number - 3) * 8)
    assert (shop.trigger(59.9), shop.trigger(60)) == (None, "samples"), "so long since there are enough"


def test_what_was_held_back_lets_no_run_start_while_somebody_accepts(shop: Shop) -> None:
    """What was there before does not count as put off: neither the rest after a run, nor who begins again."""
    old = [NOW] * 4
    rules = shop.settings.retrain.model_copy(update={"settle_s": 600.0, "settle_most_s": 3600.0})
    steady = [NOW + 100 * MINUTE + one * MINUTE for one in range(0, 100, 5)]
    assert settles_at(old, NOW, rules) == NOW + 10 * MINUTE
    assert settles_at(old[:3], NOW, rules) is None
    assert settles_at([*old, *steady], NOW, rules) == steady[0] + 60 * MINUTE
    assert settles_at([*old, *steady], NOW + 130 * MINUTE, rules) == NOW + 190 * MINUTE
    assert settles_at([*old, *steady[:3]], NOW, rules) == steady[2] + 10 * MINUTE
    assert settles_at(steady, NOW, rules) == steady[3] + 60 * MINUTE, "since the fourth one there are enough"


def test_samples_of_a_judged_run_are_not_new_and_those_of_a_failed_run_are(shop: Shop) -> None:
    shop.approve(range(4))
    shop.ran("failed", 1)
    assert shop.trigger(60) == "samples"
    shop.ran("rejected", 61)
    assert shop.trigger(600) is None
    shop.approve(range(4, 8), minutes=62)
    assert shop.trigger(600) == "samples"


def test_the_cooldown_doubles_with_each_failure_in_a_row(shop: Shop) -> None:
    shop.approve(range(4))
    shop.ran("failed", 0)
    assert (shop.trigger(1.9), shop.trigger(2)) == (None, "samples")
    shop.ran("failed", 2)
    assert (shop.trigger(5.9), shop.trigger(6)) == (None, "samples")
    shop.ran("cancelled", 6)
    assert (shop.trigger(6.9), shop.trigger(7)) == (None, "samples")


@pytest.mark.parametrize("begun", [True, False])
def test_what_a_person_cancelled_starts_again_only_by_a_person_or_with_something_new(shop: Shop, begun: bool) -> None:
    shop.approve(range(4))
    with writing(shop.engine) as conn:
        opened = run.open_run(conn, shop.settings, Due(shop.product.id, "samples"), NOW + MINUTE)
        if begun:
            frozen, _ = freezing.freeze(conn, shop.settings, shop.product, NOW + MINUTE)
            runs.start(conn, opened.id, frozen.id, NOW + MINUTE)
    service.cancel(shop.engine, shop.user, opened.id, reason="not these", key="1", now=NOW + 2 * MINUTE)
    assert shop.trigger(600) is None
    assert shop.trigger(600, cron_minutes=600) is None
    shop.approve(range(4, 7), minutes=601)
    assert shop.trigger(700) is None, "fewer than a run takes"
    service.request(shop.engine, shop.user, shop.product.id, key="2", now=NOW + 700 * MINUTE)
    assert shop.trigger(700) == "person"
    shop.approve(range(7, 8), minutes=701)
    assert shop.trigger(800) == "samples"


def test_the_cron_needs_something_new_and_fires_once(shop: Shop) -> None:
    assert shop.trigger(5, cron_minutes=5) is None
    shop.approve(range(1))
    assert shop.trigger(5) is None
    assert shop.trigger(5, cron_minutes=5) == "cron"
    shop.ran("failed", 5.1)
    assert shop.trigger(60, cron_minutes=5) is None
    assert shop.trigger(60, cron_minutes=60) == "cron"


def test_the_cron_of_two_agents_starts_one_run(shop: Shop) -> None:
    shop.approve(range(1))
    clock = Clock()
    one, other = (Scheduler(shop.settings, shop.engine, NoLive(), clock) for _ in range(2))
    one.fire_cron()
    clock.now += timedelta(seconds=2)
    other.fire_cron()
    with writing(shop.engine) as conn:
        opened = one._open(conn)
        assert opened and opened[0].trigger == "cron"
    with writing(shop.engine) as conn:
        assert other._open(conn) is None
        runs.close(conn, opened[0].id, "failed", "because", clock())
        leases.release(conn, opened[1], clock())
    clock.now += 10 * MINUTE
    with writing(shop.engine) as conn:
        assert other._open(conn) is None


def test_a_request_goes_first_and_is_taken_once(shop: Shop) -> None:
    shop.approve(range(4))
    asked = service.request(shop.engine, shop.user, shop.product.id, key="1", now=NOW)
    assert shop.due() == Due(shop.product.id, "person", shop.user.id, asked)
    assert shop.trigger() == "samples"


def test_too_few_calibration_images_start_nothing(shop: Shop) -> None:
    shop.approve(range(4))
    with writing(shop.engine) as conn:
        for one in samples.all(conn, shop.product.id, "calibration")[:-1]:
            samples.revoke(conn, one.id, NOW)
    assert shop.trigger() is None


def test_no_look_at_a_new_epoch_is_spent_before_it_can_certify_the_rate(shop: Shop) -> None:
    shop.approve(range(8))
    wanted = epochs.asked(shop.product, shop.settings.certificate)
    with writing(shop.engine) as conn:
        blob = samples.all(conn, shop.product.id)[0].blob_sha256
        cut = epochs.open(conn, shop.product.id, "camera", "new lamp", now=NOW)
        for i in range(100, 99 + wanted):
            new = samples.NewSample(shop.product.id, "calibration", "audit", blob, f"{i:064}", epoch_id=cut.id)
            samples.add(conn, new, NOW)
    assert shop.trigger(60, cron_minutes=50) is None
    asked = service.request(shop.engine, shop.user, shop.product.id, key="1", now=NOW)
    assert shop.due(60) == Due(shop.product.id, "person", shop.user.id, asked)
    assert "review the audit items" in cut.grows_by
    with writing(shop.engine) as conn:
        samples.add(conn, replace(new, pixels_sha256="f" * 64), NOW)
    assert shop.trigger(60) == "samples"


def test_an_automatic_run_waits_for_what_the_next_look_needs_wherever_its_parts_are_from(shop: Shop) -> None:
    """Imported ones too: 20 parts certify 30 % at looks 1 to 4, and look 5 needs 21."""

    def certified(number: int) -> None:
        with writing(shop.engine) as conn:
            blob = samples.all(conn, shop.product.id)[0].blob_sha256
            version = registry.add_version(
                conn, product_id=shop.product.id, artifact_sha256=blob, teacher="none", manifest={}, now=NOW
            )
            record = {"look": number, "n": 20, "calibration_sha256": "c" * 64}
            certificates.add(conn, version_id=version.id, epoch_id=shop.epoch_id, record=record, now=NOW)

    shop.approve(range(4))
    for number in range(1, 4):
        certified(number)
        assert shop.trigger() == "samples", f"look {number + 1} can certify the rate"
    certified(4)
    assert shop.trigger() is None
    assert shop.trigger(50, cron_minutes=50) is None
    with writing(shop.engine) as conn:
        look = next_looks.of_product(conn, shop.product, shop.settings.certificate)
    assert look and look.waits and "look 5 needs 21 calibration parts for 30.00%, and 20 are there" in look.waits
    asked = service.request(shop.engine, shop.user, shop.product.id, key="1", now=NOW)
    assert shop.due() == Due(shop.product.id, "person", shop.user.id, asked)
    with writing(shop.engine) as conn:
        one = samples.all(conn, shop.product.id, "calibration")[0]
        new = samples.NewSample(
            shop.product.id, "calibration", "import", one.blob_sha256, "f" * 64, epoch_id=shop.epoch_id
        )
        samples.add(conn, new, NOW)
    assert shop.trigger() == "samples"


def test_audited_parts_of_an_epoch_that_does_not_calibrate_start_nothing(shop: Shop) -> None:
    with writing(shop.engine) as conn:
        blob = samples.all(conn, shop.product.id)[0].blob_sha256
        stream = epochs.open(conn, shop.product.id, "stream", "audited parts", now=NOW)
        for i in range(100, 108):
            new = samples.NewSample(shop.product.id, "calibration", "audit", blob, f"{i:064}", epoch_id=stream.id)
            samples.add(conn, new, NOW)
    assert shop.trigger() is None


def test_nothing_starts_where_the_caps_leave_no_place_for_what_is_new(shop: Shop) -> None:
    with writing(shop.engine) as conn:
        frozen = freezing.freeze(conn, shop.settings, shop.product, NOW)[0]
        version = registry.add_version(
            conn, product_id=shop.product.id, artifact_sha256=frozen.samples[0].blob_sha256, snapshot_id=frozen.id,
            teacher="none", manifest={}, now=NOW,
        )  # fmt: skip
        registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
        )
    shop.approve(range(20))
    with writing(shop.engine) as conn:
        frozen, held = freezing.freeze(conn, shop.settings, shop.product, NOW)
        assert len(held.ids) == 16
    shop.ran("rejected", 1, frozen.id)
    for minutes in range(2, 60):  # more failures than a page of runs holds
        shop.ran("cancelled", minutes, frozen.id)
    with writing(shop.engine) as conn:
        again, still = freezing.freeze(conn, shop.settings, shop.product, NOW)
        assert (again.id, still) == (frozen.id, held), "what was learnt of a rejected run is as new as before"
    assert shop.trigger(600) is None
    assert shop.trigger(600, cron_minutes=600) is None
    with writing(shop.engine) as conn:
        taken = next(one for one in frozen.samples if one.origin == "flagged")
        samples.revoke(conn, taken.id, NOW)
    assert shop.trigger(600) == "samples", "there is a place again"


def test_a_request_for_a_product_that_was_retired_meanwhile_ends_as_failed(shop: Shop) -> None:
    asked = service.request(shop.engine, shop.user, shop.product.id, key="1", now=NOW)
    with writing(shop.engine) as conn:
        products.retire(conn, shop.product.id, NOW)
    assert shop.due() is None
    with writing(shop.engine) as conn:
        found = commands.get(conn, asked)
    assert (found.state, found.problem) == ("failed", "the product was retired")


def test_a_retired_product_trains_no_more(shop: Shop) -> None:
    shop.approve(range(4))
    with writing(shop.engine) as conn:
        products.retire(conn, shop.product.id, NOW)
    assert shop.trigger() is None
