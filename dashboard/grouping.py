"""Parts that look alike, so that one cause is one action: where their heat lies, and what the scorer's features say.

Two parts are as far apart as one minus the mean of two cosines: of their coarse heatmaps, where hotter cells count more
and a blur lets a small shift still match, and of their pooled features. Average linkage (UPGMA, Sokal & Michener 1958)
joins groups until the next two are farther apart than `CUT`. Parts of two stations, products or feature spaces are
never compared. What it finds on pictures of real defects is in docs/dashboard.md (`python -m bench.grouping`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.store.item_vectors import SIDE, Vector

CUT = 0.05
BLUR = 1.0  # standard deviation, in cells of the heatmap
ALIKE, ALONE, INCOMPARABLE = "alike", "like no other", "not comparable"  # kinds of groups
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """What is compared of an item; `vector` is None where no model scored it."""

    id: int
    station_id: int
    product_id: int
    vector: Vector | None


@dataclass(frozen=True, slots=True)
class Group:
    """Parts by id, of one of the three kinds."""

    kind: str
    ids: tuple[int, ...]


def groups(parts: Sequence[Part], cut: float = CUT) -> list[Group]:
    """Those alike, the largest group first; then all that are like no other, and all that have no vector.

    Their order does not matter.
    """
    comparable: dict[tuple[int, int, str], list[Part]] = defaultdict(list)
    without = []
    for one in sorted(parts, key=lambda one: one.id):
        if one.vector is None:
            without.append(one.id)
        else:
            comparable[one.station_id, one.product_id, one.vector.space].append(one)
    found = [ids for same in comparable.values() for ids in _clusters(same, cut)]
    alike = sorted((ids for ids in found if len(ids) > 1), key=lambda ids: (-len(ids), ids))
    alone = sorted(ids[0] for ids in found if len(ids) == 1)
    rest = ((ALONE, tuple(alone)), (INCOMPARABLE, tuple(without)))
    return [*(Group(ALIKE, ids) for ids in alike), *(Group(kind, ids) for kind, ids in rest if ids)]


def cells(vector: Vector) -> Floats:
    """A stored heatmap, 0 .. 1 over its own range."""
    return np.frombuffer(vector.heatmap, np.uint8).reshape(SIDE, SIDE) / 255


def _clusters(parts: Sequence[Part], cut: float) -> list[tuple[int, ...]]:
    if len(parts) == 1:
        return [(parts[0].id,)]
    # Here, since they take half a second to load: whoever opens another page should not wait for them.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.ndimage import gaussian_filter
    from scipy.spatial.distance import squareform

    vectors = [one.vector for one in parts if one.vector]
    heat = _unit(np.stack([gaussian_filter(cells(one) ** 2, BLUR).ravel() for one in vectors]))
    features = _unit(np.stack([np.frombuffer(one.features, "<f2") for one in vectors]).astype(np.float64))
    apart = np.clip(1 - (heat @ heat.T + features @ features.T) / 2, 0, None)
    np.fill_diagonal(apart, 0)
    labels = fcluster(linkage(squareform(apart, checks=False), "average"), cut, "distance")
    return [
        tuple(one.id for one, its in zip(parts, labels, strict=True) if its == label) for label in np.unique(labels)
    ]


def _unit(rows: Floats) -> Floats:
    """Rows of length one; a row of zeros stays as it is."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12), np.float64)
