from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image
from sqlalchemy import Engine

from agent.retrain.errors import ImportRefused, TooFewImages
from agent.retrain.importer import ImportResult, import_folder
from agent.retrain.progress import Step
from agent.service import samples as service
from agent.service.ranks import PermissionDenied
from agent.settings import Settings
from agent.store import epochs, sample_search, samples, tables, users
from agent.store.blobs import keep
from agent.store.engine import reading, writing
from agent.store.local_blobs import LocalBlobs
from agent.store.products import Product
from agent.store.sample_search import Wanted
from agent.store.users import User
from model import images
from model.images import FolderError
from tests.integration.retrain_parts import NOW, database, folder, picture, tiny


class Shop:
    def __init__(self, place: Path) -> None:
        self.place = place
        self.settings: Settings = tiny(place)
        self.engine: Engine
        self.user: User
        self.product: Product
        self.engine, self.user, self.product = database(self.settings)
        self.blobs = LocalBlobs(self.settings.blobs.directory)

    def bring(self, path: Path, **options: Any) -> ImportResult:
        actor = options.pop("actor", self.user)
        return import_folder(
            self.engine, self.blobs, self.settings, actor, self.product, path, now=NOW, **options
        )  # fmt: skip

    def samples(self) -> list[samples.Sample]:
        with reading(self.engine) as conn:
            return samples.all(conn, self.product.id)

    def assert_untouched(self) -> None:
        with reading(self.engine) as conn:
            for table in (tables.sample, tables.blob, tables.audit_event):
                assert conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0
        assert not self.settings.blobs.directory.exists()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.engine.dispose()


def test_good_images_get_roles_and_defects_stay_out(shop: Shop) -> None:
    heard: list[Step] = []
    result = shop.bring(folder(shop.place / "images", 50, defects=3), on_progress=heard.append)
    made = shop.samples()
    assert Counter(one.role for one in made) == result.roles
    assert set(result.roles) == {"train", "calibration"} and sum(result.roles.values()) == 50
    assert result.duplicates == 0
    assert {one.origin for one in made} == {"import"}
    assert all(shop.blobs.get(one.blob_sha256) for one in made)
    with reading(shop.engine) as conn:
        told = sample_search.search(conn, Wanted(product_id=shop.product.id), 60)
    small = {one.sample.blob_sha256: shop.blobs.get(one.thumbnail_sha256 or "") for one in told}
    for one in made:
        frame, thumbnail = images.decode(shop.blobs.get(one.blob_sha256)), images.decode(small[one.blob_sha256])
        assert thumbnail.shape == frame.shape  # which is small enough
        assert abs(thumbnail.mean() - frame.mean()) < 2
    assert [(one.phase, one.step) for one in heard if one.step == one.steps] == [("checking", 50), ("storing", 50)]


def test_defects_come_with_masks_and_kinds_where_asked_for(shop: Shop) -> None:
    path = folder(shop.place / "images", 50, defects=4)
    result = shop.bring(path, defects=True)
    defects = [one for one in shop.samples() if one.role == "defect"]
    assert result.roles["defect"] == len(defects) == 4
    assert {one.reason for one in defects} == {"blot"}
    assert all(one.mask_sha256 and shop.blobs.get(one.mask_sha256) for one in defects)


def test_a_second_import_changes_nothing(shop: Shop) -> None:
    path = folder(shop.place / "images", 50, defects=2)
    shop.bring(path)
    before = shop.samples()
    result = shop.bring(path)
    assert (result.roles, result.duplicates) == ({}, 50)
    assert shop.samples() == before


def test_identical_pixels_are_one_image_however_encoded(shop: Shop) -> None:
    path = folder(shop.place / "images", 50)
    (path / "train" / "good" / "again.png").write_bytes((path / "train" / "good" / "000.png").read_bytes())
    result = shop.bring(path)
    assert result.duplicates == 1 and sum(result.roles.values()) == 50


def moved(path: Path, name: str, *, to: str) -> None:
    source = next(path.rglob(name))
    (path / to).mkdir(parents=True, exist_ok=True)
    source.rename(path / to / name)


@pytest.mark.parametrize("by", ["pixels", "bytes"])
def test_a_picture_of_the_stream_is_not_imported_again(shop: Shop, by: str) -> None:
    path = folder(shop.place / "images", 50)
    data = (path / "train" / "good" / "000.png").read_bytes()
    pixels = images.pixels_sha256(images.decode(data)) if by == "pixels" else hashlib.sha256(data).hexdigest()
    blob = keep(shop.engine, shop.blobs, data if by == "bytes" else data + b"another file", "image/png", NOW)
    with writing(shop.engine) as conn:
        one = samples.add(conn, samples.NewSample(shop.product.id, "train", "flagged", blob, pixels), NOW)
    result = shop.bring(path)
    assert result.duplicates == 1 and len(shop.samples()) == 50
    assert one in shop.samples()
    service.revoke(shop.engine, shop.user, one.id, key="r", now=NOW)
    moved(path, "000.png", to="test/blot")
    assert shop.bring(path, defects=True).roles == {"defect": 1}
    assert [made.id for made in shop.samples() if made.role == "defect"] == [one.id], "the same sample"


def test_a_picture_changes_sides_only_once_its_sample_is_taken_out(shop: Shop) -> None:
    path = folder(shop.place / "images", 50)
    shop.bring(path)
    known = {one.pixels_sha256: one for one in shop.samples()}
    names = sorted(file.name for file in (path / "train" / "good").iterdir())
    of = {name: known[images.pixels_sha256(images.decode((path / "train/good" / name).read_bytes()))] for name in names}
    for role, act in (("calibration", "withdraw"), ("train", "revoke")):
        name = next(name for name, one in of.items() if one.role == role)
        moved(path, name, to="test/blot")
        with pytest.raises(ImportRefused, match=rf"{name}.* goodpart samples {act} {of[name].id};"):
            shop.bring(path, defects=True)
        if role == "calibration":
            moved(path, name, to="train/good")
    one = of[name]
    service.revoke(shop.engine, shop.user, one.id, key="r", now=NOW)
    moved(path, name, to="train/good")
    assert shop.bring(path, defects=True).roles == {}, "what was revoked as good stays out as good"
    moved(path, name, to="test/blot")
    assert shop.bring(path, defects=True).roles == {"defect": 1}
    assert [(made.id, made.reason) for made in shop.samples() if made.role == "defect"] == [(one.id, "blot")]

    moved(path, name, to="train/good")
    with pytest.raises(ImportRefused, match=rf"goodpart bank withdraw {one.id};"):
        shop.bring(path)
    with writing(shop.engine) as conn:
        samples.revoke(conn, one.id, NOW)
    assert shop.bring(path).roles == {"train": 1}


def test_all_images_of_a_part_share_its_first_role(shop: Shop) -> None:
    for batch in ("a", "b"):
        good = shop.place / batch / "good"
        good.mkdir(parents=True)
        for i in range(50):
            (good / f"part{i}_{batch}.png").write_bytes(picture(i + 100 * (batch == "b")))
        shop.bring(shop.place / batch, group_by="(part[0-9]+)_")
    roles: dict[str | None, set[str]] = {}
    for one in shop.samples():
        roles.setdefault(one.serial, set()).add(one.role)
    assert len(roles) == 50 and all(len(found) == 1 for found in roles.values())


@pytest.mark.parametrize("exif", [True, False])
def test_images_taken_close_together_are_one_part(shop: Shop, exif: bool) -> None:
    good = shop.place / "a" / "good"
    good.mkdir(parents=True)
    for part in range(50):
        for view in range(2):
            path = good / f"{view}-{part:02}.png"
            path.write_bytes(picture(part + 100 * view))
            # Parts 10 s apart, their views half a second; what EXIF says goes before the file's time.
            taken = NOW + timedelta(seconds=10 * part + 0.5 * view)
            if exif:
                tags = Image.Exif()
                tags[0x8769] = {0x9003: f"{taken:%Y:%m:%d %H:%M:%S}", 0x9291: f"{taken:%f}"}
                with Image.open(path) as image:
                    image.save(path, exif=tags)
                taken = NOW
            os.utime(path, (taken.timestamp(), taken.timestamp()))
    result = shop.bring(shop.place / "a", group_by="2s")
    serials = Counter(one.serial for one in shop.samples())
    assert len(serials) == 50 and set(serials.values()) == {2}
    assert len({(one.serial, one.role) for one in shop.samples()}) == 50
    assert result.roles == {"train": 60, "calibration": 40}
    again = shop.bring(shop.place / "a", group_by="2s")
    assert (again.roles, again.duplicates) == ({}, 100)


def test_a_part_keeps_the_role_it_had_before_the_import(shop: Shop) -> None:
    good = shop.place / "a" / "good"
    good.mkdir(parents=True)
    for i in range(50):
        (good / f"part{i}_a.png").write_bytes(picture(i))
    with writing(shop.engine) as conn:
        conn.execute(
            sa.insert(tables.blob).values(sha256="0" * 64, bytes=1, media_type="x", state="stored", touched_at=NOW)
        )
        for i in range(8):
            new = samples.NewSample(shop.product.id, "holdout", "audit", "0" * 64, f"{i:064}", serial=f"part{i}")
            samples.add(conn, new, NOW)
            other = replace(new, role="train", origin="flagged", state="refused", pixels_sha256=f"{100 + i:064}")
            unused = samples.add(conn, other, NOW)
            if i % 2:
                samples.revoke(conn, unused.id, NOW)
    result = shop.bring(shop.place / "a", group_by="(part[0-9]+)_")
    assert result.roles["holdout"] == 8, "whatever role a sample had that nothing uses"


def test_imported_calibration_is_of_one_epoch(shop: Shop) -> None:
    shop.bring(folder(shop.place / "a", 50))
    shop.bring(folder(shop.place / "b", 50, first=50))
    with reading(shop.engine) as conn:
        (epoch,) = epochs.of_product(conn, shop.product.id)
        calibration = epochs.held(conn, shop.product.id)[epoch.id].calibration
    assert (epoch.cause, epoch.by) == ("import", None)
    assert {(one.role, one.epoch_id) for one in shop.samples()} == {("train", None), ("calibration", epoch.id)}
    assert calibration == sum(one.role == "calibration" for one in shop.samples())


def test_once_the_stream_calibrates_imported_images_train_only(shop: Shop) -> None:
    good = shop.place / "b" / "good"
    good.mkdir(parents=True)
    for i in range(12):
        (good / f"part{i}_b.png").write_bytes(picture(100 + i))
    shop.bring(folder(shop.place / "a", 50))
    with writing(shop.engine) as conn:
        cut = epochs.open(conn, shop.product.id, "camera", "new lamp", now=NOW)
        blob = samples.all(conn, shop.product.id)[0].blob_sha256
        for i in range(2):
            new = samples.NewSample(
                shop.product.id, "calibration", "audit", blob, f"{i:064}", serial=f"part{i}", epoch_id=cut.id
            )
            samples.add(conn, new, NOW)
    result = shop.bring(shop.place / "b", group_by="(part[0-9]+)_")
    assert (result.roles, result.warning) == ({"train": 10}, None)
    assert result.note and f"epoch {cut.id}, camera" in result.note and "2 images of parts" in result.note
    assert result.note in result.describe()
    with reading(shop.engine) as conn:
        assert epochs.current(conn, shop.product.id) == cut


def test_too_few_for_the_rate_is_a_warning_that_names_the_number(shop: Shop) -> None:
    shop.settings = shop.settings.model_copy(
        update={"certificate": shop.settings.certificate.model_copy(update={"review_rate": 0.05})}
    )
    result = shop.bring(folder(shop.place / "images", 50))
    assert result.warning and "82" in result.warning and "warning" in result.describe()


def many(path: Path, parts: int, views: int) -> Path:
    good = path / "good"
    good.mkdir(parents=True)
    for part in range(parts):
        for view in range(views):
            (good / f"part{part:02}_{view}.png").write_bytes(picture(part * 100 + view))
    return path


def test_parts_certify_not_their_pictures(shop: Shop) -> None:
    few = many(shop.place / "few", 10, 6)
    with pytest.raises(TooFewImages, match="36 good images to train and 4 to calibrate are too few"):
        shop.bring(few, group_by="(part[0-9]+)_")
    shop.assert_untouched()
    shop.settings = shop.settings.model_copy(update={"certificate": Settings().certificate})
    result = shop.bring(many(shop.place / "more", 40, 3), group_by="(part[0-9]+)_")
    assert result.roles == {"train": 72, "calibration": 48}
    assert result.warning and result.warning.startswith("16 calibration images certify")
    result = shop.bring(many(shop.place / "other", 40, 4), group_by="(part[0-9]+)_")
    assert result.warning and result.warning.startswith("16 calibration images certify"), "of the same parts"
    result = shop.bring(few)
    assert result.warning and "calibration images certify" in result.warning
    with reading(shop.engine) as conn:
        (held,) = epochs.held(conn, shop.product.id).values()
    assert result.warning.startswith(f"{held.calibration} "), "images are counted where one names no part"


@pytest.mark.parametrize("good", [1, 8])
def test_too_few_for_any_certificate_leaves_nothing(shop: Shop, good: int) -> None:
    with pytest.raises(TooFewImages, match=r"are needed \(about \d+ good images in all\)"):
        shop.bring(folder(shop.place / "images", good))
    shop.assert_untouched()


def corrupt(path: Path) -> None:
    (path / "train" / "good" / "049.png").write_bytes(b"not a picture")


def truncated(path: Path) -> None:
    file = path / "train" / "good" / "049.png"
    file.write_bytes(file.read_bytes()[:-40])


def contradiction(path: Path) -> None:
    (path / "test" / "blot" / "bad.png").write_bytes((path / "train" / "good" / "000.png").read_bytes())


def wrong_mask(path: Path) -> None:
    (path / "ground_truth" / "blot" / "000_mask.png").write_bytes(b"")


@pytest.mark.parametrize("spoil", [corrupt, truncated, contradiction, wrong_mask])
def test_a_bad_image_leaves_nothing_and_is_named(shop: Shop, spoil: Any) -> None:
    path = folder(shop.place / "images", 50, defects=2)
    spoil(path)
    with pytest.raises((ImportRefused, FolderError), match=r"\.png") as error:
        shop.bring(path, defects=True)
    assert "\n" not in str(error.value)
    shop.assert_untouched()


def test_a_folder_without_good_leaves_nothing(shop: Shop) -> None:
    (shop.place / "images" / "bad").mkdir(parents=True)
    (shop.place / "images" / "bad" / "0.png").write_bytes(picture(0))
    for path in (shop.place / "images", shop.place / "nowhere"):
        with pytest.raises(FolderError):
            shop.bring(path)
    shop.assert_untouched()


@pytest.mark.parametrize("group_by", ["(", "part", "(nothing)"])
def test_a_wrong_group_by_leaves_nothing(shop: Shop, group_by: str) -> None:
    path = folder(shop.place / "images", 50)
    with pytest.raises(ImportRefused):
        shop.bring(path, group_by=group_by)
    shop.assert_untouched()


def test_an_operator_may_not_import(shop: Shop) -> None:
    with writing(shop.engine) as conn:
        operator = users.add(conn, "otto", "operator", NOW)
    with pytest.raises(PermissionDenied):
        shop.bring(folder(shop.place / "images", 50), actor=operator)
    shop.assert_untouched()
