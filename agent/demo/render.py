"""Renders the demo's product in MVTec layout: good parts, and seven kinds of defects with masks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import cv2
import numpy as np
import numpy.typing as npt

from agent.demo.defects import KINDS, Surface
from agent.demo.part import METAL, SIZE, USUAL, Lamp, Pose, flange, photograph

QUALITY = 93  # of the JPEG files
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rendered:
    """How far rendering is."""

    step: int
    steps: int
    rate: float
    phase: str = "rendering"
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be made: its place in the folder, its kind, and how strong the defect is (0.25 .. 1)."""

    folder: str
    kind: str | None
    number: int
    strength: float = 0.0


def picture(kind: str | None, strength: float, seed: tuple[int, ...], lamp: Lamp = USUAL) -> tuple[Picture, Picture]:
    """One part and the mask of its defect; the same seed with kind None gives the same part without it.

    Args:
        kind: key of `agent.demo.defects.KINDS`; None for a good part.
        strength: 0.25 (an attentive person sees it) .. 1 (everybody does).
        seed: of everything that varies.
        lamp: what lights it.

    Returns:
        uint8 SIZE x SIZE x 3 RGB, and the mask as uint8 SIZE x SIZE, 0 or 255.
    """
    pose = Pose.draw(np.random.default_rng((*seed, 0))).under(lamp)
    surface = Surface(flange(np.random.default_rng((*seed, 1)), pose), METAL, np.ones((SIZE, SIZE, 3), np.float32))
    mask = np.zeros((SIZE, SIZE), np.float32)
    if kind is not None:
        surface, mask = KINDS[kind](surface, np.random.default_rng((*seed, 2)), strength, pose.light)
    shot = photograph(surface.metal, surface.cover, surface.tint, pose, np.random.default_rng((*seed, 3)))
    placed = cv2.warpAffine(mask, pose.matrix(), (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    return shot, np.asarray(np.where(placed > 0.3, 255, 0), np.uint8)


def render(
    directory: Path,
    *,
    good: int,
    test_good: int,
    defects_per_kind: int,
    seed: int = 0,
    on_progress: Callable[[Rendered], None] | None = None,
) -> None:
    """Writes train/good, test/good, test/KIND and ground_truth/KIND. The folder appears whole or not at all.

    Args:
        directory: must not exist yet.
        good: good parts to train on.
        test_good: good parts to test with.
        defects_per_kind: defective parts of each kind, of evenly graded strength.
        seed: the same gives the same pictures.
        on_progress: hears of each picture.

    Raises:
        FileExistsError: the directory is there already.
    """
    if directory.exists():
        raise FileExistsError(f"{directory} is there already")
    jobs = [Job("train/good", None, number) for number in range(good)]
    jobs += [Job("test/good", None, good + number) for number in range(test_good)]
    for kind in KINDS:
        grades = np.linspace(0.25, 1.0, defects_per_kind) if defects_per_kind > 1 else [0.7]
        start = len(jobs)
        jobs += [Job(f"test/{kind}", kind, start + n, float(grade)) for n, grade in enumerate(grades)]
    part = directory.with_name(f".{directory.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for folder in {job.folder for job in jobs} | {f"ground_truth/{kind}" for kind in KINDS if defects_per_kind}:
        (part / folder).mkdir(parents=True)
    began = monotonic()
    try:
        with ThreadPoolExecutor(2) as pool:
            for done, _ in enumerate(pool.map(lambda job: _write(part, job, seed), jobs), 1):
                if on_progress:
                    on_progress(Rendered(done, len(jobs), done / max(monotonic() - began, 1e-9)))
        part.rename(directory)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def jpeg(shot: Picture) -> bytes:
    """The picture as a camera encodes it."""
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(shot, cv2.COLOR_RGB2BGR), options)[1].tobytes()


def _write(root: Path, job: Job, seed: int) -> None:
    shot, mask = picture(job.kind, job.strength, (seed, job.number))
    name = f"{job.number:04d}"
    (root / job.folder / f"{name}.jpg").write_bytes(jpeg(shot))
    if job.kind:
        (root / "ground_truth" / job.kind / f"{name}_mask.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
