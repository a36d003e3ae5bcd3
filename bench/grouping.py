"""Whether parts that Triage groups share their kind of defect: `python -m bench.grouping --images SET --model FILE`.

A model file of `goodpart train` scores the set's defects; these are grouped as the page does it. Pure: the share of the
grouped pictures that are of their group's commonest kind. `--only` takes those whose names begin so, a row each.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from agent.pipeline.pictures import Heatmap
from agent.pipeline.vectors import Features, vector
from dashboard.grouping import ALIKE, Part, groups
from model import artifact as artifacts
from model.engines import Scorer
from model.images import GOOD, LabelledImage, read_folder

BATCH = 16


def main() -> None:
    """Scores, groups, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.grouping", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="with test/KIND")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--weights", default="", help="the teacher's")
    parser.add_argument("--only", nargs="*", default=[""])
    options = parser.parse_args()
    scorer = Scorer(artifacts.from_bytes(options.model.read_bytes()), weights=options.weights)
    images = [one for one in read_folder(options.images).test if one.label != GOOD]
    parts = scored(scorer, images)
    print(
        "| pictures | of them | most of one kind | groups | grouped | largest | pure |\n|---|---|---|---|---|---|---|"
    )
    for start in options.only:
        print(
            row(
                start,
                {one.id: images[one.id].label for one in parts if images[one.id].path.name.startswith(start)},
                parts,
            )
        )


def scored(scorer: Scorer, images: Sequence[LabelledImage]) -> list[Part]:
    """The images as parts of one station, by their place."""
    found = []
    for start in range(0, len(images), BATCH):
        frames = [one.frame() for one in images[start : start + BATCH]]
        for number, one in enumerate(scorer.score(frames), start):
            seen = vector(Features(one.features, scorer.space), Heatmap(one.map, scorer.spec))
            found.append(Part(number, 1, 1, seen))
    return found


def row(start: str, kinds: dict[int, str], parts: Sequence[Part]) -> str:
    """A line of the table, of the pictures whose kinds are given."""
    made = [one.ids for one in groups([part for part in parts if part.id in kinds]) if one.kind == ALIKE]
    n = sum(map(len, made))
    pure = sum(Counter(kinds[one] for one in ids).most_common(1)[0][1] for ids in made)
    most = Counter(kinds.values()).most_common(1)[0][1]
    return (f"| {start + '*' if start else 'all'} | {len(kinds)} | {most / len(kinds):.0%} | {len(made)} | {n} "
            f"| {max(map(len, made), default=0)} | {pure / max(n, 1):.1%} |")  # fmt: skip


if __name__ == "__main__":
    main()
