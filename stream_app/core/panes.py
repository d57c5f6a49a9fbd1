"""Event time: panes, hours, watermark, windows. All intervals are half-open, all times milliseconds UTC.

panes   |-10 s-|-10 s-|-10 s-| ...            two hours of them, then they are folded into
hours   |--------------- 1 h ----------------| ...      28 days of these
days    of what is told a day at a time (core/records.py, Aged): also days to come; nothing is folded into them

floor                         watermark   newest
|  panes, may still change  :  ~ 10 s ~  |
--+---------------------------+-----------+-----> event time
older: only in hours        `-- no event this old is expected any more
"""

from typing import Final, NamedTuple

PANE_MS: Final = 10_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS

FINE_RETENTION_MS: Final = 2 * HOUR_MS
"""How long panes stay panes: the longest fine window (1 h), and an hour in which partitions may differ in progress."""
HOUR_RETENTION_MS: Final = 29 * DAY_MS
"""How long hours, and days, are kept: the longest window (28 d) reaches back at most 28 days and one hour."""


def pane_start(at_ms: int) -> int:
    """Return the start of the pane that contains `at_ms`."""
    return at_ms - at_ms % PANE_MS


def day_start(at_ms: int) -> int:
    """Return the start of the day (UTC) that contains `at_ms`."""
    return at_ms - at_ms % DAY_MS


def hour_start(at_ms: int) -> int:
    """Return the start of the hour that contains `at_ms`."""
    return at_ms - at_ms % HOUR_MS


class Window(NamedTuple):
    """A named length of event time. Windows longer than the fine retention begin on the hour."""

    name: str
    length_ms: int

    @property
    def is_fine(self) -> bool:
        """Say whether the window is a sum of panes alone."""
        return self.length_ms <= HOUR_MS

    def start_ms(self, end_ms: int) -> int:
        """Return where the window that ends at `end_ms` begins.

        A long window begins on the hour, so that it is a sum of whole hours and panes: it covers its length and
        up to 59 min 50 s more, never less.
        """
        start = end_ms - self.length_ms
        return start if self.is_fine else hour_start(start)


class Watermark:
    """How far one partition's event time is believed complete. Mutable state: `newest_ms`, which never falls.

    The watermark moves in whole panes, so that it is the same wherever in a pane a worker looks at it.
    """

    __slots__ = ("lateness_ms", "newest_ms", "out_of_orderness_ms")

    def __init__(self, out_of_orderness_ms: int, lateness_ms: int, newest_ms: int = 0) -> None:
        self.out_of_orderness_ms = out_of_orderness_ms
        self.lateness_ms = lateness_ms
        self.newest_ms = newest_ms

    def observe(self, at_ms: int) -> None:
        """Take an accepted event's time into account."""
        self.newest_ms = max(self.newest_ms, at_ms)

    @property
    def at_ms(self) -> int:
        """The watermark itself."""
        return max(0, pane_start(self.newest_ms) - self.out_of_orderness_ms)

    @property
    def sealed_before_ms(self) -> int:
        """Panes that end at or before this time are sealed; an event older than it is late."""
        return pane_start(max(0, self.at_ms - self.lateness_ms))
