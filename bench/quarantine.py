"""What the quarantine of proposals catches: `python -m bench.quarantine --data DIR`.

For each set a model is trained on a hundred good images. Half of the labelled defects, drawn anew many times, are the
defect bank; the others are approved as normal by mistake. Beside them come good images that the model never saw, all
of them and the oddest fifth by score, since only flagged parts are proposed. Finished sets are not trained again.

A second table is of a change of the light, after which every part is flagged: defects and good parts under the new one
are proposed, with so many of its good parts accepted before, and ten of the bank's defects found under it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.accuracy import draw
from model.engines import Scorer
from model.hottest import Hottest
from model.images import GOOD, Frame, InputSpec, read_folder
from model.likeness import Patches, compare
from model.training import TrainingSettings, train

TRAINING = 100  # images
DRAWS = 10  # of the bank
SMALL = 12  # defects
SINCE = (0, 20, 40, 80)  # good parts accepted since the light changed
FOUND = 10  # defects of the bank that were found since then
RESULTS = Path("bench/out/quarantine")


def main() -> None:
    """Trains what is missing and prints the table."""
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    print(f"| set | defects | caught | bank of {SMALL} | kind not in the bank | good ones held up | odd good ones |")
    print("|---|---|---|---|---|---|---|")
    for name in options.sets:
        print(_row(name, _taken(name, options)), flush=True)
    print(f"\n| set | {' | '.join(f'{since} accepted: defects | good ones' for since in SINCE)} |")
    print("|---" * (1 + 2 * len(SINCE)) + "|")
    for name in options.sets:
        print(_relit_row(name, _taken(name, options)), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.quarantine", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sets in MVTec layout")
    parser.add_argument("--sets", nargs="+", default=["aitex_f03", "bsd_ballscrew", "magnetic_tile"])
    parser.add_argument("--teacher", default="efficientnet_lite2")
    parser.add_argument("--weights", default="", help="file with the teacher's weights")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--side", type=int, default=256, help="pixels of the model's input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args()


@dataclass(frozen=True, slots=True, eq=False)
class _Set:
    """Patches of the training images, of other good ones with their scores, and of defects with their kinds.

    `relit_good` and `relit_defects` are the same ones under another light.
    """

    normals: Patches
    good: Patches
    scores: npt.NDArray[np.float64]
    defects: Patches
    kinds: npt.NDArray[np.str_]
    relit_good: Patches
    relit_defects: Patches


def _taken(name: str, options: argparse.Namespace) -> _Set:
    path = options.results / f"{name}.{options.teacher}.{options.side}.{options.steps}.{options.seed}.npz"
    if not path.exists():
        _measure(options.data / name, path, options)
    with np.load(path) as found:
        return _Set(**found)


def _measure(path: Path, to: Path, options: argparse.Namespace) -> None:
    folder = read_folder(path)
    training = draw(folder.train_good, TRAINING, options.seed)
    rest = [one for one in folder.train_good if one not in training]
    good = rest + [one for one in folder.test if one.label == GOOD]
    defects = [one for one in folder.test if one.label != GOOD]
    spec = InputSpec(options.side, options.side)
    settings = TrainingSettings(options.teacher, options.weights, spec, steps=options.steps, seed=options.seed)
    artifact = train([one.frame for one in training], settings)
    eye, scorer = Hottest(artifact, weights=options.weights), Scorer(artifact, weights=options.weights)
    frames, bad = [one.frame() for one in good], [one.frame() for one in defects]
    np.savez(
        to, normals=eye([one.frame() for one in training]), good=eye(frames),
        scores=np.array([one.score for one in scorer.score(frames)]),
        defects=eye(bad), kinds=np.array([one.label for one in defects]),
        relit_good=eye([_relit(one) for one in frames]), relit_defects=eye([_relit(one) for one in bad]),
    )  # fmt: skip


def _relit(frame: Frame) -> Frame:
    """A lamp 15 % brighter, whose light falls off from right to left."""
    falls = np.linspace(0.8, 1.25, frame.shape[1])[None, :, None]
    return np.clip(frame * (1.15 * falls), 0, 255).astype(np.uint8)


def _row(name: str, found: _Set) -> str:
    rng = np.random.default_rng(0)
    odd = found.scores >= np.quantile(found.scores, 0.8)
    shares = []
    for _ in range(DRAWS):
        bank, poison = np.array_split(rng.permutation(len(found.defects)), 2)
        normals = rng.permutation(found.normals)
        proposals = np.concatenate([found.good, found.defects[poison]])
        flags = _suspects(proposals, found.defects[bank], normals)
        few = _suspects(proposals, found.defects[bank[:SMALL]], normals)
        good = flags[: len(odd)]
        shares.append([flags[len(odd) :].mean(), good.mean(), good[odd].mean(), few[len(odd) :].mean()])
    unseen = []
    for kind in np.unique(found.kinds):
        of_kind = found.kinds == kind
        if not of_kind.all():
            unseen += _suspects(found.defects[of_kind], found.defects[~of_kind], found.normals).tolist()
    caught, held, held_odd, small = np.mean(shares, 0)
    other = f"{np.mean(unseen):.0%}" if unseen else "one kind only"
    return f"| {name} | {len(found.defects)} | {caught:.0%} | {small:.0%} | {other} | {held:.1%} | {held_odd:.0%} |"


def _relit_row(name: str, found: _Set) -> str:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(DRAWS):
        bank, poison = np.array_split(rng.permutation(len(found.defects)), 2)
        known = np.concatenate([found.defects[bank[FOUND:]], found.relit_defects[bank[:FOUND]]])
        good = found.relit_good[rng.permutation(len(found.good))]
        row = []
        for since in SINCE:
            normals = rng.permutation(np.concatenate([found.normals, good[:since]]))
            proposed = (found.relit_defects[poison], good[max(SINCE) :])
            row += [_suspects(proposals, known, normals).mean() for proposals in proposed]
        shares.append(row)
    return f"| {name} | {' | '.join(f'{one:.0%}' for one in np.mean(shares, 0))} |"


def _suspects(proposals: Patches, bank: Patches, normals: Patches) -> npt.NDArray[np.bool_]:
    compared = compare(proposals, bank, normals)
    return np.array([compared.suspect(one) for one in compared.found])


if __name__ == "__main__":
    main()
