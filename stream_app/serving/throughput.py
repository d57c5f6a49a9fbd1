"""Events per second, from two looks at how many records were applied."""

from collections import deque
from typing import Final

SPAN_MS: Final = 10_000


class Throughput:
    """The mean rate over the last ten seconds. Mutable state: the looks of that time, oldest first."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, int]] = deque()

    def observe(self, at_ms: int, records: int) -> float:
        """Take a look into account, and return events per second; 0 until there are two."""
        looks = self._looks
        if looks and (records < looks[-1][1] or at_ms < looks[-1][0]):
            looks.clear()  # the state began anew, or the clock did
        looks.append((at_ms, records))
        while len(looks) > 2 and looks[1][0] <= at_ms - SPAN_MS:
            looks.popleft()
        (first_ms, first), (last_ms, last) = looks[0], looks[-1]
        return (last - first) * 1000 / (last_ms - first_ms) if last_ms > first_ms else 0.0
