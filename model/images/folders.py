"""Folders of images in MVTec layout: labels from folder names, masks by stem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.images.decode import Frame, ImageError, decode

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
GOOD = "good"
NAMED = 3  # stray masks that an error names


class FolderError(Exception):
    """A folder that cannot be used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image file, its label ("good" or the kind of defect), and its mask where there is one.

    Neither is decoded where it has more than `max_megapixels`.
    """

    path: Path
    label: str
    mask_path: Path | None = None
    max_megapixels: int = 64

    def frame(self) -> Frame:
        """The decoded image; raises FolderError that names the file."""
        try:
            return decode(self.path.read_bytes(), max_megapixels=self.max_megapixels)
        except (ImageError, OSError) as error:
            raise FolderError(f"{self.path}: {error}; remove or replace it") from None

    def mask(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_] | None:
        """Defect pixels, bool H x W in frame coordinates; all False for good images, None where there is no mask.

        A defect is brighter than half of white. A mask that is darker everywhere holds labels, each but 0 a defect.

        Raises:
            FolderError: the mask cannot be read, has another size, or marks nothing.
        """
        if self.label == GOOD:
            return np.zeros(shape[:2], np.bool_)
        if self.mask_path is None:
            return None
        mask = replace(self, path=self.mask_path).frame()
        if mask.shape[:2] != shape[:2]:
            raise FolderError(f"{self.mask_path}: has another size than its image {self.path.name}")
        grey = mask.max(axis=2)
        brightest = int(grey.max())
        if not brightest:
            raise FolderError(
                f"{self.mask_path}: marks nothing on {self.path.name}, which is in {self.label}; mark the defect, or "
                "remove the mask"
            )
        return np.asarray(grey > (127 if brightest > 127 else 0))


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder in MVTec layout: good images to train on, labelled ones to test with."""

    name: str
    path: Path
    train_good: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]


def read_folder(path: Path, *, max_megapixels: int = 64, trains: bool = True) -> ImageFolder:
    """Lists a folder: train/good, test/KIND and ground_truth/KIND/STEM_mask.png; or just good/ and folders of defects.

    Args:
        path: of the folder.
        max_megapixels: largest picture that its images decode.
        trains: good images to train on are needed; else labelled ones to test with.

    Raises:
        FolderError: it is missing, is empty, has none of the images that are needed, or masks that belong to no image
            beside images without a mask.
    """
    if not path.is_dir():
        raise FolderError(f"{path}: there is no such folder")
    train = path / "train" / GOOD if (path / "train" / GOOD).is_dir() else path / GOOD
    good = _images(train, GOOD, None, max_megapixels)
    test = path / "test" if (path / "test").is_dir() else path
    kinds = sorted(
        kind for kind in test.iterdir()
        if kind.is_dir() and kind != train and kind.name not in ("train", "test", "ground_truth")
    )  # fmt: skip
    labelled = [
        image for kind in kinds for image in _images(kind, kind.name, path / "ground_truth" / kind.name, max_megapixels)
    ]
    if not (good if trains else labelled):
        where, what = ("train/good or good", "good parts") if trains else ("test/KIND", "good and of defective parts")
        state = f"has no images in {where}" if any(path.iterdir()) else "is empty"
        raise FolderError(f"{path}: {state}; put images of {what} into {path / ('train/good' if trains else 'test')}")
    return ImageFolder(path.resolve().name, path, tuple(good), tuple(labelled))


def _images(folder: Path, label: str, masks: Path | None, max_megapixels: int) -> list[LabelledImage]:
    if not folder.is_dir():
        return []
    found = [LabelledImage(file, label, _mask(file, masks), max_megapixels) for file in _files(folder)]
    bare = [image for image in found if image.mask_path is None]
    if label != GOOD and bare and masks and masks.is_dir():
        strays = sorted(
            {file.name for file in _files(masks)} - {image.mask_path.name for image in found if image.mask_path}
        )
        if strays:
            names = ", ".join(strays[:NAMED]) + (f" and {len(strays) - NAMED} more" if len(strays) > NAMED else "")
            stem = bare[0].path.stem
            raise FolderError(
                f"{masks}: {names} belong to no image; the mask of {bare[0].path.name} is {stem}_mask.png or {stem}.png"
            )
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())


def _mask(image: Path, masks: Path | None) -> Path | None:
    candidates = (masks / f"{image.stem}{ending}" for ending in ("_mask.png", ".png")) if masks else ()
    return next((mask for mask in candidates if mask.is_file()), None)
