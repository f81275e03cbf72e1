"""How often the statistics err where the truth is known: coverage of intervals, false positives of tests.

    python benchmarks/statistics_errors.py            # some minutes on one core

The correlations of a hierarchical normal model, r = 0.4 + patient + slide + gene + seed + rest, are written into the
moments of made slides, so the very code that makes the tables is measured. docs/statistics.md has what came out.
"""

from __future__ import annotations

import argparse
import gc

import numpy as np

from stflow.evaluation.bootstrap import draw_resamples, interval, resampled_scores
from stflow.evaluation.comparisons import friedman, nemenyi, pairwise
from stflow.evaluation.group_scores import FoldScores, GroupScores
from stflow.layout import Group

MEAN = 0.4
#: Standard deviations of the levels; genes differ most, as in real tables.
SD = {"patient": 0.05, "slide": 0.03, "gene": 0.10, "seed": 0.01, "rest": 0.05}


def draw_group(
    rng: np.random.Generator, n_folds: int, n_patients: int, n_slides: int, n_genes: int, n_seeds: int
) -> tuple[GroupScores, dict[str, str]]:
    """A group whose true score is `MEAN`: patients a fold, slides a patient; and the patients of its slides."""
    genes = rng.normal(0, SD["gene"], n_genes)
    seeds = rng.normal(0, SD["seed"], (n_seeds, 1, 1))
    folds, patients = [], {}
    for fold in range(n_folds):
        names = [f"f{fold}p{p}s{s}" for p in range(n_patients) for s in range(n_slides)]
        patients |= {name: name.partition("s")[0] for name in names}
        slide = np.repeat(rng.normal(0, SD["patient"], n_patients), n_slides) + rng.normal(0, SD["slide"], len(names))
        r = MEAN + seeds + slide[:, None] + genes + rng.normal(0, SD["rest"], (n_seeds, len(names), n_genes))
        zero, one = np.zeros_like(r), np.ones_like(r)
        moments = np.stack([zero, zero, one, one, r], axis=1)
        columns = tuple(f"G{gene}" for gene in range(n_genes))
        n = np.full(len(names), 300)
        folds.append(FoldScores(fold, tuple(names), columns, n, moments, r.mean(axis=1)))
    group = Group("made", "made", "none", "made", "default", "clean")
    return GroupScores(group, tuple(range(n_seeds)), tuple(folds), 0), patients


def coverage(
    n_rounds: int, n_folds: int, n_patients: int, n_slides: int = 1, n_genes: int = 50, n_seeds: int = 3
) -> tuple[float, float]:
    """Share of 95 % intervals that hold the true score, and their mean width."""
    hits, widths = [], []
    for number in range(n_rounds):
        scores, patients = draw_group(
            np.random.default_rng((number, n_folds, n_patients)), n_folds, n_patients, n_slides, n_genes, n_seeds
        )
        resamples = draw_resamples(patients, scores.genes, str(number), n_resamples=500)
        lower, upper = interval(resampled_scores(scores, resamples))
        hits.append(lower <= MEAN <= upper)
        widths.append(upper - lower)
    return float(np.mean(hits)), float(np.mean(widths))


def false_positives(n_rounds: int, n_pairs: int, n_methods: int, shared: float) -> float:
    """Share of rounds in which any of the pairwise tests of equal methods is below 0.05 after Holm's correction.

    ``shared`` is the part of a method's deviations that all its pairs have in common, as a training that went well
    lifts all genes: 0 makes the pairs independent.
    """
    rng = np.random.default_rng((n_pairs, n_methods, round(100 * shared)))
    found = 0
    for _ in range(n_rounds):
        own = rng.normal(size=(n_pairs, n_methods))
        values = np.sqrt(1 - shared) * own + np.sqrt(shared) * rng.normal(size=(1, n_methods))
        found += min(p for _, p in pairwise(values).values()) < 0.05
    return found / n_rounds


def false_differences(n_rounds: int, n_datasets: int, n_methods: int) -> tuple[float, float]:
    """Share of rounds in which equal methods differ by Friedman's test, and by Nemenyi's after it."""
    rng = np.random.default_rng((n_datasets, n_methods))
    first = both = 0
    for _ in range(n_rounds):
        values = rng.normal(size=(n_datasets, n_methods))
        if friedman(values) < 0.05:
            first += 1
            both += nemenyi(values).min() < 0.05
    return first / n_rounds, both / n_rounds


def main() -> None:
    """Print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000, help="simulated datasets a line")
    n_rounds = parser.parse_args().rounds
    gc.freeze()  # statsmodels collects garbage at every correction, among all objects there are
    print("coverage of 95 % intervals\n| folds | patients a fold | slides a patient | coverage | mean width |")
    for n_folds, n_patients, n_slides in ((2, 1, 1), (4, 1, 1), (2, 1, 8), (3, 2, 2), (6, 4, 1), (4, 10, 1)):
        share, width = coverage(n_rounds, n_folds, n_patients, n_slides)
        print(f"| {n_folds} | {n_patients} | {n_slides} | {share:.3f} | {width:.3f} |", flush=True)
    print("\nany false positive among all pairs, Wilcoxon and Holm\n| pairs | methods | shared | rate |")
    for n_pairs, n_methods, shared in ((100, 5, 0.0), (100, 12, 0.0), (17, 5, 0.0), (100, 5, 0.02), (100, 5, 0.1)):
        rate = false_positives(n_rounds, n_pairs, n_methods, shared)
        print(f"| {n_pairs} | {n_methods} | {shared:g} | {rate:.3f} |", flush=True)
    print("\nequal methods over datasets\n| datasets | methods | Friedman | then Nemenyi |")
    for n_datasets, n_methods in ((3, 12), (6, 12), (10, 12), (17, 12), (17, 5)):
        first, both = false_differences(n_rounds, n_datasets, n_methods)
        print(f"| {n_datasets} | {n_methods} | {first:.3f} | {both:.3f} |", flush=True)


if __name__ == "__main__":
    main()
