"""Lines of progress: how many tiles of a slide are done, how fast, how long the rest takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

#: Seconds between two lines.
REPORT_S = 10.0


class Progress:
    """One slide's progress, on stderr.

    Parameters
    ----------
    what
        Encoder, slide, and which of how many it is.
    total
        Tiles of the slide.
    clock
        Seconds from some start.
    """

    def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.total, self._clock = what, total, clock
        self._done = self._earlier = 0
        self._begin = self._told = clock()

    def add(self, tiles: int, *, earlier: bool = False) -> None:
        """Count tiles as done, by an earlier run or by this one; say so if the last line is `REPORT_S` old.

        Tiles of an earlier run do not count in the rate, nor does the time that it took to find them.
        """
        now = self._clock()
        self._done += tiles
        if earlier:
            self._earlier += tiles
            self._begin = now
        if now - self._told > REPORT_S and self._done < self.total:
            self._told = now
            self._tell(now)

    def finish(self) -> None:
        """The last line."""
        self._tell(self._clock())

    def _tell(self, now: float) -> None:
        words = f"{self._done:,} of {self.total:,} tiles"
        if self._earlier:
            words += f" ({self._earlier:,} from an earlier run)"
        made, seconds = self._done - self._earlier, max(now - self._begin, 1e-9)
        if made:
            rate = made / seconds
            words += f", {rate:,.{0 if rate >= 10 else 1}f} tiles/s"
            if self._done < self.total:
                words += f", {_clock_words((self.total - self._done) / rate)} left"
        print(f"embed {self.what}: {words}", file=sys.stderr, flush=True)


def _clock_words(seconds: float) -> str:
    """``0:03``, ``12:40``, ``3:02:11``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
