"""The forest beside scikit-learn's exact one with the same limits: time, memory, and how it predicts.

    python benchmarks/forest.py
    python benchmarks/forest.py --sizes 2400x80 --trees 4 --rounds 1                              # a quick look
    python benchmarks/forest.py --sizes --results results/her2st --benchmark her2st --dataset HER2ST \
        --manifest resources/splits/her2st.csv --encoder efficientnet_lite0             # scores

Time is the processor's, a tree of one gene: grown on as many spots as it then predicts, on data that are made here
(correlated features, counts that depend on them); the two take turns, and a ratio compares neighbours in time. Peak
memory is that of a process that grows one forest. Scores, for each fold of a run's features: mean Pearson over the
fold's genes, pooled over its test spots, of both forests under two seeds, and the mean correlation between their
predictions; what two seeds of one forest differ by is the noise. Writes ``<out>.csv`` and ``<out>.md``, and
``<out>_scores.csv`` where there are results to score.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from output import save, write_csv

SIZES = ("2400x80", "2000x1280", "10000x1024")
DEPTH, BINS = 16, 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=list(SIZES), help="spots x features")
    parser.add_argument("--trees", type=int, default=4, help="trees that are timed a round")
    parser.add_argument("--score-trees", type=int, default=70, help="trees of the forests whose scores are compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, help="folder of a run with features and genes")
    for name in ("benchmark", "dataset", "encoder", "manifest"):
        parser.add_argument(f"--{name}", help="of the run that is scored")
    parser.add_argument("--protocol", default="clean")
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--genes", type=int, help="only the first so many of a fold's genes")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/forest"))
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(**json.loads(options.worker))))
        return
    rows = [speed_row(size, options) for size in options.sizes]
    scores = [score_row(fold, options) for fold in options.folds] if options.results else []
    if scores:
        write_csv(options.out.with_name(f"{options.out.name}_scores.csv"), scores)
    save(options.out, rows or scores, to_markdown(rows, scores, options))


def speed_row(size: str, options: argparse.Namespace) -> dict[str, Any]:
    spots, features = map(int, size.split("x"))
    job = {"spots": spots, "features": features, "trees": options.trees, "threads": options.threads}
    rounds: dict[str, list[dict[str, float]]] = {"ours": [], "exact": []}
    for _ in range(options.rounds):
        for kind, found in rounds.items():
            found.append(in_a_process({**job, "kind": kind}))
    grow, walk = (
        {kind: min(one[what] for one in found) for kind, found in rounds.items()} for what in ("grow_s", "predict_s")
    )
    pairs = zip(rounds["ours"], rounds["exact"], strict=True)
    row = {
        "spots": spots,
        "features": features,
        "grow_s": round(grow["ours"], 3),
        "exact_grow_s": round(grow["exact"], 3),
        "times": round(statistics.median(theirs["grow_s"] / ours["grow_s"] for ours, theirs in pairs), 1),
        "predict_ms": round(1000 * walk["ours"], 2),
        "exact_predict_ms": round(1000 * walk["exact"], 2),
        "peak_mb": round(max(one["peak_mb"] for one in rounds["ours"])),
        "exact_peak_mb": round(max(one["peak_mb"] for one in rounds["exact"])),
        "pearson": round(rounds["ours"][0]["pearson"], 3),
        "exact_pearson": round(rounds["exact"][0]["pearson"], 3),
    }
    print(row, file=sys.stderr, flush=True)
    return row


def in_a_process(job: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "--worker", json.dumps(job)],
        env={**os.environ, "OMP_NUM_THREADS": str(job["threads"])},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"a worker failed with {done.returncode}; see above")
    return json.loads(done.stdout.splitlines()[-1])


# -- in a worker ---------------------------------------------------------------------------------------------


def work(kind: str, spots: int, features: int, trees: int, threads: int) -> dict[str, float]:
    """Seconds of the processor a tree, growing and predicting, the score on new spots, and the most memory, MB."""
    import resource

    from stflow.device import set_threads

    set_threads(threads)
    x, y = make_data(2 * spots, features)
    grow = {"ours": ours, "exact": exact}[kind]
    grow(x[:100], y[:100], 1, 0)(x[:2])  # compiles and imports
    begun = time.process_time()
    predict = grow(x[:spots], y[:spots], trees, 0)
    grown = time.process_time()
    predicted = predict(x[spots:])
    return {
        "grow_s": (grown - begun) / trees,
        "predict_s": (time.process_time() - grown) / trees,
        "pearson": float(np.corrcoef(predicted[:, 0], y[spots:, 0])[0, 1]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }


def make_data(spots: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """(spots, features) features of sixteen hidden causes, (spots, 1) log1p counts of the same causes."""
    rng = np.random.default_rng(0)
    causes = rng.normal(size=(spots, 16))
    x = np.tanh(causes @ rng.normal(size=(16, features)) / 4) + 0.7 * rng.normal(size=(spots, features))
    rate = np.exp(1 + causes @ rng.normal(size=(16, 1)) / 4 + 0.5 * np.sin(2 * causes[:, :1]))
    return x.astype(np.float32), np.log1p(rng.poisson(rate)).astype(np.float32)


def ours(x: np.ndarray, y: np.ndarray, trees: int, seed: int) -> Any:
    """What predicts, from (N, D) features and (N, G) targets."""
    from stflow.models.random_forest import RandomForestSettings
    from stflow.models.random_forest.bins import edges_of, to_bins
    from stflow.models.random_forest.cpu import grow_forests
    from stflow.models.random_forest.trees import Trees

    edges = edges_of(x, BINS)
    settings = RandomForestSettings(trees=trees, depth=DEPTH, bins=BINS)
    forests, _ = grow_forests(to_bins(x, edges), y, settings, [1000 * seed + g for g in range(y.shape[1])])
    grown = Trees.of(forests)
    return lambda new: grown.predict(to_bins(new, edges))


def exact(x: np.ndarray, y: np.ndarray, trees: int, seed: int) -> Any:
    """The same of scikit-learn, on the features themselves."""
    from sklearn.ensemble import RandomForestRegressor

    threads = int(os.environ["OMP_NUM_THREADS"])
    forests = [
        RandomForestRegressor(trees, max_depth=DEPTH, random_state=1000 * seed + g, n_jobs=threads).fit(x, column)
        for g, column in enumerate(y.T)
    ]
    return lambda new: np.stack([forest.predict(new) for forest in forests], axis=1)


# -- scores --------------------------------------------------------------------------------------------------


def score_row(fold: int, options: argparse.Namespace) -> dict[str, Any]:
    """Scores of one fold, and how alike the predictions are."""
    from stflow.device import set_threads
    from stflow.evaluation.metrics import pearson
    from stflow.training.inputs import Inputs

    set_threads(options.threads)
    group = "/".join([options.benchmark, options.dataset, options.encoder, "random_forest/default", options.protocol])
    inputs = Inputs.of(options.results, f"{group}/fold{fold}/seed0", Path(options.manifest), by_slide=False)
    train, _ = inputs.roles(selects=False)
    test = inputs.read(inputs.fold.test)
    genes = inputs.task.genes[: options.genes]
    (x, y), (x_new, y_new) = (
        (
            np.concatenate([slide.features[options.encoder] for slide in slides]),
            np.concatenate([slide.expression(genes) for slide in slides]),
        )
        for slides in (train, test)
    )
    predicted, seconds = {}, {}
    for name, grow, seed in (("ours", ours, 0), ("ours_1", ours, 1), ("exact", exact, 0), ("exact_1", exact, 1)):
        begun = time.process_time()
        predicted[name] = grow(x, y, options.score_trees, seed)(x_new)
        seconds[name] = time.process_time() - begun
        score = float(np.nanmean(pearson(y_new, predicted[name])))
        print(f"fold {fold}, {name}: {score:.4f} after {seconds[name]:.0f} s", file=sys.stderr, flush=True)
    row = {"fold": fold, "spots": len(x), "test_spots": len(x_new), "features": x.shape[1], "genes": len(genes)}
    row["trees"] = options.score_trees
    row |= {name: round(float(np.nanmean(pearson(y_new, p))), 4) for name, p in predicted.items()}
    for one, two in (("ours", "ours_1"), ("exact", "exact_1"), ("ours", "exact")):
        row[f"{one}~{two}"] = round(float(np.nanmean(pearson(predicted[one], predicted[two]))), 3)
    row |= {"ours_s": round(seconds["ours_1"], 1), "exact_s": round(seconds["exact_1"], 1)}
    print(row, file=sys.stderr, flush=True)
    return row


def to_markdown(rows: list[dict[str, Any]], scores: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{platform.machine()}, {options.threads} thread(s); processor time a tree, best of {options.rounds} rounds"
    ]
    for table in (rows, scores):
        if table:
            lines += ["", f"| {' | '.join(table[0])} |", f"|{' ---: |' * len(table[0])}"]
            lines += [f"| {' | '.join(map(str, row.values()))} |" for row in table]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
