"""Early stopping keeps the first of the best epochs and ends after the patience."""

from __future__ import annotations

from stflow.training.stop import EarlyStopping


def test_keeps_the_best_and_stops_after_patience() -> None:
    stopping = EarlyStopping(patience=3)
    better = [stopping.update(epoch, score) for epoch, score in enumerate([0.1, 0.3, 0.3, 0.2], start=1)]
    assert better == [True, True, False, False]
    assert (stopping.best_epoch, stopping.best_score) == (2, 0.3)
    assert not stopping.is_over(4)
    assert stopping.is_over(5)


def test_an_undefined_score_never_wins() -> None:
    stopping = EarlyStopping(patience=1)
    assert not stopping.update(1, float("nan"))
    assert stopping.best_epoch == 0
