"""When to stop: the epoch with the best selection score is kept, and training ends when it has not been beaten."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class EarlyStopping:
    """Best score so far and how long ago it was.

    Attributes
    ----------
    patience
        Epochs without a better score after which to stop.
    best_score, best_epoch
        The best score and its epoch; epoch 0 before any score.
    """

    patience: int
    best_score: float = float("-inf")
    best_epoch: int = 0

    def update(self, epoch: int, score: float) -> bool:
        """Take the score of ``epoch``; True if it is the best so far (a tie keeps the earlier epoch)."""
        if not score > self.best_score:
            return False
        self.best_score, self.best_epoch = score, epoch
        return True

    def is_over(self, epoch: int) -> bool:
        """Whether ``patience`` epochs have passed since the best one."""
        return epoch - self.best_epoch >= self.patience
