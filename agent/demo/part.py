"""A machined flange as a camera above a fixture sees it: each part a little different, all of them good.

Everything is drawn in part coordinates (pixels from the bore's centre, y down) and placed by an affine map, so that a
defect and its mask move with the part. Grey values are float32 on 0 .. 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.float32]
SIZE = 384  # pixels, square
RIM, HUB, BORE = 158.0, 74.0, 34.0  # radii
BOLT_CIRCLE, BOLT, BOLTS = 117.0, 13.0, 6
MARK = "GP-17"


@dataclass(frozen=True, slots=True)
class Lamp:
    """What lights the parts: turned by so many radians, and so much brighter, than the usual one."""

    turn: float = 0.0
    gain: float = 1.0


USUAL = Lamp()


@dataclass(frozen=True, slots=True)
class Pose:
    """How a part lies and how it is lit; drawn anew for each picture."""

    dx: float
    dy: float
    degrees: float
    light: float  # direction of the lamp, radians
    gain: float
    highlight: float
    blur: float
    noise: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Pose:
        """A natural one: a few pixels and degrees off, light and focus varying."""
        return cls(
            dx=float(rng.normal(0, 2.5)),
            dy=float(rng.normal(0, 2.5)),
            degrees=float(rng.normal(0, 2.0)),
            light=float(rng.normal(-0.9, 0.12)),
            gain=float(rng.normal(1.0, 0.04)),
            highlight=float(rng.uniform(0.85, 1.15)),
            blur=float(rng.uniform(0.5, 0.8)),
            noise=float(rng.uniform(0.008, 0.014)),
        )

    def under(self, lamp: Lamp) -> Pose:
        """The same part under another lamp."""
        return replace(self, light=self.light + lamp.turn, gain=self.gain * lamp.gain)

    def matrix(self) -> Plane:
        """2 x 3, part canvas to picture."""
        matrix = cv2.getRotationMatrix2D((SIZE / 2, SIZE / 2), self.degrees, 1.0)
        matrix[:, 2] += np.array([self.dx, self.dy])
        return np.asarray(matrix, np.float32)


def _grid() -> tuple[Plane, Plane, Plane, Plane]:
    axis = np.arange(SIZE, dtype=np.float32) - SIZE / 2
    x, y = np.meshgrid(axis, axis)
    return x, y, np.hypot(x, y), np.arctan2(y, x)


X, Y, R, THETA = _grid()


def step(distance: Plane, softness: float = 1.0) -> Plane:
    """1 inside (distance < 0), 0 outside, with an edge of about two pixels."""
    return np.asarray(np.clip(0.5 - distance / (2 * softness), 0, 1), np.float32)


def bolt_centres() -> list[tuple[float, float]]:
    """Centres of the bolt holes in part coordinates."""
    angles = np.pi / 6 + np.arange(BOLTS) * 2 * np.pi / BOLTS
    return [(float(BOLT_CIRCLE * np.cos(a)), float(BOLT_CIRCLE * np.sin(a))) for a in angles]


def smooth_noise(rng: np.random.Generator, sigma: float) -> Plane:
    """Noise of unit deviation, as coarse as sigma pixels."""
    side = max(4, int(np.ceil(SIZE / max(1.0, sigma / 1.5))))
    small = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), 1.5)
    large = cv2.resize(small, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray((large - large.mean()) / max(float(large.std()), 1e-6), np.float32)


def _ring_profile(rng: np.random.Generator) -> Plane:
    """Turning marks: a cutting tool's lines, fine and coarse, along the radius."""
    radius = np.arange(0, 300, 0.5)
    fine = np.sin(radius * 2 * np.pi / 3.1 + rng.uniform(0, 6.3)) * 0.5
    coarse = cv2.GaussianBlur(rng.standard_normal((1, radius.size)).astype(np.float32), (0, 0), 2.0)[0] * 2.2
    return np.asarray(np.interp(R.ravel(), radius, fine + coarse).reshape(SIZE, SIZE), np.float32)


def inside() -> Plane:
    """Where there is metal: 1 on the flange, 0 in bore, holes and outside."""
    metal = step(R - RIM) * (1 - step(R - BORE))
    for cx, cy in bolt_centres():
        metal *= 1 - step(np.hypot(X - cx, Y - cy) - BOLT)
    return np.asarray(metal, np.float32)


METAL = inside()


def _mark() -> Plane:
    canvas = np.zeros((SIZE, SIZE), np.uint8)
    (width, _), _ = cv2.getTextSize(MARK, cv2.FONT_HERSHEY_DUPLEX, 0.55, 1)
    origin = (int(SIZE / 2 - 60 - width / 2), int(SIZE / 2 + 106))
    cv2.putText(canvas, MARK, origin, cv2.FONT_HERSHEY_DUPLEX, 0.55, 255, 1, cv2.LINE_AA)
    return np.asarray(canvas / np.float32(255), np.float32)


ENGRAVING = _mark()


def relief(height: Plane, light: float) -> Plane:
    """Shading of a height map lit from the angle `light`: its slope towards the lamp."""
    dx = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3) / 8
    dy = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3) / 8
    return np.asarray(-(dx * np.cos(light) + dy * np.sin(light)), np.float32)


def flange(rng: np.random.Generator, pose: Pose) -> Plane:
    """The metal of one good part on the part canvas, lit; what is not metal is meaningless."""
    base = 0.52 + 0.030 * _ring_profile(rng) + 0.012 * smooth_noise(rng, 1.5) + 0.012 * smooth_noise(rng, 40)
    # Turned faces throw two bright fans that face the lamp.
    fans = np.cos(THETA - pose.light) ** 2
    base += 0.20 * pose.highlight * (fans - 0.5) * np.clip((R - BORE) / 60, 0, 1)
    hub = step(R - HUB)
    base += 0.07 * hub + 0.015 * hub * smooth_noise(rng, 3)
    height = 9 * step(R - HUB, 3.0) + 5 * step(R - (RIM - 6), 4.0) - 6 * step(R - (BORE + 5), 3.0)
    for cx, cy in bolt_centres():
        height -= 6 * step(np.hypot(X - cx, Y - cy) - BOLT - 4, 2.5)
    height -= 2.2 * ENGRAVING
    base += 0.22 * relief(height, pose.light) - 0.10 * ENGRAVING
    return np.asarray(base, np.float32)


def fixture(rng: np.random.Generator) -> Plane:
    """The plate below: dark, milled in lines, a little dusty."""
    lines = 0.010 * np.sin((Y + rng.uniform(0, 1.5)) * 2 * np.pi / 9)
    return np.asarray(0.15 + lines + 0.006 * smooth_noise(rng, 1.2) + 0.004 * smooth_noise(rng, 25), np.float32)


def photograph(
    metal: Plane, cover: Plane, tint: npt.NDArray[np.float32], pose: Pose, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Places a part on the plate and takes its picture.

    Args:
        metal: lit surface on the part canvas.
        cover: 1 where there is metal.
        tint: factor per pixel and channel on the part canvas, H x W x 3, for stains and rust.
        pose: how it lies and is lit.
        rng: for plate and sensor noise.

    Returns:
        uint8 SIZE x SIZE x 3, RGB.
    """
    matrix = pose.matrix()

    def place(plane: Plane) -> Plane:
        return np.asarray(cv2.warpAffine(plane, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR), np.float32)

    cover = place(cover)
    shift = np.array([[1, 0, -7 * np.cos(pose.light)], [0, 1, -7 * np.sin(pose.light)]], np.float32)
    shadow = cv2.GaussianBlur(cv2.warpAffine(cover, shift, (SIZE, SIZE)), (0, 0), 5)
    plate = fixture(rng) * (1 - 0.65 * shadow)
    colour = np.array([1.0, 0.995, 0.975], np.float32)  # steel under a warm lamp
    surface = place(metal)[..., None] * place(tint) * colour
    picture = surface * cover[..., None] + (plate * (1 - cover))[..., None]
    fall_off = 1 - 0.16 * (R / R.max()) ** 2 + 0.05 * (X * np.cos(pose.light) + Y * np.sin(pose.light)) / SIZE
    picture = cv2.GaussianBlur(picture * (pose.gain * fall_off)[..., None], (0, 0), pose.blur)
    grain = (
        rng.standard_normal((SIZE, SIZE)).astype(np.float32)
        * pose.noise
        * np.sqrt(np.clip(picture[..., 0], 0.05, 1) / 0.5)
    )
    return np.asarray(np.clip((picture + grain[..., None]) * 255, 0, 255), np.uint8)
