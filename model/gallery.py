"""The cases of an evaluation that are worth looking at, drawn: images, true defects and heatmaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from model.cases import SHOWN, Case, Cases
from model.images import Frame

if TYPE_CHECKING:
    from matplotlib.colors import Normalize
    from matplotlib.figure import SubFigure

Thresholds = dict[str, float]  # "review" and "reject", where there are any
STYLES = {"review": "--", "reject": "-"}  # of their lines
OUTLINE = (0, 255, 255)  # of the true defect
HEAT = "inferno"
TILE, GAP = (360, 720), 6  # of one case, in pixels
LONGEST = 30  # letters of a file name


def draw_gallery(shown: SubFigure, cases: Cases, thresholds: Thresholds) -> None:
    """Fills a figure with three rows of cases; raises FolderError for an image that cannot be read any more."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import PowerNorm
    from matplotlib.ticker import MaxNLocator

    rows = {
        "Good images with the highest scores": cases.alarming,
        "Defective images with the lowest scores (outlined: the true defect)": cases.missed,
        "Defective images with the highest scores (outlined: the true defect)": cases.clearest,
    }
    every = [case for row in rows.values() for case in row]
    low = min(float(np.median(case.map)) for case in every)
    high = max(*(float(case.map.max()) for case in every), low + 1e-6)
    scale = PowerNorm(0.5, low, high, clip=True)  # weak and strong ones in one scale
    grid = shown.subplots(len(rows), SHOWN, squeeze=False)
    for axes in grid.ravel():
        axes.set(xticks=(), yticks=())
        axes.spines[:].set_visible(False)
    for line, (name, row) in zip(grid, rows.items(), strict=True):
        line[0].set_title(name)
        for axes, case in zip(line, row, strict=False):
            axes.imshow(_tile(case, scale))
            text = f"score {case.score:.3g}   {case.image.label}/{_short(case.image.path.stem)}"
            axes.set_xlabel(text, fontsize=8, loc="left")
    bar = shown.colorbar(ScalarMappable(scale, HEAT), ax=grid, extend="min", shrink=0.6, aspect=30, pad=0.01)
    bar.set_ticks([tick for tick in MaxNLocator(8).tick_values(low, high) if low <= tick <= high])
    bar.set_label("anomaly map (no unit)" + (", lines: thresholds" if thresholds else ""))
    for name, threshold in thresholds.items():
        if low <= threshold <= high:
            bar.ax.axhline(threshold, color="white", linestyle=STYLES[name], linewidth=1.5)


def _tile(case: Case, scale: Normalize) -> Frame:
    """The image, its mask outlined, and its heatmap, beside or below it, whichever shows more; on white."""
    from matplotlib import colormaps

    frame = case.image.frame()
    height, width = frame.shape[:2]
    below = min(TILE[1] / width, TILE[0] / (2 * height)) > min(TILE[1] / (2 * width), TILE[0] / height)
    room = (TILE[0] // 2 - GAP, TILE[1]) if below else (TILE[0], TILE[1] // 2 - GAP)
    factor = min(room[0] / height, room[1] / width)
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(frame, size, interpolation=method), np.uint8)
    mask = case.image.mask(frame.shape)
    if mask is not None:
        small = cv2.resize(mask.astype(np.float32), size, interpolation=method) > 0
        contours, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, contours, -1, OUTLINE, 2)
    heat = colormaps[HEAT](scale(case.heatmap(image.shape)), bytes=True)[..., :3]
    tile = np.full((*TILE, 3), 255, np.uint8)
    top, left = (size[1] + GAP, 0) if below else (0, size[0] + GAP)
    tile[: size[1], : size[0]] = image
    tile[top : top + size[1], left : left + size[0]] = heat
    return tile


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-LONGEST // 2 :]}"
