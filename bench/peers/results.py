"""Results of single runs as small files, so that a long bench can stop and go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.uint32]
GRID = np.unique(np.concatenate([np.linspace(0, 0.99, 100), 1 - np.geomspace(1e-2, 1e-5, 100)]))
SAMPLED = 7  # every 7th pixel places the bins


class ResultError(Exception):
    """Results that cannot be used together; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a result is of: the set's name, the model's, and the seed."""

    set: str
    model: str
    seed: int

    @property
    def stem(self) -> str:
        """Of its files."""
        return f"{self.set}.{self.model}.{self.seed}"


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One model on one set with one seed.

    Attributes:
        key: see there.
        settings: what the run depended on besides its key; results are only compared where they are equal.
        figures: image_auroc, pixel_auroc, aupro on 0 .. 1; None where the set or the model does not give it.
        failure: why there are no figures; "" where there are.
        seconds: of fitting, and of scoring per image.
        versions: of the libraries.
        machine: in words.
        images: test images, paths inside the set.
        labels: 1 for a defect, 0 for good.
        scores: one an image; None where it is not finite.
        pixels: n x 2 x bins, each image's good and defect pixels by map value (see `pixel_histograms`); None without
            masks or maps.
    """

    key: Key
    settings: Mapping[str, Any]
    figures: Mapping[str, float | None]
    failure: str
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    machine: str
    images: list[str]
    labels: list[int]
    scores: list[float | None]
    pixels: Counts | None


class Results:
    """A folder with one .json for each result, and an .npz beside it that holds its pixel histograms."""

    def __init__(self, folder: Path):
        self._folder = folder

    def has(self, key: Key, settings: Mapping[str, Any]) -> bool:
        """Whether a result is there already.

        Raises:
            ResultError: it is, but was made with other settings.
        """
        path = self._folder / f"{key.stem}.json"
        if not path.exists():
            return False
        found = json.loads(path.read_text())["settings"]
        if found != dict(settings):
            raise ResultError(f"{path}: was made with {found}, not {dict(settings)}; remove it or name other --results")
        return True

    def save(self, result: Result) -> None:
        """Writes the histograms first: where the .json is, the result is whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target, part = self._folder / f"{result.key.stem}.npz", self._folder / f".{result.key.stem}.part"
        target.unlink(missing_ok=True)
        if result.pixels is not None:
            with part.open("wb") as file:
                np.savez_compressed(file, pixels=result.pixels)
            part.replace(target)
        fields = {name: getattr(result, name) for name in Result.__slots__ if name != "pixels"}
        part.write_text(json.dumps({**fields, "key": asdict(result.key)}, separators=(",", ":")) + "\n")
        part.replace(target.with_suffix(".json"))

    def load(self) -> Iterator[Result]:
        """All results, by file name."""
        for path in sorted(self._folder.glob("*.json")):
            record = json.loads(path.read_text())
            histograms = path.with_suffix(".npz")
            pixels = None
            if histograms.exists():
                with np.load(histograms) as arrays:
                    pixels = arrays["pixels"]
            yield Result(**{**record, "key": Key(**record["key"])}, pixels=pixels)


def pixel_histograms(masks: list[npt.NDArray[np.bool_]], maps: list[npt.NDArray[np.float32]]) -> Counts:
    """Each image's good and defect pixels, counted in about 200 bins of map value: uint32 n x 2 x bins.

    The bins' limits are quantiles of the whole set's pixels, finer towards the top, where defects are: enough to
    compute a pixel AUROC over any choice of images to about 0.001.
    """
    sample = np.concatenate([one.ravel()[::SAMPLED] for one in maps])
    limits = np.unique(np.quantile(sample, GRID))
    counts = np.zeros((len(maps), 2, len(limits) + 1), np.uint32)
    for at, (mask, one) in enumerate(zip(masks, maps, strict=True)):
        bins = np.searchsorted(limits, one, "right")
        for kind, inside in enumerate((~mask, mask)):
            counts[at, kind] = np.bincount(bins[inside], minlength=counts.shape[2])
    return counts
