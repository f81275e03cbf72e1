"""Where the time of a job goes, by name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """Wall time by phase, s; a phase that comes again adds up.

    Attributes
    ----------
    seconds
        Phase -> seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Time the block under the name of a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        """The same to the millisecond."""
        return {phase: round(seconds, 3) for phase, seconds in self.seconds.items()}
