"""Seven kinds of defects, each of graded strength, drawn in part coordinates together with their masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from agent.demo.part import BOLT, BORE, METAL, RIM, SIZE, Plane, X, Y, bolt_centres, relief, smooth_noise, step

MIDDLE = SIZE / 2
BROWN = np.array([0.85, 0.62, 0.45], np.float32)
OIL = np.array([0.93, 0.90, 0.78], np.float32)


@dataclass(frozen=True, slots=True)
class Surface:
    """A part's lit metal, where there is metal, and its tint; a defect returns another."""

    metal: Plane
    cover: Plane
    tint: npt.NDArray[np.float32]


Drawn = tuple[Surface, Plane]
Draw = Callable[[Surface, np.random.Generator, float, float], Drawn]


def _spot(rng: np.random.Generator, low: float = BORE + 12, high: float = RIM - 14) -> tuple[float, float]:
    """A place on the face, off the bolt holes, in part coordinates."""
    while True:
        radius, angle = np.sqrt(rng.uniform(low**2, high**2)), rng.uniform(-np.pi, np.pi)
        x, y = float(radius * np.cos(angle)), float(radius * np.sin(angle))
        if all(np.hypot(x - cx, y - cy) > BOLT + 10 for cx, cy in bolt_centres()):
            return x, y


def _line(points: npt.NDArray[np.float64], width: int) -> Plane:
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    fixed = np.round((points + MIDDLE) * 16).astype(np.int32)
    cv2.polylines(canvas, [fixed.reshape(-1, 1, 2)], False, 255, width, cv2.LINE_AA, shift=4)
    return np.asarray(canvas / np.float32(255) * METAL, np.float32)


def _blob(rng: np.random.Generator, x: float, y: float, radius: float, rough: float = 0.25) -> Plane:
    distance = np.hypot(X - x, Y - y) + rough * radius * smooth_noise(rng, radius / 2)
    return step(np.asarray(distance - radius, np.float32), 1.5)


def scratch(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """A long fine groove across the turning marks, bright on one flank."""
    x, y = _spot(rng)
    angle, length = rng.uniform(-np.pi, np.pi), 40 + 70 * strength
    t = np.linspace(-0.5, 0.5, 12)
    bend = rng.normal(0, 5) * (t**2 * 4 - 0.3)
    points = np.stack([
        x + t * length * np.cos(angle) - bend * np.sin(angle), y + t * length * np.sin(angle) + bend * np.cos(angle)
    ], 1)  # fmt: skip
    groove = _line(points, 1 if strength < 0.6 else 2)
    metal = surface.metal + (0.04 + 0.22 * strength) * groove + 0.35 * strength * relief(-2 * groove, light)
    return Surface(metal, surface.cover, surface.tint), groove


def dent(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """A dip: no edge, only shading."""
    x, y = _spot(rng)
    radius = 7 + 8 * strength
    distance = np.hypot((X - x) * rng.uniform(0.8, 1.2), (Y - y) * rng.uniform(0.8, 1.2))
    dip = np.asarray(np.exp(-0.5 * (distance / radius) ** 2), np.float32)
    metal = surface.metal + (0.16 + 0.30 * strength) * relief(-radius * dip, light) - 0.02 * dip
    return Surface(np.asarray(metal, np.float32), surface.cover, surface.tint), np.asarray(
        dip * METAL > 0.25, np.float32
    )


def corrosion(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """A cluster of pits with brown rims."""
    x, y = _spot(rng)
    pits = np.zeros((SIZE, SIZE), np.float32)
    for _ in range(4 + int(14 * strength)):
        px, py = x + rng.normal(0, 5 + 8 * strength), y + rng.normal(0, 5 + 8 * strength)
        pits = np.maximum(pits, _blob(rng, px, py, rng.uniform(1.2, 2.0 + 2.2 * strength), 0.15))
    pits = np.asarray(pits * METAL, np.float32)
    halo = np.clip(cv2.GaussianBlur(pits, (0, 0), 3) * 1.5, 0, 1)[..., None]
    tint = surface.tint * (1 - halo * strength * (1 - BROWN))
    return Surface(surface.metal * (1 - (0.25 + 0.4 * strength) * pits), surface.cover, tint), pits


def chip(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """A piece broken off the rim."""
    angle = rng.uniform(-np.pi, np.pi)
    radius = 5 + 9 * strength
    x, y = float((RIM - 1) * np.cos(angle)), float((RIM - 1) * np.sin(angle))
    gone = np.asarray(_blob(rng, x, y, radius, 0.3) * METAL, np.float32)
    edge = np.clip(cv2.GaussianBlur(gone, (0, 0), 1.6) - gone, 0, 1)
    cover = np.asarray(surface.cover * (1 - gone), np.float32)
    return Surface(surface.metal + 0.5 * edge * METAL, cover, surface.tint), gone


def burr(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """Swarf left in a bolt hole: bright curls that reach over its edge."""
    cx, cy = bolt_centres()[int(rng.integers(len(bolt_centres())))]
    start, turns = rng.uniform(-np.pi, np.pi), 1.2 + 2.2 * strength
    t = np.linspace(0, turns * np.pi, 40)
    radius = BOLT * (1.25 - 0.85 * t / t[-1]) + rng.normal(0, 0.5, t.size)
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    points = np.stack([cx + radius * np.cos(start + t), cy + radius * np.sin(start + t)], 1)
    fixed = np.round((points + MIDDLE) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(canvas, [fixed], False, 255, 3 + int(3 * strength), cv2.LINE_AA, shift=4)
    curl = np.asarray(canvas / np.float32(255), np.float32)
    height = np.asarray(4 * cv2.GaussianBlur(curl, (0, 0), 1), np.float32)
    shine = np.asarray(np.clip(0.72 + 0.9 * relief(height, light), 0, 1), np.float32)
    metal = surface.metal * (1 - curl) + curl * shine
    return Surface(np.asarray(metal, np.float32), np.maximum(surface.cover, curl), surface.tint), curl


def stain(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """Dried coolant: a tinted film with a darker rim."""
    x, y = _spot(rng)
    film = np.asarray(_blob(rng, x, y, 12 + 18 * strength, 0.35) * METAL, np.float32)
    soft = cv2.GaussianBlur(film, (0, 0), 2.5)
    rim = np.clip(film - cv2.erode(soft, np.ones((5, 5), np.uint8)), 0, 1)
    tint = surface.tint * (1 - (0.35 + 0.6 * strength) * soft[..., None] * (1 - OIL))
    metal = surface.metal * (1 - (0.02 + 0.09 * strength) * soft - 0.12 * strength * rim)
    return Surface(np.asarray(metal, np.float32), surface.cover, tint), film


def crack(surface: Surface, rng: np.random.Generator, strength: float, light: float) -> Drawn:
    """A fatigue crack that starts at a bolt hole and wanders."""
    cx, cy = bolt_centres()[int(rng.integers(len(bolt_centres())))]
    angle = rng.uniform(-np.pi, np.pi)
    points = [(cx + BOLT * np.cos(angle), cy + BOLT * np.sin(angle))]
    for _ in range(8 + int(14 * strength)):
        angle += rng.normal(0, 0.35)
        points.append((points[-1][0] + 3 * np.cos(angle), points[-1][1] + 3 * np.sin(angle)))
    line = _line(np.array(points), 1 if strength < 0.65 else 2)
    return Surface(surface.metal * (1 - (0.35 + 0.45 * strength) * line), surface.cover, surface.tint), line


KINDS: Mapping[str, Draw] = {
    "scratch": scratch,
    "dent": dent,
    "corrosion": corrosion,
    "chip": chip,
    "burr": burr,
    "stain": stain,
    "crack": crack,
}
