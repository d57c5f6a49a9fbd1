"""Day and week: when people come, and in what mood. Both are step functions of the hour, so their means are exact."""

from typing import Final

HOUR_MS: Final = 3_600_000
_EPOCH_WEEKDAY: Final = 3
"""1970-01-01 was a Thursday; Monday is 0."""

_DAY: Final = (
    0.50, 0.38, 0.30, 0.28, 0.30, 0.40, 0.60, 0.85, 1.00, 1.10, 1.15, 1.20,
    1.30, 1.25, 1.15, 1.10, 1.15, 1.25, 1.40, 1.55, 1.60, 1.45, 1.05, 0.69,
)  # fmt: skip
_WEEK: Final = (1.02, 1.00, 0.98, 0.98, 0.94, 0.98, 1.10)
MOOD_BY_HOUR: Final = (
    0.92, 0.90, 0.90, 0.90, 0.92, 0.94, 0.96, 0.98, 1.00, 1.00, 1.00, 1.02,
    1.04, 1.02, 1.00, 1.00, 1.02, 1.04, 1.06, 1.08, 1.10, 1.08, 1.04, 0.98,
)  # fmt: skip
"""By hour of the day (UTC): clicks of every arm relative to what the table of rates says."""

_MEAN: Final = sum(_DAY) * sum(_WEEK) / (24 * 7)
TRAFFIC_BY_HOUR: Final = tuple(day * weekday / _MEAN for weekday in _WEEK for day in _DAY)
"""By hour of the week (UTC, from Monday): arrivals relative to the rate that was asked for; the mean is 1."""


def traffic(at_ms: int) -> float:
    """Return how many times the mean rate of arrivals holds at `at_ms`."""
    return TRAFFIC_BY_HOUR[(at_ms // HOUR_MS + 24 * _EPOCH_WEEKDAY) % 168]


def mood(at_ms: int) -> float:
    """Return how many times the tabled rate of clicks holds at `at_ms`, in every arm alike."""
    return MOOD_BY_HOUR[at_ms // HOUR_MS % 24]
