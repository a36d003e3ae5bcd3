"""Results as Markdown: figures with their spread over seeds, and the bootstrap's bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bench.peers.bootstrap import REPEATS, Runs, compare
from bench.peers.results import Result, ResultError

FIGURES = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "AUPRO"}
COMPARED = ("image_auroc", "pixel_auroc")
Table = Mapping[str, Mapping[str, Runs]]  # model, set, seed


def report(
    results: Sequence[Result],
    models: Mapping[str, str],
    sets: Sequence[str],
    seeds: Sequence[int],
    repeats: int = REPEATS,
) -> Iterator[str]:
    """Lines of Markdown.

    Args:
        results: all that are there, made with the same settings.
        models: by the name of their results, why one may not have run ("" where it should have).
        sets, seeds: what should be there.
        repeats: bootstrap samples.

    Raises:
        ResultError: results of different settings.
    """
    wanted = [result for result in results if result.key.set in sets and result.key.seed in seeds]
    if any(result.settings != wanted[0].settings for result in wanted):
        raise ResultError("the results were made with different settings; name one kind of them with --results")
    table: Table = {
        model: {name: {r.key.seed: r for r in wanted if (r.key.model, r.key.set) == (model, name)} for name in sets}
        for model in models
    }
    if wanted:
        yield f"Settings: {', '.join(f'{key} {value}' for key, value in wanted[0].settings.items())}"
        yield f"Machines: {'; '.join(sorted({result.machine for result in wanted}))}\n"
    yield f"| set | model | {' | '.join(FIGURES.values())} | fit s | ms an image | seeds |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in (*sets, "mean"):
        for model, reason in models.items():
            yield _row(name, model, [table[model][one] for one in ([name] if name != "mean" else sets)], seeds, reason)
    yield ""
    yield from _comparisons(table, sets, len(seeds), repeats)


def _row(name: str, model: str, runs: Sequence[Runs], seeds: Sequence[int], reason: str) -> str:
    """One model on one set, or on the mean of several: per figure, mean and standard deviation over seeds."""
    complete = [seed for seed in seeds if all(seed in one for one in runs)]
    if not complete:
        return f"| {name} | {model} | {' | '.join([reason or 'missing'] * 5)} | 0 of {len(seeds)} |"
    cells = [_spread([[one[seed].figures[figure] for one in runs] for seed in complete]) for figure in FIGURES]
    failures = {one[seed].failure for seed in complete for one in runs} - {""}
    fit, score = (np.mean([one[seed].seconds[of] for seed in complete for one in runs]) for of in ("fit", "score"))
    count = f"{len(complete)} of {len(seeds)}" + "".join(f"; {failure}" for failure in sorted(failures))
    return f"| {name} | {model} | {' | '.join(cells)} | {fit:.0f} | {1000 * score:.0f} | {count} |"


def _spread(rows: list[list[float | None]]) -> str:
    values = [float(np.mean([value for value in row if value is not None])) for row in rows if None not in row]
    if len(values) < len(rows):
        return "none"
    deviation = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{deviation}"


def pairs(models: Sequence[str]) -> list[tuple[str, str]]:
    """What is compared: the paper's score with anomalib's reverse distillation, the default one with every peer, and
    the default teacher with the peers' one.
    """
    peers = [model for model in models if not model.startswith("ours")]
    found = [("ours-paper", "reverse_distillation"), *(("ours-default", peer) for peer in peers)]
    return [*found, ("ours_lite2-default", "ours-default")] if "ours_lite2-default" in models else found


def _comparisons(table: Table, sets: Sequence[str], seeds: int, repeats: int) -> Iterator[str]:
    yield "Differences in points, and their one-sided lower 95 % bounds (at least) from paired bootstraps over images"
    yield f"and seeds, {repeats} repeats; in brackets the runs of each model where some are missing.\n"
    yield f"| ours minus peer | set | {' | '.join(f'{FIGURES[one]} | at least' for one in COMPARED)} |"
    yield "|---|---|---|---|---|---|"
    for ours, peer in pairs(list(table)):
        for name in (*sets, "mean"):
            cells = []
            for figure in COMPARED:
                at = [name] if name != "mean" else sets
                mine, theirs = ({one: table[model][one] for one in at} for model in (ours, peer))
                found = compare(mine, theirs, figure, np.random.default_rng(0), repeats)
                if found is None:
                    cells += ["missing"] * 2
                    continue
                partial = "" if found.pairs == len(at) * seeds else f" ({found.pairs} of {len(at) * seeds})"
                cells += [f"{100 * found.mean:+.2f}{partial}", f"{100 * found.lower:+.2f}"]
            yield f"| {ours} - {peer} | {name} | {' | '.join(cells)} |"
