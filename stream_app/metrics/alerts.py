"""All alerts, in the order in which they are evaluated: first whether the data can be trusted, then what it says."""

from typing import Final

from stream_app.metrics import (
    alerts_counting,
    alerts_data,
    alerts_processes,
    alerts_refused,
    alerts_verdicts,
    alerts_visibility,
    recorded_ratios,
)

GROUPS: Final = (
    alerts_data.GROUP,
    alerts_verdicts.GROUP,
    recorded_ratios.GROUP,
    alerts_counting.GROUP,
    alerts_refused.GROUP,
    alerts_visibility.GROUP,
    alerts_processes.GROUP,
)
ALERTS: Final = tuple(alert for group in GROUPS for alert in group.alerts)
RECORDINGS: Final = tuple(recording for group in GROUPS for recording in group.recordings)
