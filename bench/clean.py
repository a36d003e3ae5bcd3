"""What a batch of good parts costs at the gate: `python -m bench.clean --data DIR`.

For each set the champion is the patch memory of 120 good training images, and 80 others calibrate, as in the scenario
of wrong approvals (`tests.scenarios.poison`). Three challengers: the same images drawn by another seed (`again`), 40
more images of train/good, which are like those that calibrate (`alike`), and 40 of test/good (`others`). Each is
compared as the gate does, on labelled defects, at the cut of the calibration images; and, beside that, at a cut of
those images of test/good that nobody learnt from. All is drawn anew for each split. What was measured is not trained
again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.retrain.gate import Caught, caught, cut, judged_defects
from bench.accuracy import draw
from model.engines import Scorer
from model.images import GOOD, InputSpec, LabelledImage, read_folder
from model.training import TrainingSettings, train

TAUGHT, BATCH, DEFECTS = 200, 40, 127  # images
CALIBRATING = 0.4  # of those taught
K = 6  # the cut's place among 80: 20 % at the second look
WORDS = {"again": "the same images, another seed", "alike": "more of train/good", "others": "more of test/good"}
RESULTS = Path("bench/out/clean")
Batch = Sequence[LabelledImage]
Scores = dict[str, list[float]]  # of calibrating, unseen and defects


@dataclass(frozen=True, slots=True)
class Split:
    """What one split works with."""

    fitted: Batch
    calibrating: Batch
    alike: Batch
    others: Batch
    unseen: Batch
    defects: Batch


def main() -> None:
    """Trains what is missing and prints the table: lost - won of each split, and how often the gate would reject the
    challenger or leave it to a person.
    """
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    cuts = ("at the cut of what calibrates", "at a cut of unseen test/good")
    print(f"| set | challenger | {' | '.join(f'{one} | rejected + left' for one in cuts)} |")
    print("|---|---|---|---|---|---|")
    for name in options.sets:
        splits = [_measured(name, number, options) for number in range(options.splits)]
        for challenger, words in WORDS.items():
            told = []
            for normals in ("calibrating", "unseen"):
                found = [_compared(one["champion"], one[challenger], normals) for one in splits]
                states = [judged_defects(one).state for one in found]
                told += [
                    ", ".join(f"{one.lost} - {one.won}" for one in found),
                    f"{states.count('fail')} + {states.count('person')} of {len(found)}",
                ]
            print(f"| {name} | {words} | {' | '.join(told)} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.clean", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sets in MVTec layout")
    parser.add_argument("--sets", nargs="+", default=["bsd_ballscrew", "magnetic_tile"])
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--side", type=int, default=128, help="pixels of the models' input")
    parser.add_argument("--teacher", default="efficientnet_lite2")
    parser.add_argument("--weights", default="", help="file with the teacher's weights")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


def _compared(champion: Scores, challenger: Scores, normals: str) -> Caught:
    """As the gate's `evidence` does."""
    k = max(1, round(K * len(champion[normals]) / len(champion["calibrating"])))
    old, new = cut(champion[normals], k), cut(challenger[normals], k)
    pairs = zip(champion["defects"], challenger["defects"], strict=True)
    return caught((at, one > old, other > new) for at, (one, other) in enumerate(pairs))


def _measured(name: str, number: int, options: argparse.Namespace) -> dict[str, Scores]:
    path = options.results / f"{name}.{options.teacher}.{options.side}.{number}.json"
    if not path.exists():
        split = _split(options.data / name, number)
        learnt = {
            "champion": (split.fitted, 0),
            "again": (split.fitted, 1),
            "alike": ([*split.fitted, *split.alike], 0),
            "others": ([*split.fitted, *split.others], 0),
        }
        path.write_text(
            json.dumps({one: _scores(images, seed, split, options) for one, (images, seed) in learnt.items()})
        )
    found: dict[str, Scores] = json.loads(path.read_text())
    return found


def _split(path: Path, number: int) -> Split:
    folder = read_folder(path)
    good, test = folder.train_good, [one for one in folder.test if one.label == GOOD]
    taught = draw(good, TAUGHT, number)
    alike = draw([one for one in good if one not in taught], BATCH, number)
    if len(alike) < BATCH:
        raise SystemExit(f"{path.name} has {len(good)} good training images: {TAUGHT + BATCH} are needed")
    others = draw(test, BATCH, number)
    order = np.random.default_rng((number, 3)).permutation(len(taught))
    held = set(order[: round(CALIBRATING * len(taught))].tolist())
    return Split(
        fitted=[one for at, one in enumerate(taught) if at not in held],
        calibrating=[one for at, one in enumerate(taught) if at in held],
        alike=alike,
        others=others,
        unseen=[one for one in test if one not in others],
        defects=draw([one for one in folder.test if one.label != GOOD], DEFECTS, number),
    )


def _scores(images: Batch, seed: int, split: Split, options: argparse.Namespace) -> Scores:
    spec = InputSpec(options.side, options.side)
    settings = TrainingSettings(options.teacher, options.weights, spec, seed=seed, share=1.0)
    scorer = Scorer(train([one.frame for one in images], settings), weights=options.weights)

    def of(batch: Batch) -> list[float]:
        return [one.score for one in scorer.score([image.frame() for image in batch])]

    return {"calibrating": of(split.calibrating), "unseen": of(split.unseen), "defects": of(split.defects)}


if __name__ == "__main__":
    main()
