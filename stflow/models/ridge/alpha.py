"""The ridge penalty that predicts training patients left out in turn best.

One eigendecomposition a fold serves every penalty: on orthogonal components the ridge solution of each of them is the
least-squares one times d / (d + alpha), d the component's sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stflow.training.score import mean_pearson

#: Parts that a slide is cut into where it is all there is to learn from.
BLOCKS = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """A penalty, what was left out in turn to choose it, and the score of every one that was tried."""

    alpha: float
    left_out: str
    scores: dict[str, float]


def inner_folds(
    patients: Sequence[str], slides: Sequence[str], centres_um: Sequence[np.ndarray], most: int
) -> tuple[str, np.ndarray]:
    """What is left out together: patients; slides where there is one patient; parts of the slide where there is one.

    Parameters
    ----------
    patients, slides
        Of each training slide, its patient and name.
    centres_um
        (N, 2) spot centres of each.
    most
        Folds at most: with more patients, several share one.

    Returns
    -------
    What is left out (``patient``, ``slide`` or ``part``), and the (N,) fold of every spot of all slides.
    """
    for what, groups in (("patient", patients), ("slide", slides)):
        names = sorted(set(groups))
        if len(names) > 1:
            fold = {name: index % min(most, len(names)) for index, name in enumerate(names)}
            return what, np.repeat([fold[group] for group in groups], [len(centres) for centres in centres_um])
    centres = np.concatenate(list(centres_um))
    extent = np.ptp(centres, axis=0)
    long = int(extent[1] > extent[0])
    order = np.lexsort((centres[:, 1 - long], centres[:, long]))
    part = np.empty(len(centres), dtype=np.int64)
    part[order] = np.arange(len(centres)) * min(BLOCKS, len(centres)) // len(centres)
    return "part", part


def principal_axes(x: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """The axes of most variance of (N, D) centred features, from the smaller of the two products of x with itself.

    Returns
    -------
    (K, D) orthonormal axes, K at most ``components``, and (K,) the sum of squares along each, the largest first;
    directions in which nothing varies are left out.
    """
    wide = x.shape[0] < x.shape[1]
    squares, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    squares, vectors = squares[::-1][:components], vectors[:, ::-1][:, :components]
    kept = squares > 1e-12 * max(squares[0], 1e-300)
    squares, vectors = squares[kept], vectors[:, kept]
    return (x.T @ vectors / np.sqrt(squares)).T if wide else vectors.T, squares


def path(x: np.ndarray, y: np.ndarray, test: np.ndarray, alphas: Sequence[float], components: int) -> list[np.ndarray]:
    """(M, G) predictions for ``test`` by each penalty: standardised features, principal components, ridge with a level.

    Parameters
    ----------
    x, y
        (N, D) features and (N, G) log1p counts to learn from.
    test
        (M, D) features.
    """
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 1e-12 * np.maximum(np.abs(mean), 1), scale, 1.0)
    x, test, level = (x - mean) / scale, (test - mean) / scale, y.mean(axis=0)
    axes, squares = principal_axes(x, components)
    projected, product = test @ axes.T, axes @ (x.T @ (y - level))
    return [projected @ (product / (squares + alpha)[:, None]) + level for alpha in alphas]


def choose(
    x: np.ndarray, y: np.ndarray, fold: np.ndarray, left_out: str, alphas: Sequence[float], components: int
) -> Chosen:
    """The penalty with the highest mean Pearson r over genes, averaged over folds left out; of equals the largest.

    Parameters
    ----------
    x, y
        (N, D) features and (N, G) log1p counts of all training spots.
    fold, left_out
        As `inner_folds` gives them.
    """
    totals = np.zeros(len(alphas))
    folds = np.unique(fold)
    for one in folds:
        out = fold == one
        if out.all():
            break  # a single spot: nothing can be left out, and the largest penalty is as good as any
        for index, predicted in enumerate(path(x[~out], y[~out], x[out], alphas, components)):
            totals[index] += mean_pearson(y[out], predicted) / len(folds)
    best = len(alphas) - 1 - int(np.argmax(totals[::-1]))
    scores = {f"{alpha:.6g}": round(float(total), 6) for alpha, total in zip(alphas, totals, strict=True)}
    return Chosen(float(alphas[best]), left_out, scores)
