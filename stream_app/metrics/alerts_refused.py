"""Alerts on what is refused, or comes too late: on its share, and only where it is not just a few.

Where few events come one bad record is a large share of them, and nobody is to be told of one.
"""

from collections.abc import Mapping
from typing import Final

from stream_app.metrics.alert import ENOUGH, Alert, Component, Example, Group, Told, of_collector, of_worker, series_of

_CONSUMED: Final = "lynceus_events_consumed_total"


def _many(
    name: str,
    bad: str,
    good: str,
    limit: float,
    minutes: int,
    component: Component,
    summary: str,
    description: str,
    *,
    labels: Mapping[str, str] = {},  # never written to
    is_part: bool = False,
) -> Alert:
    """Return the alert on more than `limit` of what came within some minutes being bad, and at least `ENOUGH`.

    `bad` and `good` are counters; of the first only those with `labels` count. What is bad is a part of what the second
    counts, or beside it. `description` goes on after the share.
    """
    chosen = series_of(bad, labels) if labels else bad
    rate = f"sum by (job) (rate({chosen}[{minutes}m]))"
    others = f"sum by (job) (rate({good}[{minutes}m]))"
    job = "lynceus-collector" if component == "collecting" else "lynceus-worker"
    of = of_collector if component == "collecting" else of_worker

    def came(refused: int, share: float) -> dict[str, str]:
        """Return counters by which that many were refused in the tenth minute, of two kinds, and were that share."""
        beside = round(refused / share) - (0 if is_part else refused)
        of_bad = {of(bad, **labels, reason=kind): f"0x9 {refused // 2}x50" for kind in ("timestamp", "syntax")}
        return of_bad | {of(good, event="click"): f"0x9 {beside}x50"}

    return Alert(
        name=name,
        expr=f"""
            {rate}
            /
            {others if is_part else f"({rate} + {others})"}
            > {limit:g}
            and sum by (job) (increase({chosen}[{minutes}m])) >= {ENOUGH}
        """,
        for_s=300,
        keep_firing_for_s=300,
        severity="warning",
        component=component,
        summary=summary,
        description=f"{{{{ $value | humanizePercentage }}}} {description}",
        examples=(
            Example("a dozen", came(12, 1.5 * limit), 17, (Told({"job": job}, f"{150 * limit:g}% {description}"),)),
            Example("as many, of more", came(12, 0.7 * limit), 17),
            Example("a few, of few", came(8, 0.8), 17),
        ),
    )


ALERTS: Final = (
    _many(
        "LynceusDeadLettersMany",
        "lynceus_dead_letters_total",
        _CONSUMED,
        0.01,
        10,
        "counting",
        "More than one record in a hundred is no event: it went to the dead letters.",
        "of the records of the last ten minutes were refused.",
    ),
    _many(
        "LynceusLateEventsMany",
        "lynceus_late_events_total",
        _CONSUMED,
        0.02,
        15,
        "counting",
        "More than one event in fifty comes too late to be counted.",
        "of the events of the last quarter of an hour came after their pane was sealed: counts are too low.",
        labels={"disposition": "dropped"},
        is_part=True,
    ),
    _many(
        "LynceusCollectorRejectsMany",
        "lynceus_collector_rejected_events_total",
        "lynceus_collector_accepted_events_total",
        0.05,
        10,
        "collecting",
        "More than one event in twenty is refused at the door.",
        "of what was sent in the last ten minutes were no events; their senders were told why.",
    ),
)

GROUP: Final = Group("lynceus.refused", "What is not counted", (), ALERTS)
