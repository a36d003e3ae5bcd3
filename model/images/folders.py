"""Folders of images in MVTec layout: labels from folder names, masks by stem."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from model.images.decode import Frame, ImageError, decode

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
GOOD = "good"


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
        """Defect pixels, bool H x W in frame coordinates; all False for good images, None where there is no mask."""
        if self.label == GOOD:
            return np.zeros(shape[:2], np.bool_)
        if self.mask_path is None:
            return None
        mask = replace(self, path=self.mask_path).frame()
        if mask.shape[:2] != shape[:2]:
            raise FolderError(f"{self.mask_path}: has another size than its image {self.path.name}")
        return np.asarray(mask.max(axis=2) > 127)


@dataclass(frozen=True, slots=True)
class ImageFolder:
    """A folder in MVTec layout: good images to train on, labelled ones to test with."""

    name: str
    path: Path
    train_good: tuple[LabelledImage, ...]
    test: tuple[LabelledImage, ...]


def read_folder(path: Path, *, max_megapixels: int = 64) -> ImageFolder:
    """Lists a folder: train/good, test/KIND and ground_truth/KIND/STEM_mask.png; or just good/ and folders of defects.

    Args:
        path: of the folder.
        max_megapixels: largest picture that its images decode.

    Raises:
        FolderError: it is missing, is empty, or has no good images to train on.
    """
    if not path.is_dir():
        raise FolderError(f"{path}: there is no such folder")
    train = path / "train" / GOOD if (path / "train" / GOOD).is_dir() else path / GOOD
    good = _images(train, GOOD, None, max_megapixels)
    if not good:
        state = "has no images in train/good or good" if any(path.iterdir()) else "is empty"
        raise FolderError(f"{path}: {state}; put images of good parts into {path / 'train' / GOOD}")
    test = path / "test" if (path / "test").is_dir() else path
    kinds = sorted(
        kind for kind in test.iterdir()
        if kind.is_dir() and kind != train and kind.name not in ("train", "test", "ground_truth")
    )  # fmt: skip
    labelled = [
        image for kind in kinds for image in _images(kind, kind.name, path / "ground_truth" / kind.name, max_megapixels)
    ]
    return ImageFolder(path.resolve().name, path, tuple(good), tuple(labelled))


def _images(folder: Path, label: str, masks: Path | None, max_megapixels: int) -> list[LabelledImage]:
    if not folder.is_dir():
        return []
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return [LabelledImage(file, label, _mask(file, masks) if masks else None, max_megapixels) for file in found]


def _mask(image: Path, masks: Path) -> Path | None:
    candidates = (masks / f"{image.stem}{ending}" for ending in ("_mask.png", ".png"))
    return next((mask for mask in candidates if mask.is_file()), None)
