"""Imports a folder of images as samples of a product. Everything is checked before anything is written.

Sources: roles and shares of goodpart's model.md; the folder layout is MVTec AD's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine

from agent.frame import CONTENT_TYPES
from agent.pipeline import pictures
from agent.retrain import grouping, roles
from agent.retrain.errors import ImportRefused
from agent.retrain.grouping import SerialOf
from agent.retrain.progress import OnProgress, Stage
from agent.service import samples as service
from agent.service.acts import current
from agent.service.samples import MEASURING
from agent.settings import Settings
from agent.store import epochs, samples
from agent.store.blobs import BlobStore, keep_all
from agent.store.engine import reading
from agent.store.epochs import GIVEN, Epoch, Held
from agent.store.install import install_of
from agent.store.products import Product
from agent.store.rows import chunks
from agent.store.samples import NewSample, Sample
from agent.store.users import User
from model import images
from model.images import GOOD, LabelledImage

CHUNK = 16  # images stored together


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import brought: images by role, duplicates that were skipped, and a warning where they are few."""

    product: str
    roles: dict[str, int]
    duplicates: int
    warning: str | None = None
    note: str | None = None  # why none of them calibrates

    def describe(self) -> str:
        """One or two lines for people."""
        listed = ", ".join(f"{count} {role}" for role, count in sorted(self.roles.items())) or "nothing new"
        skipped = f"; {self.duplicates} duplicates skipped" if self.duplicates else ""
        noted = f"\n{self.note}" if self.note else ""
        warned = f"\nwarning: {self.warning}" if self.warning else ""
        return f"imported for {self.product}: {listed}{skipped}{noted}{warned}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Checked:
    """An image that was read and decoded; its bytes are read again when they are stored."""

    image: LabelledImage
    bytes_sha256: str
    pixels_sha256: str
    serial: str | None

    @property
    def part(self) -> str:
        """What shares a role: its serial, or the picture itself."""
        return self.serial or self.pixels_sha256


@dataclass(slots=True)
class _Sorted:
    new: list[_Checked] = field(default_factory=list)
    duplicates: int = 0


@dataclass(frozen=True, slots=True)
class _Stand:
    """What there is before an import.

    `epoch` is the one whose set the product calibrates on where that is of the stream, so that no image may join it;
    `held` are the good samples that a snapshot would take together with the imported images.
    """

    secret: bytes
    known: list[Sample]
    epoch: Epoch | None
    held: list[Sample]


def import_folder(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    actor: User,
    product: Product,
    path: Path,
    *,
    defects: bool = False,
    group_by: str | None = None,
    now: datetime,
    on_progress: OnProgress | None = None,
) -> ImportResult:
    """Makes samples of the good images of a folder, see `import_images`. Images under test/good stay out.

    Args:
        engine: the database.
        blobs: takes the images' bytes.
        settings: see `import_images`.
        actor: see `import_images`.
        product: whose samples they become.
        path: folder in MVTec layout, or with good/ and other folders of defects.
        defects: whether its labelled defects come into the defect bank, with their masks.
        group_by: see `import_images`.
        now: time of the import.
        on_progress: hears of each image checked and stored.

    Raises:
        model.images.FolderError: the folder is missing or empty, or has no good images.
        As `import_images`.
    """
    folder = images.read_folder(path, max_megapixels=settings.pipeline.max_megapixels)
    labelled = [image for image in folder.test if image.label != GOOD] if defects else []
    return import_images(
        engine, blobs, settings, actor, product, folder.train_good, labelled,
        group_by=group_by, now=now, on_progress=on_progress,
    )  # fmt: skip


def import_images(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    actor: User,
    product: Product,
    good: Sequence[LabelledImage],
    defects: Sequence[LabelledImage],
    *,
    group_by: str | None = None,
    now: datetime,
    on_progress: OnProgress | None = None,
) -> ImportResult:
    """Makes samples of good images, and of labelled defects for the defect bank.

    Good images get the roles train, calibration and, from 500 images, hold-out (60/40/0 or 60/25/15) by a keyed hash of
    their part, so that an import repeated gives the same roles, and nobody can choose them. A part's first role sticks.
    Identical decoded pixels are one image; what the product has, or had and revoked, is skipped. What was good and
    revoked may come back as a defect, and a defect that was withdrawn as good: that trains, as it was looked at for
    what a model made of it.

    Calibration and hold-out become those of the product's import epoch. Where its calibration set is one of the stream
    by now, all new good images train, but for those of parts that calibrate already: these are skipped.

    Args:
        engine: the database.
        blobs: takes the images' bytes.
        settings: its certificate's rates, unless the product has its own; the largest image.
        actor: who imports; an engineer at least.
        product: whose samples they become.
        good: images of good parts.
        defects: images of defects, labelled by their kind; their masks come along.
        group_by: which good images show the same part, so that they share a role: a regular expression on their names
            or a time between them, see `grouping.serials`. None: each image is a part of its own.
        now: time of the import.
        on_progress: hears of each image checked and stored.

    Returns:
        What was brought in. Too few images for the product's review rate give a warning, see `roles.check_enough`.

    Raises:
        model.images.FolderError: a mask is damaged or does not fit its image.
        ImportRefused: a damaged image, two labels for one picture, be it that of a sample, a wrong `group_by`, or a
            file that changed.
        TooFewImages: not even a certificate with a rate below one half could exist.
        agent.service.ranks.PermissionDenied: the actor may not import.
    """
    with reading(engine) as conn:
        current(conn, actor, "engineer", "sample.add")
        stand = _stand(conn, product, settings)
    serial_of = grouping.serials(group_by, [image.path for image in good])
    checked = _check([*good, *defects], serial_of, settings, on_progress)
    sorted_ = _without_duplicates(checked, stand.known)
    planned = _plan(sorted_.new, stand)
    counts = Counter(role for _, role in planned)
    warning = note = None
    if stand.epoch is None:
        warning = roles.check_enough(
            counts["train"] + sum(one.role == "train" for one in stand.held),
            _units(stand.held, planned),
            roles.needs(product.review_rate or settings.certificate.review_rate, settings.certificate.confidence),
        )
    else:
        note = _note(stand.epoch, len(sorted_.new) - len(planned))
    rows = list(_stored(engine, blobs, settings, product.id, actor.id, planned, now, on_progress))
    service.add_all(engine, actor, product.id, rows, key=f"import-{uuid4()}", now=now)
    return ImportResult(product.name, dict(counts), sorted_.duplicates, warning, note)


def _stand(conn: Connection, product: Product, settings: Settings) -> _Stand:
    known = samples.all(conn, product.id, revoked=True) + samples.all(conn, product.id, state=None)
    # Usable ones last: a part's role is that of the last one.
    known.sort(key=lambda one: one.revoked_at is None and one.state == "accepted")
    needed = epochs.asked(product, settings.certificate)
    chosen, n = epochs.calibrating(conn, product.id, needed), epochs.held(conn, product.id)
    taught_enough = chosen and chosen.cause == "teach" and n.get(chosen.id, Held()).calibration >= needed
    of_stream = chosen is not None and (chosen.cause not in GIVEN or bool(taught_enough))
    imported = next((one for one in epochs.of_product(conn, product.id) if one.cause == "import"), None)
    good = [one for one in samples.all(conn, product.id) if one.role != "defect"]
    held = [one for one in good if one.role == "train" or (imported and one.epoch_id == imported.id)]
    return _Stand(install_of(conn).secret, known, chosen if of_stream else None, held)


def _note(epoch: Epoch, skipped: int) -> str:
    left = f"; {skipped} images of parts that calibrate already are skipped" if skipped else ""
    return (
        f"the new good images train only: the product is calibrated on its stream (epoch {epoch.id}, {epoch.cause}), "
        f"and imported images are never pooled with that{left}"
    )


def _check(
    found: Sequence[LabelledImage],
    serial_of: SerialOf,
    settings: Settings,
    on_progress: OnProgress | None,
) -> list[_Checked]:
    stage = Stage("checking", len(found), on_progress)
    checked = []
    for image in found:
        data = _read(image.path)
        frame = _decode(data, image.path, settings)
        image.mask(frame.shape)  # raises FolderError where it does not fit
        serial = serial_of(image.path) if image.label == GOOD else None
        checked.append(_Checked(image, hashlib.sha256(data).hexdigest(), images.pixels_sha256(frame), serial))
        stage.advance()
    return checked


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImportRefused(f"{path}: cannot be read ({error.strerror}); nothing was imported") from None


def _decode(data: bytes, path: Path, settings: Settings) -> images.Frame:
    try:
        return images.decode(data, max_megapixels=settings.pipeline.max_megapixels)
    except images.ImageError as error:
        raise ImportRefused(f"{path}: {error}; remove or replace it, nothing was imported") from None


def _without_duplicates(checked: Iterable[_Checked], known: Sequence[Sample]) -> _Sorted:
    result = _Sorted()
    have = {sha256: one for one in known for sha256 in (one.pixels_sha256, one.blob_sha256)}
    labels: dict[str, LabelledImage] = {}
    for one in checked:
        twin = labels.setdefault(one.pixels_sha256, one.image)
        if (twin.label == GOOD) != (one.image.label == GOOD):
            raise ImportRefused(
                f"{twin.path} and {one.image.path} are the same picture, once good and once not; remove one of them"
            )
        before = have.get(one.pixels_sha256) or have.get(one.bytes_sha256)
        if twin is not one.image or (before and not _changes_sides(one.image, before)):
            result.duplicates += 1
        else:
            # One of before items had their pixels' hash comes back under its own.
            result.new.append(replace(one, pixels_sha256=before.pixels_sha256) if before else one)
    return result


def _changes_sides(image: LabelledImage, before: Sample) -> bool:
    """Whether what was good is a defect now, or the other way round; refused while the sample is not revoked."""
    if (before.role == "defect") == (image.label != GOOD):
        return False
    if before.revoked_at is None:
        group = "bank" if before.role == "defect" else "samples"
        act = "revoke" if before.role == "train" else "withdraw"
        raise ImportRefused(
            f"{image.path}: the same picture is sample {before.id} ({before.role}); remove the file, or take the "
            f"sample out first: goodpart {group} {act} {before.id}; nothing was imported"
        )
    return True


def _units(held: Sequence[Sample], planned: Sequence[tuple[_Checked, str]]) -> int:
    """What would calibrate, counted as a certificate does: in parts, or in images where one names no part."""
    known = [(one.role, one.station_id, one.serial) for one in held]
    measuring = [one for one in known + [(role, None, one.serial) for one, role in planned] if one[0] in MEASURING]
    calibration = [one for one in measuring if one[0] == "calibration"]
    return len(set(calibration) if all(serial for _, _, serial in measuring) else calibration)


def _plan(new: Sequence[_Checked], stand: _Stand) -> list[tuple[_Checked, str]]:
    good = [one for one in stand.known if one.role != "defect"]
    withdrawn = {one.pixels_sha256 for one in stand.known if one.role == "defect"}
    first = {one.part: "train" for one in new if one.pixels_sha256 in withdrawn}
    first |= {one.serial: one.role for one in good if one.serial}
    if stand.epoch:
        placed = ((one, first.get(one.serial or "", "train") if one.image.label == GOOD else "defect") for one in new)
        return [(one, role) for one, role in placed if role in ("train", "defect")]
    before = {one.serial or one.pixels_sha256: one.role for one in good if one.origin == "import"}
    keys = {one.part: None for one in new if one.image.label == GOOD}
    held = Counter(role for key, role in before.items() if key not in keys)
    assigned = roles.assign(stand.secret, list(keys), held, first)
    return [(one, assigned[one.part] if one.image.label == GOOD else "defect") for one in new]


def _stored(
    engine: Engine,
    blobs: BlobStore,
    settings: Settings,
    product_id: int,
    actor_id: int,
    planned: Sequence[tuple[_Checked, str]],
    now: datetime,
    on_progress: OnProgress | None,
) -> Iterable[NewSample]:
    stage = Stage("storing", len(planned), on_progress)
    for chunk in chunks(planned, CHUNK):
        read = [_read_again(one) for one, _ in chunk]
        files = [(data, _media_type(one.image.path)) for data, (one, _) in zip(read, chunk, strict=True)]
        frames = (_decode(data, one.image.path, settings) for data, (one, _) in zip(read, chunk, strict=True))
        files += [(pictures.thumbnail(frame), "image/webp") for frame in frames]
        masks = [one.image.mask_path for one, _ in chunk if one.image.mask_path]
        files += [(_read(path), _media_type(path)) for path in masks]
        hashes = iter(keep_all(engine, blobs, files, now))
        shas, small = list(islice(hashes, len(chunk))), list(islice(hashes, len(chunk)))
        mask_of = dict(zip(masks, hashes, strict=True))
        for (one, role), sha, thumbnail in zip(chunk, shas, small, strict=True):
            mask = one.image.mask_path
            yield NewSample(
                product_id=product_id,
                role=role,
                origin="import",
                blob_sha256=sha,
                mask_sha256=mask_of[mask] if mask else None,
                pixels_sha256=one.pixels_sha256,
                serial=one.serial,
                reason=one.image.label if role == "defect" else None,
                added_by=actor_id,
                thumbnail_sha256=thumbnail,
            )
        stage.advance(len(chunk))


def _read_again(one: _Checked) -> bytes:
    data = _read(one.image.path)
    if hashlib.sha256(data).hexdigest() != one.bytes_sha256:
        raise ImportRefused(f"{one.image.path}: changed during the import; import again when it is at rest")
    return data


def _media_type(path: Path) -> str:
    return CONTENT_TYPES.get(path.suffix.lower(), "application/octet-stream")
