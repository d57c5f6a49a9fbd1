"""What a query may ask of a view, and the answer: pure, from parameters to values."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from stream_app.core.inputs import Figure, Told, scope_of, told_for
from stream_app.core.panes import DAY_MS
from stream_app.core.slices import ALL, DIMENSIONS
from stream_app.core.tally import Tally
from stream_app.metrics.contrasting import refusal
from stream_app.metrics.list_methods import AgainstReference
from stream_app.metrics.methods import Arms
from stream_app.metrics.metric import Metric
from stream_app.serving.snapshot import Series, WindowView
from stream_app.serving.views import Binned, Meaning, Totals, View, measures_of, series
from stream_app.statistics.contrasts import difference_between, ratio_between
from stream_app.statistics.counted import NO_BINS, Bins, Counted, Figures
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower

DEFAULT_WINDOW: Final = "5m"
REFERENCE: Final = "holdout"
"""The arm that what is told against a random order is held against."""
TREATED: Final = "personalized"
"""The arm that is held against another one, where none is named."""
ARMS: Final = (TREATED, "context_blind", REFERENCE)
"""Arms that one may ask for also before anything was counted of them."""
_ARM: Final = DIMENSIONS.index("arm")


class BadQueryError(Exception):
    """A query that cannot be answered: what is wrong, and the names that are near to what was asked."""

    def __init__(self, message: str, near: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.near = near


class ToldFigure(msgspec.Struct, frozen=True):
    """A figure that people told for the window: of what, when its newest part was told, and by whom."""

    key: str
    scope: str
    value: float
    told_ms: int
    authors: tuple[str, ...]


class Held(msgspec.Struct, frozen=True):
    """An arm held against another one, for one look at a fixed time: `base` is what the metric says of the other one.

    `ratio` is how many times as high the metric is, None also where that means nothing (of a net score); `difference`
    is in its unit.
    """

    against: str
    base: Estimate | None
    ratio: Estimate | None
    difference: Estimate | None


class Answer(msgspec.Struct, frozen=True):
    """One metric of one window, over the slices that have the values of `where`.

    `unseen` names the dimensions of which the value asked for was never counted: perhaps a typing error. `maturity` is
    the share of the window's impressions as old as the metric needs to settle. `told` has the figures that people told
    for it, `untold` those of which some moment of the window is not told: then there is no estimate. `contrast` is
    there where the arm is to be held `against` another one.
    """

    metric: str
    window: str
    where: dict[str, str]
    unseen: tuple[str, ...]
    start_ms: int
    end_ms: int
    complete: bool
    replaying: bool
    gapped: bool
    rekeyed: bool
    maturity: float
    estimate: Estimate | None
    measures: dict[str, int | float]
    told: tuple[ToldFigure, ...] = ()
    untold: tuple[str, ...] = ()
    contrast: Held | None = None


def query(view: View, meaning: Meaning, parameters: Iterable[tuple[str, str]]) -> Answer:
    """Answer `metric`, `window` (default 5m, or the shortest that makes sense) and any dimensions.

    A dimension that is omitted is summed over. With `against`, the arm (default: personalized) is held against that
    one, in the same window and at the same values of all other dimensions.

    Raises BadQueryError for a name that does not exist, is given twice, or makes no sense for the metric.
    """
    asked = once(parameters, ("metric", "window", "against", *DIMENSIONS))
    metrics = {metric.name: metric for metric in meaning.metrics}
    metric = metrics[named(asked.pop("metric", ""), "metric", metrics)]
    name = named(asked.pop("window", _default_window(metric)), "window", view.snapshot.windows)
    if metric not in meaning.metrics_of(name):
        raise BadQueryError(f"{metric.name} makes no sense in window {name!r}", [*metric.windows, ALL])
    against = _against(asked, metric, view)
    for dimension in asked:
        if dimension not in metric.dimensions:
            raise BadQueryError(f"{metric.name} is not known by {dimension}", list(metric.dimensions))
    window = view.snapshot.windows[name]
    told = {figure: _told(view, meaning, figure, asked, window) for figure in metric.figures}
    values = {figure: found.value for figure, found in told.items() if found}
    counted = _counted(view, meaning, metric, name, asked, values)
    is_answerable = metric.name not in window.not_yet
    held = Held(against, None, None, None) if against else None
    if against and is_answerable:
        other = _counted(view, meaning, metric, name, {**asked, "arm": against}, values)
        ratio, difference = ratio_between(metric, counted, other), difference_between(metric, counted, other)
        held = Held(against, lower(metric, *other), ratio, difference)
    reach = reach_of(view, name, metric.cohort_days)
    return Answer(
        metric.name,
        name,
        asked,
        unseen(view, asked),
        window.start_ms,
        window.end_ms,
        reach.is_whole,
        view.snapshot.replaying,
        reach.is_gapped,
        reach.is_rekeyed,
        window.maturities[metric.name],
        lower(metric, *counted) if is_answerable else None,
        measures_of(meaning.index, counted.tally),
        tuple(
            ToldFigure(figure.key, found.scope, found.value, found.told_ms, found.authors)
            for figure, found in told.items()
            if found
        ),
        tuple(Figure(figure.key, scope_of(figure, asked)).text for figure, found in told.items() if not found),
        held,
    )


def query_series(view: View, meaning: Meaning, parameters: Iterable[tuple[str, str]]) -> Series:
    """Answer the last hour by minute of `surface` (default `all`)."""
    surface = once(parameters, ("surface",)).get("surface", ALL)
    return series(meaning, view.steps, view.since, surface, view.snapshot.end_ms or 0)


def no_parameters(parameters: Iterable[tuple[str, str]]) -> None:
    """Refuse parameters where none are read: an ignored filter would look like an answer to it."""
    once(parameters, ())


def once(parameters: Iterable[tuple[str, str]], known: tuple[str, ...]) -> dict[str, str]:
    """Return parameters by name; raise BadQueryError for one that is not `known` or is given twice."""
    asked: dict[str, str] = {}
    for name, value in parameters:
        named(name, "parameter", known)
        if name in asked:
            raise BadQueryError(f"parameter {name} is given twice", [])
        asked[name] = value
    return asked


def named(name: str, kind: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return `name` where it is known; raise BadQueryError with the names that are near where it is not."""
    if name in known:
        return name
    shown = name[:64]
    message = f"unknown {kind} {shown!r}" if name else f"{kind} is missing"
    near = difflib.get_close_matches(shown, list(known), n=3, cutoff=0.5) or sorted(known)[:20]
    raise BadQueryError(message, near)


class Reach(NamedTuple):
    """How far what a window says can be trusted: see `Answer`."""

    is_whole: bool
    is_gapped: bool
    is_rekeyed: bool


def reach_of(view: View, name: str, cohort_days: int = 0) -> Reach:
    """Return the reach of a window; those it is about began `cohort_days` earlier: what was missed then is missing."""
    window = view.snapshot.windows[name]
    since_ms = window.start_ms - cohort_days * DAY_MS
    is_gapped, is_rekeyed = since_ms < view.gap_ms, since_ms < view.rekeyed_ms
    return Reach(window.complete and not is_gapped and not is_rekeyed, is_gapped, is_rekeyed)


def unseen(view: View, where: Mapping[str, str]) -> tuple[str, ...]:
    """Return the dimensions of which the value asked for was never counted."""
    kept = view.totals[ALL]
    wanted = [(dimension, DIMENSIONS.index(dimension), value) for dimension, value in where.items()]
    return tuple(dimension for dimension, at, value in wanted if not any(s[at] == value for s in kept))


# -- inside ----------------------------------------------------------------------------------------------------------


def _against(asked: dict[str, str], metric: Metric, view: View) -> str:
    """Take the other arm out of what is asked, and put in the arm that is held against it; "" where none is asked."""
    against = asked.pop("against", None)
    if against is None:
        return ""
    why = refusal(metric)
    if why:
        raise BadQueryError(f"{metric.name} cannot be held against another arm: {why}", [])
    arms = dict.fromkeys((*ARMS, *sorted({slice_[_ARM] for slice_ in view.totals[ALL]})))
    arm = asked.setdefault("arm", TREATED)
    for each in (arm, against):
        named(each, "arm", arms)
    if arm == against:
        raise BadQueryError(f"{arm} cannot be held against itself", [each for each in arms if each != arm])
    return against


def _counted(
    view: View, meaning: Meaning, metric: Metric, name: str, where: Mapping[str, str], told: Figures
) -> Counted:
    """Return what a metric reads of a window, over the slices that have the values of `where`."""
    wanted = [(DIMENSIONS.index(dimension), value) for dimension, value in where.items()]
    arms = metric.arms or Arms("", "")
    totals, binned = view.totals[name], view.bins[name]
    reference = NO_BINS
    if isinstance(metric.method, AgainstReference):
        elsewhere = [(at, value) for at, value in wanted if at != _ARM]
        reference = _bins(binned, meaning, metric, [*elsewhere, (_ARM, REFERENCE)])
    return Counted(
        _total(totals, meaning, wanted, arms.arm),
        meaning.index,
        _bins(binned, meaning, metric, wanted),
        reference,
        _total(totals, meaning, wanted, arms.base) if arms.base else (),
        told,
    )


def _total(totals: Totals, meaning: Meaning, wanted: Sequence[tuple[int, str]], arm: str) -> Tally:
    """Return the sum over the slices that have these values, and this arm where one is named."""
    values = [*wanted, (DIMENSIONS.index("arm"), arm)] if arm else wanted
    chosen = (tally for slice_, tally in totals.items() if all(slice_[at] == value for at, value in values))
    return Tally.total(chosen, len(meaning.index))


def _told(view: View, meaning: Meaning, figure: Figure, where: Mapping[str, str], window: WindowView) -> Told | None:
    return told_for(view.inputs, figure, where, window.start_ms, window.end_ms, meaning.currency)


def _bins(binned: Binned, meaning: Meaning, metric: Metric, wanted: Sequence[tuple[int, str]]) -> Bins:
    """Return the bins of the histograms that a metric reads; `wanted` are values of surface and arm, by position."""
    names = {each.number: each.name for each in meaning.histograms if each.name in metric.needs}
    bins: dict[str, dict[int, int]] = {name: {} for name in names.values()}
    if names:
        for bin_, (amount,) in binned.items():
            if bin_.histogram in names and all(bin_[at] == value for at, value in wanted):
                counts = bins[names[bin_.histogram]]
                counts[bin_.bin] = counts.get(bin_.bin, 0) + amount
    return bins


def _default_window(metric: Metric) -> str:
    return DEFAULT_WINDOW if DEFAULT_WINDOW in metric.windows else metric.windows[0]
