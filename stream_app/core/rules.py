"""What decides whose credit an event is, and how much may be remembered for it."""

from typing import NamedTuple


class Rules(NamedTuple):
    """What decides whose credit an event is. Milliseconds; part of the stored configuration."""

    currency: str = "EUR"
    click_window_ms: int = 600_000
    view_conversion_window_ms: int = 86_400_000
    click_conversion_window_ms: int = 7 * 86_400_000
    session_gap_ms: int = 1_800_000
    out_of_orderness_ms: int = 10_000
    lateness_ms: int = 300_000
    future_ms: int = 60_000
    max_slices: int = 1_000
    max_remembered: int = 174_000
