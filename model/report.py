"""A picture of an evaluation: ROC, score histograms with the thresholds, the cases worth looking at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.cases import Cases
from model.evaluation import NAMES, Evaluation
from model.gallery import STYLES, Thresholds, draw_gallery
from model.images import GOOD
from model.metrics import Doubles, image_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"  # apart for every kind of colour vision (Okabe & Ito 2008)
MARKERS = {"review": "o", "reject": "s"}
SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False,
    "text.parse_math": False,
}  # fmt: skip


class ReportError(Exception):
    """A report that cannot be written; the message says why."""


def write_report(
    path: Path,
    cases: Cases,
    evaluation: Evaluation,
    *,
    title: str,
    review_threshold: float | None = None,
    reject_threshold: float | None = None,
) -> None:
    """Draws one page and writes it as PNG, whole or not at all.

    Args:
        path: the file; must end in .png.
        cases: what was scored.
        evaluation: its figures.
        title: what was measured, such as the model's and the folder's name.
        review_threshold: a certificate's; images above it are flagged. None: not drawn.
        reject_threshold: the same for rejecting.

    Raises:
        ReportError: not a .png, or it cannot be written.
        FolderError: an image that is to be shown cannot be read any more.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if path.suffix.lower() != ".png":
        raise ReportError(f"{path}: the report is a picture; give it a name that ends in .png")
    thresholds = {"review": review_threshold, "reject": reject_threshold}
    drawn = {name: value for name, value in thresholds.items() if value is not None}
    with mpl.rc_context(SETTINGS):
        figure = Figure(
            figsize=(14, 12), dpi=120, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.06), facecolor="white"
        )
        FigureCanvasAgg(figure)
        head, curves, shown = figure.subfigures(3, 1, squeeze=False, height_ratios=(1.1, 4.2, 6.7))[:, 0]
        _head(head, title, evaluation)
        roc, histogram = curves.subplots(1, 2, width_ratios=(1, 1.9))
        _roc(roc, cases, evaluation, drawn)
        _histogram(histogram, cases, drawn)
        draw_gallery(shown, cases, drawn)
        part = path.with_name(f".{path.name}.part")
        try:
            figure.savefig(part, format="png")
            part.replace(path)
        except OSError as error:
            raise ReportError(f"{path}: cannot be written ({error.strerror})") from None
        finally:
            part.unlink(missing_ok=True)


def _head(head: SubFigure, title: str, evaluation: Evaluation) -> None:
    head.text(0.012, 0.9, title, fontsize=16, fontweight="bold", va="top")
    counts = f"{evaluation.n_good} good and {evaluation.n_defect} defective test images"
    pixels = "" if evaluation.pixel_auroc is not None else "; no pixel figures: defective images without a mask"
    head.text(0.012, 0.58, f"{counts}; below each figure its 95 % bootstrap interval{pixels}", color=GREY, va="top")
    for at, (key, (low, high)) in enumerate(evaluation.intervals.items()):
        left = 0.012 + at * 0.165
        head.text(left, 0.34, f"{getattr(evaluation, key):.3f}", fontsize=17, fontweight="bold", color=BLUE, va="top")
        head.text(left + 0.055, 0.33, NAMES[key], va="top")
        head.text(left + 0.055, 0.13, f"{low:.3f} to {high:.3f}", color=GREY, fontsize=8, va="top")


def _split(cases: Cases) -> tuple[Doubles, Doubles]:
    scores, good = np.array(cases.scores), np.array(cases.labels) == GOOD
    return scores[good], scores[~good]


def _roc(axes: Axes, cases: Cases, evaluation: Evaluation, thresholds: Thresholds) -> None:
    false, true = image_curve([int(label != GOOD) for label in cases.labels], cases.scores).points()
    axes.plot((0, 100), (0, 100), color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(100 * false, 100 * true, color=BLUE, linewidth=2, label=f"AUROC {evaluation.image_auroc:.3f}")
    good, defective = _split(cases)
    for name, threshold in thresholds.items():
        alarms, hits = 100 * float((good > threshold).mean()), 100 * float((defective > threshold).mean())
        text = f"{name}: {hits:.1f} % of defective, {alarms:.1f} % of good"
        axes.plot(alarms, hits, MARKERS[name], color="black", markersize=7, zorder=3, label=text)
    axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal", title="ROC over images")
    axes.set(xlabel="good images flagged (%)", ylabel="defective images flagged (%)")
    axes.legend(loc="lower right", fontsize=8, handlelength=1.2, edgecolor="white", framealpha=1)


def _histogram(axes: Axes, cases: Cases, thresholds: Thresholds) -> None:
    low, high = min(cases.scores), max(cases.scores)
    edges = np.linspace(low, max(high, low + 1e-6), 51).tolist()
    for scores, colour, name in zip(_split(cases), (BLUE, ORANGE), ("good", "defective"), strict=True):
        share = np.full(scores.size, 100 / scores.size)
        label = f"{name} (n {scores.size})"
        axes.hist(scores, edges, weights=share, color=colour, alpha=0.35)
        axes.hist(scores, edges, weights=share, color=colour, histtype="step", linewidth=1.5, label=label)
    for name, threshold in thresholds.items():
        label = f"{name} above {threshold:.3g}"
        axes.axvline(threshold, color="black", linestyle=STYLES[name], linewidth=1.2, label=label)
    axes.set(title="Scores of the images", xlabel="image score (no unit)", ylabel="share of each kind (%)")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=4, frameon=False)
