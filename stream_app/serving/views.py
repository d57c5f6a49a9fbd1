"""The View: what is true now, computed once, immutable, swapped whole; all that is served renders it."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from operator import add
from typing import Final, NamedTuple

import msgspec

from stream_app.core.cells import OUTCOMES
from stream_app.core.histograms import Bin
from stream_app.core.inputs import NO_INPUTS, Inputs
from stream_app.core.panes import DAY_MS, HOUR_MS, PANE_MS, Watermark, Window, pane_start
from stream_app.core.slices import ALL, DIMENSIONS, OTHER, Slice, shown_as
from stream_app.core.tally import Histogram, Spread, add_into
from stream_app.metrics.metric import Metric
from stream_app.serving import health
from stream_app.serving.partitions import PartitionState
from stream_app.serving.snapshot import (
    Contrast,
    Pipeline,
    Point,
    Row,
    Series,
    Snapshot,
    StoreState,
    WindowView,
    encode,
)
from stream_app.serving.sums import Sums
from stream_app.serving.watch_view import NO_WATCH, WatchView
from stream_app.serving.windows import STEP_MS, Pair, Progress, Windows, horizon_ms
from stream_app.statistics.contrasts import CONTRASTED, contrast
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower

MAX_PAIRS: Final = 200
"""Surfaces x arms that are told apart in rows; what is beyond has surface `other`."""
POINT_AT_LEAST: Final = 20
SERIES_POINTS: Final = 60
SPAN_STEPS: Final = 5
SPAN: Final = "5m"
"""The window that is as long: what the series shows is what makes sense there."""
CONTRASTS: Final = (
    ("personalized", "holdout"),
    ("context_blind", "holdout"),
    ("personalized", "context_blind"),
)
LARGEST_INTEGER: Final = 2**63

Totals = Mapping[Slice, Sequence[int]]
Binned = Mapping[Bin, Sequence[int]]
"""Of every bin, its one amount."""
Pairs = Mapping[Pair, Sequence[int]]
Steps = Mapping[int, Pairs]
"""By the start of each minute."""
Since = Mapping[str, int]
"""Measures that some partition does not count from the beginning -> the event time from which on all do."""


class Columns(NamedTuple):
    """Some of the measures of a tally: where each stands in it, and in what is picked of it, by name."""

    places: tuple[int, ...]
    numbers: Mapping[str, int]

    def of(self, tally: Sequence[int]) -> list[int]:
        """Pick them."""
        return [tally[place] for place in self.places]


class Meaning(msgspec.Struct, frozen=True):
    """What the numbers mean: the catalogue, and the rules of counting that readers must know."""

    metrics: tuple[Metric, ...]
    windows: tuple[Window, ...]
    index: Mapping[str, int]
    out_of_orderness_ms: int
    lateness_ms: int
    click_window_ms: int
    conversion_window_ms: int = 7 * DAY_MS
    session_gap_ms: int = HOUR_MS // 2
    histograms: tuple[Histogram | Spread, ...] = ()
    currency: str = "EUR"

    @property
    def open_ms(self) -> int:
        """How long after its end a pane may still get events."""
        return self.out_of_orderness_ms + self.lateness_ms

    def settling_ms(self, metric: Metric) -> int:
        """Return how long after a pane what `metric` says of it may still change, late events aside.

        What is told of people of an age is told when they have it.
        """
        waits = {
            "at_once": 0,
            "click_window": self.click_window_ms,
            "conversion_window": self.conversion_window_ms,
            "session_close": self.session_gap_ms,
            "four_weeks": 28 * DAY_MS,
            "cohort_age": 0,
        }
        return waits[metric.settles]

    def metrics_of(self, window: str) -> tuple[Metric, ...]:
        """Return the metrics that make sense in a window; in the one of all that is kept, every one does."""
        return tuple(metric for metric in self.metrics if _is_told_in(metric, window))

    def headlines(self, window: str, pair: Pair = (ALL, ALL)) -> tuple[Metric, ...]:
        """Return what a view has of a window, surface and arm: of the exported metrics those that make sense there.

        A view is computed and sent whole at every refresh: all other metrics are computed when they are asked for.
        """
        by = {dimension for dimension, value in zip(DIMENSIONS, pair, strict=False) if value != ALL}
        exported = (metric for metric in self.metrics if metric.is_exported)  # a few, so they are looked for first
        return tuple(m for m in exported if _is_told_in(m, window) and by.issubset(m.dimensions))

    def columns(self) -> Columns:
        """Return the measures that a view shows and its metrics read, a few of hundreds; impressions are among them."""
        read = {"impressions", *(name for metric in self.headlines(ALL) for name in metric.needs)}
        chosen = sorted((at, name) for name, at in self.index.items() if name in read)
        return Columns(tuple(at for at, _ in chosen), {name: n for n, (_, name) in enumerate(chosen)})


class View(NamedTuple):
    """A snapshot, its rendering, and what queries need beyond it: tallies by slice, and by minute; what people told.

    `gap_ms` and `rekeyed_ms` say until when something may be missing: of what is told of people of an age, also from
    before its window.
    """

    snapshot: Snapshot
    json: bytes
    tag: str
    totals: Mapping[str, Totals]
    pairs: Mapping[str, Pairs]
    steps: Steps
    since: Since
    bins: Mapping[str, Binned]
    is_stale: bool = False
    gap_ms: int = 0
    rekeyed_ms: int = 0
    inputs: Inputs = NO_INPUTS


class Origin(NamedTuple):
    """Who says so."""

    build: str
    title: str


def newest_ms(states: Iterable[PartitionState], at_ms: int, before_ms: int) -> int:
    """Return the event time up to which windows look: see `horizon_ms`."""
    progress = (Progress(s.head.newest_ms, health.is_catching_up(s, at_ms)) for s in states)
    return horizon_ms(progress, before_ms)


def windows_end_ms(newest: int) -> int:
    """Return where windows end: with the pane that contains `newest`; 0 when nothing has been counted."""
    return pane_start(newest) + PANE_MS if newest else 0


def build_view(
    origin: Origin,
    meaning: Meaning,
    windows: Windows,
    bins: Sums[Bin],
    states: Sequence[PartitionState],
    store: StoreState,
    newest: int,
    at_ms: int,
    events_per_second: float,
    inputs: Inputs = NO_INPUTS,
    watch: WatchView = NO_WATCH,
) -> View:
    """Compute the view of `windows` and `bins`, which were advanced to the end that belongs to `newest`."""
    watermark = Watermark(meaning.out_of_orderness_ms, meaning.lateness_ms, newest)
    because = health.reasons(states, at_ms)
    names = [*(w.name for w in meaning.windows), ALL]
    totals = {name: windows.totals(name) for name in names}
    pairs = {name: _pairs(totals[name]) for name in names}
    shown = largest(pairs[ALL], meaning.index["impressions"], MAX_PAIRS)
    steps, since = _steps(windows), _since(states)
    snapshot = Snapshot(
        build=origin.build,
        title=origin.title,
        at_ms=at_ms,
        end_ms=windows.end_ms or None,
        newest_ms=newest or None,
        watermark_ms=watermark.at_ms if newest else None,
        sealed_ms=watermark.sealed_before_ms if newest else None,
        complete=not because,
        replaying=any(health.is_replaying(state) for state in states),
        incomplete_because=because,
        folded_pairs=len(pairs[ALL]) - len(shown),
        windows={
            name: _window_view(name, meaning, windows, states, pairs[name], shown, since, watermark.at_ms, not because)
            for name in names
        },
        series=series(meaning, steps, since, ALL, windows.end_ms),
        pipeline=_pipeline(states, store, at_ms, events_per_second),
        watch=watch,
    )
    view = _rendered(snapshot, totals, pairs, steps, since, {name: bins.totals(name) for name in names})
    return view._replace(gap_ms=health.gap_ms(states), rekeyed_ms=health.rekeyed_ms(states), inputs=inputs)


def stale(view: View, reason: str, is_store_up: bool, at_ms: int) -> View:
    """Return the view when there is no newer one: the same numbers, of the same moment, said not to be fresh.

    The pipeline's heartbeats are judged at `at_ms`.
    """
    old = view.snapshot
    because = (reason, *old.incomplete_because)
    snapshot = msgspec.structs.replace(
        old,
        complete=False,
        incomplete_because=because,
        windows={name: msgspec.structs.replace(window, complete=False) for name, window in old.windows.items()},
        pipeline=msgspec.structs.replace(
            old.pipeline,
            events_per_second=0.0,
            redis=msgspec.structs.replace(old.pipeline.redis, up=is_store_up),
            partitions=tuple(
                msgspec.structs.replace(p, state="lost")
                if p.state != "absent" and at_ms - p.alive_ms > health.LOST_AFTER_MS
                else p
                for p in old.pipeline.partitions
            ),
        ),
    )
    again = _rendered(snapshot, view.totals, view.pairs, view.steps, view.since, view.bins)
    return again._replace(is_stale=True, gap_ms=view.gap_ms, rekeyed_ms=view.rekeyed_ms, inputs=view.inputs)


def series(meaning: Meaning, steps: Steps, since: Since, surface: str, end_ms: int) -> Series:
    """Return the last hour before `end_ms` of `surface` (`all` = of every one) by minute and arm.

    Every point is a window of `SPAN_STEPS` minutes that ends with its minute: what the tile of that window showed
    then. With fewer than `POINT_AT_LEAST` in a metric's denominator there is none: a line drawn through the rates of
    a handful shows chance.
    """
    if not steps:
        return Series(STEP_MS, SPAN_STEPS * STEP_MS, surface, ())
    newest = max(steps)
    columns = meaning.columns()
    minutes = {
        start: _by_arm((arm, columns.of(tally)) for (of, arm), tally in pairs.items() if surface in (ALL, of))
        for start, pairs in steps.items()
    }
    points = []
    for start in range(newest - (SERIES_POINTS - 1) * STEP_MS, newest + STEP_MS, STEP_MS):
        first = start - (SPAN_STEPS - 1) * STEP_MS
        span = range(first, start + STEP_MS, STEP_MS)
        arms = _by_arm(part for within in span for part in minutes.get(within, {}).items())
        not_yet = unanswerable(meaning, since, first)
        estimates = {
            arm: {
                name: estimate if estimate and estimate.n >= POINT_AT_LEAST else None
                for name, estimate in estimates_of(
                    meaning.headlines(SPAN, (surface, arm)), tally, columns.numbers, not_yet
                ).items()
            }
            for arm, tally in sorted(arms.items())
        }
        points.append(Point(start, min(start + STEP_MS, end_ms), estimates))
    return Series(STEP_MS, SPAN_STEPS * STEP_MS, surface, tuple(points))


def _by_arm(parts: Iterable[tuple[str, list[int]]]) -> dict[str, list[int]]:
    """Return the sums of what is given of each arm."""
    arms: dict[str, list[int]] = {}
    for arm, part in parts:
        arms[arm] = list(map(add, arms[arm], part)) if arm in arms else part
    return arms


def unanswerable(meaning: Meaning, since: Since, start_ms: int) -> tuple[str, ...]:
    """Return the metrics of which a measure was not counted yet at `start_ms`: a sum from there would lack some."""
    young = {measure for measure, at_ms in since.items() if at_ms > start_ms}
    return tuple(metric.name for metric in meaning.metrics if young.intersection(metric.needs)) if young else ()


def estimates_of(
    metrics: Iterable[Metric], tally: Sequence[int], index: Mapping[str, int], not_yet: Sequence[str] = ()
) -> dict[str, Estimate | None]:
    """Return what metrics say of a tally whose measures stand where `index` says; nothing of those in `not_yet`."""
    return {metric.name: None if metric.name in not_yet else lower(metric, tally, index) for metric in metrics}


def measures_of(index: Mapping[str, int], tally: Sequence[int]) -> dict[str, int | float]:
    """Return the measures that `index` finds in a tally; what no 64-bit reader could hold is rounded to a float."""
    return {
        name: tally[at] if -LARGEST_INTEGER <= tally[at] < LARGEST_INTEGER else float(tally[at])
        for name, at in index.items()
    }


# -- inside --------------------------------------------------------------------------------------------------


def _is_told_in(metric: Metric, window: str) -> bool:
    return window == ALL or window in metric.windows


def _window_view(
    name: str,
    meaning: Meaning,
    windows: Windows,
    states: Sequence[PartitionState],
    pairs: Pairs,
    shown: frozenset[Pair],
    since: Since,
    watermark_ms: int,
    is_whole: bool,
) -> WindowView:
    span, end_ms = windows.spans[name], windows.end_ms
    if name == ALL:
        end_ms = max(end_ms, windows.newest_end_ms() or 0)
        start_ms = min(windows.oldest_ms() or end_ms, end_ms)
        has_all = True
    else:
        start_ms = span.start_ms
        # Below its floor a partition has no panes, and what it folded beyond our end cannot be told apart.
        floors = [state.head.floor_ms for state in states]
        has_all = not any(floor > (start_ms if span.is_fine else end_ms) for floor in floors)
    columns = meaning.columns()
    index = columns.numbers
    rows = marginals({pair: columns.of(tally) for pair, tally in pairs.items()}, shown, len(index))
    impressions = rows[(ALL, ALL)][index["impressions"]]

    @cache
    def maturity(settling_ms: int) -> float:
        if impressions <= 0 or not settling_ms:
            return 1.0
        return min(1.0, max(0.0, 1 - windows.unsettled(name, watermark_ms - settling_ms) / impressions))

    is_gapped = start_ms < health.gap_ms(states)
    is_rekeyed = start_ms < health.rekeyed_ms(states)
    not_yet = unanswerable(meaning, since, start_ms)
    return WindowView(
        start_ms,
        end_ms,
        end_ms - start_ms,
        is_whole and has_all and not is_gapped and not is_rekeyed,
        is_gapped,
        is_rekeyed,
        not_yet,
        maturity(meaning.click_window_ms),
        {metric.name: maturity(meaning.settling_ms(metric)) for metric in meaning.metrics_of(name)},
        tuple(
            Row(*pair, measures_of(index, tally), estimates_of(meaning.headlines(name, pair), tally, index, not_yet))
            for pair, tally in sorted(rows.items())
        ),
        tuple(_contrasts(meaning.headlines(name), index, rows, not_yet)),
    )


def _pairs(totals: Totals) -> dict[Pair, list[int]]:
    """Sum over policy, segment, channel, device. A surface called `all` is `other`: the name is taken."""
    pairs: dict[Pair, list[int]] = {}
    for slice_, tally in totals.items():
        surface, arm = slice_[:2]
        pair = (shown_as(surface), shown_as(arm))
        sums = pairs.get(pair)
        if sums is None:
            pairs[pair] = list(tally)
        else:
            add_into(sums, tally)
    return pairs


def largest(pairs: Pairs, measure: int, limit: int) -> frozenset[Pair]:
    """Return the `limit` pairs with most of `measure`.

    Those of the longest window are told apart in all windows, so that no row comes and goes.
    """
    return frozenset(sorted(pairs, key=lambda pair: (-pairs[pair][measure], pair))[:limit])


def marginals(pairs: Pairs, shown: frozenset[Pair], width: int) -> dict[Pair, list[int]]:
    """Return every shown pair, also where nothing was counted, and the sums over surfaces, arms, both."""
    rows: dict[Pair, list[int]] = {pair: [0] * width for pair in shown}
    rows[(ALL, ALL)] = [0] * width
    for pair, tally in pairs.items():
        surface, arm = pair if pair in shown else (OTHER, pair[1])
        for row in ((surface, arm), (ALL, arm), (surface, ALL), (ALL, ALL)):
            add_into(rows.setdefault(row, [0] * width), tally)
    for surface, arm in shown:
        rows.setdefault((ALL, arm), [0] * width)
        rows.setdefault((surface, ALL), [0] * width)
    return rows


def _since(states: Iterable[PartitionState]) -> Since:
    since: dict[str, int] = {}
    for state in states:
        for measure, at_ms in state.since.items():
            since[measure] = max(since.get(measure, 0), at_ms)
    return since


def _contrasts(
    asked: Sequence[Metric], index: Mapping[str, int], rows: Pairs, not_yet: Sequence[str]
) -> Iterable[Contrast]:
    metrics = [metric for metric in asked if isinstance(metric.method, CONTRASTED) and metric.name not in not_yet]
    for surface in sorted({surface for surface, _ in rows}):
        for arm, against in CONTRASTS:
            tally, base = rows.get((surface, arm)), rows.get((surface, against))
            if tally is None or base is None:
                continue
            for metric in metrics:
                if surface != ALL and "surface" not in metric.dimensions:
                    continue
                yield Contrast(surface, metric.name, arm, against, contrast(metric, tally, base, index))


def _steps(windows: Windows) -> dict[int, dict[Pair, tuple[int, ...]]]:
    """Return the hour before the windows' end by minute and pair; of the last minute its panes until then."""
    end_ms = windows.end_ms
    if not end_ms:
        return {}
    newest = (end_ms - 1) - (end_ms - 1) % STEP_MS
    steps: dict[int, dict[Pair, tuple[int, ...]]] = {}
    for start in range(newest - (SERIES_POINTS - 1) * STEP_MS, newest, STEP_MS):
        steps[start] = {pair: tuple(t) for pair, t in windows.step_pairs.get(start, {}).items()}
    last: dict[Pair, list[int]] = {}
    for start in range(newest, end_ms, PANE_MS):
        for pair, tally in windows.pane_pairs.get(start, {}).items():
            add_into(last.setdefault(pair, [0] * len(tally)), tally)
    steps[newest] = {pair: tuple(t) for pair, t in last.items()}
    return steps


def _pipeline(states: Sequence[PartitionState], store: StoreState, at_ms: int, events_per_second: float) -> Pipeline:
    outcomes = dict.fromkeys(OUTCOMES, 0)
    rejected: dict[str, int] = {}
    for state in states:
        for counts, into in ((state.head.outcomes, outcomes), (state.head.rejected, rejected)):
            for word, number in counts.items():
                into[word] = into.get(word, 0) + number
    partitions = tuple(health.partition_view(state, at_ms) for state in states)
    return Pipeline(
        round(events_per_second, 1),
        sum(p.lag_records for p in partitions),
        sum(state.head.applied for state in states),
        outcomes,
        dict(sorted(rejected.items())),
        store,
        tuple(sorted({p.worker for p in partitions if p.worker and p.state not in ("lost", "absent")})),
        partitions,
    )


def _rendered(
    snapshot: Snapshot,
    totals: Mapping[str, Totals],
    pairs: Mapping[str, Pairs],
    steps: Steps,
    since: Since,
    bins: Mapping[str, Binned],
) -> View:
    """Render once for everybody. The tag does not change with the time of looking."""
    pipeline = snapshot.pipeline
    lasting = msgspec.structs.replace(
        snapshot,
        at_ms=0,
        pipeline=msgspec.structs.replace(
            pipeline,
            redis=StoreState(pipeline.redis.up, 0.0, 0, pipeline.redis.max_memory_bytes),
            partitions=tuple(msgspec.structs.replace(p, alive_ms=0) for p in pipeline.partitions),
        ),
    )
    tag = blake2b(encode(lasting), digest_size=12).hexdigest()
    return View(snapshot, encode(snapshot), tag, totals, pairs, steps, since, bins)
