"""The lengths of event time over which metrics are read."""

from typing import Final

from stream_app.core.panes import DAY_MS, HOUR_MS, Window

WINDOWS: Final = (
    Window("1m", 60_000),
    Window("5m", 300_000),
    Window("15m", 900_000),
    Window("1h", HOUR_MS),
    Window("24h", DAY_MS),
    Window("7d", 7 * DAY_MS),
    Window("28d", 28 * DAY_MS),
)
EVERY_WINDOW: Final = tuple(window.name for window in WINDOWS)


def windows_from(shortest: str) -> tuple[str, ...]:
    """Return the names of the window `shortest` and of all that are longer.

    Raises ValueError for a name that is no window's.
    """
    return EVERY_WINDOW[EVERY_WINDOW.index(shortest) :]
