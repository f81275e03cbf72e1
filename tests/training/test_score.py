"""The selection score is the paper's, with a rule for constant genes."""

from __future__ import annotations

import numpy as np
import pytest

from stflow.training.score import mean_pearson


def test_is_the_mean_of_the_genes_correlations() -> None:
    rng = np.random.default_rng(0)
    measured, predicted = rng.normal(size=(2, 50, 4))
    expected = np.mean([np.corrcoef(measured[:, g], predicted[:, g])[0, 1] for g in range(4)])
    assert mean_pearson(measured, predicted) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_constant_gene_counts_zero(value: float) -> None:
    measured = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    predicted = measured.copy()
    predicted[:, 1] = value
    assert mean_pearson(measured, predicted) == pytest.approx(0.5)
