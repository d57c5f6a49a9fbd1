"""The JSON contract of `GET /v1/view` and of the stream: plain frozen values, rendered as they stand.

Times are milliseconds UTC, intervals half-open, bounds 95 %, `null` where there is not enough data or nothing
yet. Surface `all` and arm `all` are sums over the others.
"""

from typing import Literal

import msgspec

from stream_app.serving.watch_view import NO_WATCH, WatchView
from stream_app.statistics.estimates import Estimate

State = Literal["live", "idle", "behind", "lost", "absent"]


class StoreState(msgspec.Struct, frozen=True):
    """Redis, as seen from here: one round trip in ms; bytes, 0 = unknown or without limit."""

    up: bool
    ms: float
    used_memory_bytes: int
    max_memory_bytes: int


class Row(msgspec.Struct, frozen=True):
    """One surface and arm in one window, summed over policy, segment, channel and device.

    `metrics` has the exported ones that make sense there, `measures` what these read; all others are asked of
    `/v1/query`.
    """

    surface: str
    arm: str
    measures: dict[str, int | float]
    metrics: dict[str, Estimate | None]


class Contrast(msgspec.Struct, frozen=True):
    """How many times as high a metric is in one arm as in another."""

    surface: str
    metric: str
    arm: str
    against: str
    ratio: Estimate | None


class WindowView(msgspec.Struct, frozen=True):
    """One window. `maturity` is the share of its impressions that had their whole click window.

    `maturities` is the same by metric: the share of impressions as old as the metric needs to settle, 1 where it waits
    for nothing.

    `gapped`: it reaches back to a time of which records were lost to retention before they were counted.
    `rekeyed`: it reaches back to before partitions were added, so that joins across that moment are missing.
    `not_yet`: metrics that it cannot answer, for it reaches back to before one of their measures was counted.
    """

    start_ms: int
    end_ms: int
    length_ms: int
    complete: bool
    gapped: bool
    rekeyed: bool
    not_yet: tuple[str, ...]
    maturity: float
    maturities: dict[str, float]
    rows: tuple[Row, ...]
    contrasts: tuple[Contrast, ...]


class Point(msgspec.Struct, frozen=True):
    """One minute of the series, the newest perhaps in part; its estimates are of the `span_ms` that end with it."""

    start_ms: int
    end_ms: int
    arms: dict[str, dict[str, Estimate | None]]


class Series(msgspec.Struct, frozen=True):
    """The last hour, oldest first: a point every `step_ms`, each over `span_ms`."""

    step_ms: int
    span_ms: int
    surface: str
    points: tuple[Point, ...]


class PartitionView(msgspec.Struct, frozen=True):
    """Where one partition stands."""

    partition: int
    offset: int
    end_offset: int
    lag_records: int
    worker: str
    alive_ms: int
    state: State


class Pipeline(msgspec.Struct, frozen=True):
    """How the counting goes: sums over partitions of what became of their records."""

    events_per_second: float
    lag_records: int
    records: int
    outcomes: dict[str, int]
    rejected: dict[str, int]
    redis: StoreState
    workers: tuple[str, ...]
    partitions: tuple[PartitionView, ...]


class Snapshot(msgspec.Struct, frozen=True):
    """All that readers see, at one moment. `folded_pairs` surfaces x arms are shown as surface `other`.

    `replaying`: a partition's state was lost, or went back, and is being counted anew, so everything is too low.
    """

    build: str
    title: str
    at_ms: int
    end_ms: int | None
    newest_ms: int | None
    watermark_ms: int | None
    sealed_ms: int | None
    complete: bool
    replaying: bool
    incomplete_because: tuple[str, ...]
    folded_pairs: int
    windows: dict[str, WindowView]
    series: Series
    pipeline: Pipeline
    watch: WatchView = NO_WATCH


encode = msgspec.json.Encoder().encode
