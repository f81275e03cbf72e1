"""What tests of trained methods share: a training that ends in the middle."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from stflow.training import fit


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """``with interrupted(epoch):`` a training in the block ends when that epoch's checkpoint is written."""
    plain = fit.save_checkpoint

    @contextmanager
    def after(epoch: int):
        def save_and_stop(path: Path, fingerprint: str, tensors: dict, state: dict) -> None:
            plain(path, fingerprint, tensors, state)
            if state["epoch"] == epoch:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(fit, "CHECKPOINT_EVERY_S", 0.0)
            patch.setattr(fit, "save_checkpoint", save_and_stop)
            with pytest.raises(KeyboardInterrupt):
                yield

    return after
