"""Pictures of the calibration parts that scored highest: a defect among them would be the threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agent.pipeline import pictures
from agent.pipeline.pictures import Heatmap
from agent.retrain.bench import Bench
from agent.store import blobs
from agent.store.calibration import Shown, worth_a_look
from agent.store.samples import Sample
from model.engines import Scorer

SPARE = 5  # more than are to be looked at: some may be taken out
WEBP = "image/webp"


def show(
    bench: Bench, scorer: Scorer, samples: Sequence[Sample], scores: Sequence[float], k: int, part: bool
) -> Mapping[int, Shown]:
    """Scores the highest images once more, for their heatmaps, and keeps a preview and an overlay of each.

    Args:
        bench: as of the run.
        scorer: of the version.
        samples: the calibration samples.
        scores: theirs, in their order.
        k: the review threshold's; 0 for none.
        part: whether the images of one serial at one station are one part, of which the highest is shown.

    Returns:
        By sample id.
    """
    highest: dict[object, Sample] = {}
    for _, place in sorted(((-score, place) for place, score in enumerate(scores))):
        one = samples[place]
        highest.setdefault((one.station_id, one.serial) if part else one.id, one)
    found: dict[int, Shown] = {}
    for one in list(highest.values())[: worth_a_look(k) + SPARE]:
        frame = bench.load(one)
        made = pictures.render(frame, Heatmap(scorer.score([frame])[0].map, scorer.spec))
        assert made.overlay is not None
        data = [(made.preview, WEBP), (made.overlay, WEBP)]
        found[one.id] = Shown(*blobs.keep_all(bench.engine, bench.blobs, data, bench.clock()))
    return found
