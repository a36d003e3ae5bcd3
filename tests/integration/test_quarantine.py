"""The quarantine of proposals: what is let through, held up, refused, and said of it. Most with a fake eye."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from agent.retrain import checking, holding
from agent.retrain.checking import Checker
from agent.retrain.due import due
from agent.retrain.errors import Busy, Cancelled
from agent.retrain.importer import import_folder
from agent.retrain.quarantine import LEAST_DEFECTS, MOST, Check, reference
from agent.retrain.run import train_product
from agent.service import samples as service
from agent.settings import Settings, utc_now
from agent.store import audit, epochs, proposals, registry, runs, samples, users
from agent.store.blobs import keep, keep_all
from agent.store.engine import open_engine, reading, writing
from agent.store.local_blobs import LocalBlobs, MemoryBlobs
from agent.store.proposals import LEAST_SINCE
from agent.store.samples import NewSample, Sample
from model.images import Frame
from model.likeness import Patches
from tests.databases import NOW, Line, line
from tests.integration.retrain_parts import checked, database, folder, picture, tiny, until


def eye(frames: Sequence[Frame]) -> Patches:
    """Five places around where the blot would be, by their mean colours."""
    places = [(30, 30), (30, 34), (34, 30), (34, 34), (32, 32)]
    rows = [[frame[y - 2 : y + 2, x - 2 : x + 2].mean((0, 1)) for y, x in places] for frame in frames]
    return np.array(rows, np.float32)


class Shop:
    """A live model, forty accepted normals, and a bank."""

    def __init__(self, made: Line, place: Path, defects: int = 12):
        self.line, self.blobs, self.settings = made, MemoryBlobs(), tiny(place)
        self.opened: list[bytes] = []
        known: list[tuple[bytes, str, str | None]] = [(picture(seed), "train", None) for seed in range(40)]
        known += [(picture(10_000 + seed, defect=True), "defect", "blot") for seed in range(defects)]
        hashes = keep_all(made.engine, self.blobs, [(data, "image/png") for data, _, _ in known], NOW)
        with writing(made.engine) as conn:
            for sha, (_, role, reason) in zip(hashes, known, strict=True):
                samples.add(conn, NewSample(made.product_id, role, "import", sha, sha, reason=reason), NOW)
        artifact = keep(made.engine, self.blobs, b"a model", "application/vnd.safetensors", NOW)
        with writing(made.engine) as conn:
            version = registry.add_version(
                conn, product_id=made.product_id, artifact_sha256=artifact, teacher="t", manifest={}, now=NOW
            )
            registry.promote(
                conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
            )

    def propose(self, seed: int, *, defect: bool = False) -> int:
        sha = keep(self.line.engine, self.blobs, picture(seed, defect=defect), "image/png", NOW)
        by = self.line.operator.id
        new = NewSample(self.line.product_id, "train", "flagged", sha, sha, state="proposed", added_by=by)
        with writing(self.line.engine) as conn:
            return samples.add(conn, new, NOW).id

    def check(self, **rules: Any) -> Counter[str]:
        changed = self.settings.samples.model_copy(update=rules)
        settings = self.settings.model_copy(update={"samples": changed})

        def open_eye(data: bytes) -> Any:
            self.opened.append(data)
            return eye

        return Check(self.line.engine, self.blobs, settings, open_eye, lambda: NOW).all()

    def sample(self, sample_id: int) -> Sample:
        with reading(self.line.engine) as conn:
            return samples.get(conn, sample_id)


@pytest.fixture
def shop(each_database: None, tmp_path: Path) -> Iterator[Shop]:
    with line(tmp_path) as made:
        yield Shop(made, tmp_path)


def test_what_looks_like_a_defect_waits_and_the_rest_trains(shop: Shop) -> None:
    good, bad = shop.propose(500), shop.propose(600, defect=True)
    assert shop.check() == {"accepted": 1, "quarantined": 1}
    assert shop.opened == [b"a model"]
    clear, held = shop.sample(good), shop.sample(bad)
    assert (clear.state, clear.accepted_by, clear.accepted_at) == ("accepted", None, NOW)
    assert (held.state, held.accepted_at) == ("quarantined", None)
    found = held.quarantine
    assert found and found["found"] == "suspect" and found["figure"] > found["cut"]
    assert (found["defects"], found["normals"], found["version"]) == (12, 40, 1)
    assert {shop.sample(one).role for one in found["nearest"]} == {"defect"} and len(found["nearest"]) == 3
    assert "12 blot" in found["words"]
    with reading(shop.line.engine) as conn:
        assert audit.verify(conn) is None
        assert {(one.action, one.user_id) for one in audit.recent(conn, 2)} == {("sample.check", None)}
    assert shop.check() == {} and len(shop.opened) == 1, "nothing waits, so no model is opened"
    service.accept(shop.line.engine, shop.line.engineer, bad, key="1", now=NOW)
    accepted = shop.sample(bad)
    assert (accepted.state, accepted.accepted_by) == ("accepted", shop.line.engineer.id)
    assert accepted.quarantine == found, "what was found stays on record"


@pytest.mark.parametrize(("second_person", "states"), [("never", "accepted refused"), ("always", "quarantined " * 2)])
def test_whom_a_second_person_must_accept(shop: Shop, second_person: str, states: str) -> None:
    waiting = [shop.propose(500), shop.propose(600, defect=True)]
    shop.check(second_person=second_person)
    assert [shop.sample(one).state for one in waiting] == states.split()


def test_a_small_bank_checks_nothing_and_says_so(each_database: None, tmp_path: Path) -> None:
    with line(tmp_path) as made:
        shop = Shop(made, tmp_path, defects=LEAST_DEFECTS - 1)
        waiting = shop.propose(600, defect=True)
        assert shop.check() == {"accepted": 1} and shop.opened == []
        found = shop.sample(waiting).quarantine
        assert found is not None
        assert (found["found"], found["words"]) == ("off", "not checked: the defect bank has 9 of 10 defects")


def test_switched_off_what_still_waits_is_let_through(shop: Shop) -> None:
    waiting = shop.propose(600, defect=True)
    assert shop.check(quarantine=False) == {"accepted": 1}
    assert "quarantine is false" in (shop.sample(waiting).quarantine or {})["words"]


def test_without_a_model_nothing_can_be_checked(shop: Shop) -> None:
    waiting = shop.propose(600)
    with writing(shop.line.engine) as conn:
        conn.exec_driver_sql("DELETE FROM deployment")
    assert shop.check() == {"accepted": 1}
    assert "no model is live" in (shop.sample(waiting).quarantine or {})["words"]


def test_a_proposal_that_cannot_be_read_waits_for_a_person(shop: Shop) -> None:
    sha = keep(shop.line.engine, shop.blobs, b"no picture", "image/png", NOW)
    new = NewSample(shop.line.product_id, "train", "flagged", sha, sha, state="proposed")
    with writing(shop.line.engine) as conn:
        broken = samples.add(conn, new, NOW).id
    good = shop.propose(500)
    assert shop.check() == {"accepted": 1, "quarantined": 1}
    assert (shop.sample(broken).quarantine or {})["found"] == "unreadable"
    assert shop.sample(good).state == "accepted"


class Change:
    """A new lamp at NOW, and an epoch that it cut: flagged parts of before and after it are called normal."""

    def __init__(self, shop: Shop):
        self.shop, self.offset = shop, 0
        with writing(shop.line.engine) as conn:
            epochs.open(conn, shop.line.product_id, "drift", "a new lamp", now=NOW)

    def propose(self, count: int, *, defect: bool = False, since: bool = True) -> list[int]:
        return [self._propose(defect, since) for _ in range(count)]

    def _propose(self, defect: bool, since: bool) -> int:
        made, self.offset = self.shop.line, self.offset + 1
        sha = keep(made.engine, self.shop.blobs, lit(picture(self.offset, defect=defect)), "image/png", NOW)
        at = NOW if since else NOW - timedelta(seconds=1)
        with writing(made.engine) as conn:
            item = made.add_item(conn, self.offset, event_at=at)
            new = NewSample(made.product_id, "train", "flagged", sha, sha, item_id=item.id, state="proposed",
                            added_by=made.operator.id)  # fmt: skip
            return samples.add(conn, new, NOW).id

    def accept(self, ids: Sequence[int]) -> None:
        for one in ids:
            service.accept(self.shop.line.engine, self.shop.line.engineer, one, key=f"accept-{one}", now=NOW)

    def states(self, ids: Sequence[int]) -> Counter[str]:
        return Counter(self.shop.sample(one).state for one in ids)

    def missing(self) -> int:
        with reading(self.shop.line.engine) as conn:
            return proposals.missing(conn, self.shop.line.product_id)


def lit(data: bytes) -> bytes:
    """The same part under another lamp."""
    frame = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), np.float32)
    return cv2.imencode(".png", np.clip(frame * (1.5, 1.3, 1.1), 0, 255).astype(np.uint8))[1].tobytes()


def test_after_a_change_what_was_held_up_is_compared_with_what_a_second_person_accepted(shop: Shop) -> None:
    change = Change(shop)
    good, bad = change.propose(60), change.propose(4, defect=True)
    shop.check()
    held = [one for one in good if shop.sample(one).state == "quarantined"]
    assert len(held) == 60 and change.missing() == LEAST_SINCE, "unlike both sides, all are held up"
    change.accept(held[: LEAST_SINCE - 1])
    assert shop.check() == {} and change.missing() == 1, "not enough to compare with"
    change.accept(held[LEAST_SINCE - 1 : LEAST_SINCE])
    shop.check()
    assert change.missing() == 0
    assert change.states(held)["accepted"] >= 50, "no second person has to look at these"
    assert change.states(bad) == {"quarantined": 4}
    assert (shop.sample(bad[0]).quarantine or {})["since_change"] == LEAST_SINCE
    clear = next(shop.sample(one) for one in held[LEAST_SINCE:] if shop.sample(one).state == "accepted")
    assert clear.accepted_by is None and (clear.quarantine or {})["found"] == "clear"
    assert change.states(change.propose(20)) == {"proposed": 20}
    assert shop.check()["accepted"] >= 16, "those that come then are compared with them at once"
    asked = len(shop.opened)
    while shop.check():  # at 40, perhaps at 80
        assert change.states(bad) == {"quarantined": 4}
    assert len(shop.opened) - asked <= 2, "a held-up one is looked at a bounded number of times"


def test_what_was_held_up_before_the_change_waits_for_its_person(shop: Shop) -> None:
    change = Change(shop)
    before, since = change.propose(3, since=False), change.propose(LEAST_SINCE + 3)
    shop.check()
    change.accept(since[:LEAST_SINCE])
    assert shop.check().total() == 3
    assert change.states(before) == {"quarantined": 3}


def test_what_a_second_look_cannot_judge_stays_held_up(shop: Shop) -> None:
    change = Change(shop)
    bad, good = change.propose(2, defect=True), change.propose(LEAST_SINCE)
    shop.check()
    found = {one: dict(shop.sample(one).quarantine or {}) for one in bad}
    change.accept(good)
    assert shop.check(quarantine=False) == {"quarantined": 2}
    for one in bad:
        assert shop.sample(one).state == "quarantined"
        assert shop.sample(one).quarantine == found[one] | {"since_change": LEAST_SINCE}
    assert shop.check(quarantine=False) == {}, "it is asked once, not at every turn"


def test_the_normals_since_a_change_are_up_to_half_of_the_reference() -> None:
    def chosen(old: int, since: int) -> tuple[int, int]:
        normals = [sample_of(number) for number in range(old + since)]
        found = reference(normals, range(old, old + since))
        assert [one.id for one in found] == sorted(one.id for one in found)
        return sum(one.id < old for one in found), sum(one.id >= old for one in found)

    assert chosen(500, 0) == (MOST, 0)
    assert chosen(500, 30) == (MOST - 30, 30)
    assert chosen(500, 500) == (MOST // 2, MOST // 2)
    assert chosen(50, 500) == (50, MOST - 50)
    assert chosen(0, 500) == (0, MOST)
    assert chosen(30, 20) == (30, 20)


def sample_of(number: int) -> Sample:
    empty = dict.fromkeys(field.name for field in fields(Sample))
    return Sample(**(empty | {"id": number}))  # type: ignore[arg-type]


def test_a_person_who_decides_during_the_check_is_not_overruled(shop: Shop) -> None:
    waiting = shop.propose(500)

    def refuse_meanwhile(frames: Sequence[Frame]) -> Patches:
        with reading(shop.line.engine) as conn:
            if samples.get(conn, waiting).state == "refused":
                return eye(frames)
        service.refuse(shop.line.engine, shop.line.engineer, waiting, "odd", key="1", now=NOW)
        return eye(frames)

    check = Check(shop.line.engine, shop.blobs, shop.settings, lambda _: refuse_meanwhile, lambda: NOW)
    assert check.all() == {"decided meanwhile": 1}
    assert (shop.sample(waiting).state, shop.sample(waiting).quarantine) == ("refused", None)


def test_a_check_that_must_end_leaves_what_waits(shop: Shop) -> None:
    waiting = shop.propose(500)

    def stop() -> None:
        raise Cancelled("the agent is gone")

    check = Check(shop.line.engine, shop.blobs, shop.settings, lambda _: eye, lambda: NOW)
    with pytest.raises(Cancelled):
        replace(check, pause=stop).all()
    assert shop.sample(waiting).state == "proposed"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A product whose live model is a memory alone, with twelve defects in its bank."""
    place = tmp_path_factory.mktemp("plant")
    settings = tiny(place)
    training = settings.training.model_copy(update={"memory_share": 1.0})
    settings = settings.model_copy(update={"training": training})
    engine, user, product = database(settings)
    blobs = LocalBlobs(settings.blobs.directory)
    pictures = folder(tmp_path_factory.mktemp("images"), 60, defects=12)
    import_folder(engine, blobs, settings, user, product, pictures, defects=True, now=utc_now())
    train_product(engine, blobs, settings, product.id, trigger="import", requested_by=user.id, clock=utc_now, threads=1)
    engine.dispose()
    return settings


class Floor:
    """The plant's database, open."""

    def __init__(self, settings: Settings):
        self.settings, self.engine = settings, open_engine(settings.database.url)
        self.blobs = LocalBlobs(settings.blobs.directory)

    def propose(self, seed: int, *, defect: bool) -> int:
        sha = keep(self.engine, self.blobs, picture(seed, defect=defect), "image/png", utc_now())
        with writing(self.engine) as conn:
            eve = users.find(conn, "eve")
            assert eve
            new = NewSample(1, "train", "flagged", sha, sha, state="proposed", added_by=eve.id)
            return samples.add(conn, new, utc_now()).id

    def state(self, sample_id: int) -> str:
        with reading(self.engine) as conn:
            return samples.get(conn, sample_id).state


@pytest.fixture
def floor(plant: Settings) -> Iterator[Floor]:
    opened = Floor(plant)
    yield opened
    opened.engine.dispose()


def test_a_real_model_holds_a_defect_up_and_one_agent_checks_at_a_time(floor: Floor) -> None:
    bad = [floor.propose(40_000 + seed, defect=True) for seed in range(4)]
    with writing(floor.engine) as conn:
        lease = holding.acquire(conn, utc_now(), checking.LEASE)
    assert lease
    with pytest.raises(Busy):
        checking.check(floor.engine, floor.settings, utc_now, threads=1)
    holding.give_back(floor.engine, lease, utc_now())
    assert checking.check(floor.engine, floor.settings, utc_now, threads=1)["quarantined"] >= 3
    assert [floor.state(one) for one in bad].count("quarantined") >= 3


def test_the_agent_starts_a_child_where_proposals_wait(floor: Floor) -> None:
    checker = Checker(floor.settings, floor.engine)
    checker.tick()
    assert checker._child is None, "nothing waits"
    waiting = floor.propose(50_000, defect=False)
    checker.tick()
    first = checker._child
    checker.tick()
    assert checker._child is first, "one child at a time"
    until(lambda: floor.state(waiting) != "proposed")
    assert first is not None and first.wait(30) == 0
    with reading(floor.engine) as conn:
        assert proposals.products(conn) == []
    checker.stop()


def test_a_run_learns_from_so_many_new_samples_and_the_rest_waits(floor: Floor) -> None:
    with writing(floor.engine) as conn:
        eve = users.find(conn, "eve")
        assert eve
        for one in samples.fresh(conn, 1, None):  # those of the tests before
            samples.revoke(conn, one.id, utc_now())
        for number in range(20):
            sha = samples.all(conn, 1, "train")[0].blob_sha256
            new = NewSample(1, "train", "flagged", sha, f"{number:064}", added_by=eve.id, state="proposed")
            checked(conn, samples.add(conn, new, utc_now()).id, utc_now())
        old = samples.counts(conn, 1)["train"] - 20
    places = old * 3 // 7
    train_product(
        floor.engine, floor.blobs, floor.settings, 1,
        trigger="person", requested_by=eve.id, cold=True, clock=utc_now, threads=1,
    )  # fmt: skip
    with writing(floor.engine) as conn:
        run = runs.all(conn, 1)[0]
        assert run.snapshot_id and run.settings["cold"] is True
        waiting = samples.fresh(conn, 1, run.snapshot_id)
        assert len(waiting) == 20 - places // 2
        assert run.held_back and run.held_back.startswith(f"{len(waiting)} new samples wait for the next run")
        found = due(conn, floor.settings, utc_now(), None)
        assert found and found.trigger == "samples", "they start the next run"
        first = min(one.id for one in waiting)
        assert all(one.id >= first for one in waiting), "the oldest are taken"
