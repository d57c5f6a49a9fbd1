"""Attention to a view: how long it lasts, and how far down it goes.

A view sends heartbeats at check-ins. Each says how much time has passed, and when the next one is due; the last one
says that it is final. So how long a view lasted is known exactly, or between two check-ins, or only from below:

    15 s ---- 30 s ---- 60 s      told                                  lasted
      x  next 30   x final        30 s, final                           30 s
      x  next 30   (silence)      15 s, the next promised at 30 s       15 s to 30 s: over before 30 s
      x  none due  (silence)      15 s, nothing promised                15 s at least

The share that lasts to t is that of the views whose fate at t is known: `reached` t, or known to be over before. Those
between two check-ins around t, or of which nothing more was promised, say nothing about t. A mean of the times told
would take silence for leaving, and leaving for the time of the last check-in.

Of a view the heartbeat of the longest time counts, of two of the same the final one: in whatever order they come. So a
view counts as over before its next check-in until that comes; it is settled when the page is left.
"""

from typing import Final, NamedTuple

from stream_app.core.events import Engagement
from stream_app.core.records import Growth, Kind, growth
from stream_app.core.tally import Measure
from stream_app.metrics.methods import MedianBetween, Proportion
from stream_app.metrics.metric import Family, Metric

POINTS_S: Final = (5, 15, 30, 60, 120, 300, 600)
"""The check-ins of the beacon, by default: at these, whoever falls silent is known to be gone."""
DEPTHS: Final = (25, 50, 75, 100)
_MS: Final = 1_000


class View(NamedTuple):
    """The heartbeat of the longest time, and how far the view was scrolled.

    `is_final` is 1 if that heartbeat closed the view, `due_ms` when the next one was due (0: none was promised).
    `scrolled` is 1 + the deepest whole per cent of the page (0: never told).
    """

    elapsed_ms: int = 0
    is_final: int = 0
    due_ms: int = 0
    scrolled: int = 0
    is_seen: int = 0


def after(view: View, event: Engagement) -> View:
    """Return the view once `event` is known: the greater heartbeat and the greater depth, whatever came first."""
    told = event.elapsed_ms, int(event.final), 0 if event.final else event.next_checkin_ms or 0
    scrolled = 0 if event.scroll_pct is None else 1 + int(event.scroll_pct)
    return View(*max(view[:3], told), max(view.scrolled, scrolled), 1)


def has_reached(view: View, at_ms: int) -> bool:
    """Say whether the view is known to have lasted `at_ms`; more than 0."""
    return view.elapsed_ms >= at_ms


def is_known(view: View, at_ms: int) -> bool:
    """Say whether it is known if the view lasted `at_ms`: it did, or closed before, or missed a check-in till then."""
    return view.elapsed_ms >= at_ms or bool(view.is_final) or 0 < view.due_ms <= at_ms


VIEWS: Final = Kind(
    "views",
    (Engagement,),
    lambda event: f"{event.user}\x1f{event.view}",
    View(),
    after,
)


def _reached(at_s: int) -> Growth:
    return growth(lambda view: has_reached(view, at_s * _MS))


def _known(at_s: int) -> Growth:
    return growth(lambda view: is_known(view, at_s * _MS))


def _scrolled(depth: int) -> Growth:
    return growth(lambda view: view.scrolled > depth)


MEASURES: Final = (
    Measure(
        "views",
        "Views that sent a heartbeat, at their first.",
        "views",
        VIEWS,
        growth(lambda view: view.is_seen),
    ),
    *(
        Measure(
            f"views_reached_{at_s}s",
            f"Views known to have lasted {at_s} seconds.",
            "views",
            VIEWS,
            _reached(at_s),
        )
        for at_s in POINTS_S
    ),
    *(
        Measure(
            f"views_known_{at_s}s",
            f"Views of which it is known whether they lasted {at_s} seconds.",
            "views",
            VIEWS,
            _known(at_s),
        )
        for at_s in POINTS_S
    ),
    Measure(
        "scrolled_views",
        "Views that said how far they were scrolled.",
        "views",
        VIEWS,
        growth(lambda view: view.scrolled > 0),
    ),
    *(
        Measure(
            f"views_scrolled_{depth}",
            f"Views of which {depth} % of the page was seen.",
            "views",
            VIEWS,
            _scrolled(depth),
        )
        for depth in DEPTHS
    ),
)

_CAVEAT: Final = (
    "A view that falls silent counts as left before its next check-in, as long as that does not come. Views whose fate "
    "at this time is not known (it lies between two of their check-ins, or no further one was promised) are left out; "
    "with the beacon's own check-ins there are next to none."
)

METRICS: Final = (
    *(
        Metric(
            name=f"stayed_{at_s}s",
            title=f"Views that last {at_s} s",
            help=f"Share of views that last {at_s} seconds or longer.",
            unit="ratio",
            formula=f"views known to have lasted {at_s} s / views of which it is known whether they did",
            caveat=_CAVEAT + " A view is open for that long, not read for that long.",
            method=Proportion(f"views_reached_{at_s}s", f"views_known_{at_s}s"),
            honesty="exact",
            settles="session_close",
            is_up_good=None,
            highest=1.0,
        )
        for at_s in POINTS_S
    ),
    Metric(
        name="dwell_median",
        title="Dwell time, median",
        help="How long half of all views last at least, with the check-ins between which that is certain to lie.",
        unit="seconds",
        formula="where the share of views that last falls below one half; straight between two check-ins",
        caveat="Check-ins are far apart, and the interval is as wide: the value between them is a guess, the interval "
        "is none. A mean of the times told is always too short, for the last check-in is not the end. " + _CAVEAT,
        method=MedianBetween(
            POINTS_S,
            tuple(f"views_reached_{at_s}s" for at_s in POINTS_S),
            tuple(f"views_known_{at_s}s" for at_s in POINTS_S),
        ),
        honesty="estimate",
        settles="session_close",
        is_up_good=None,
        at_least=2,
    ),
    *(
        Metric(
            name=f"scrolled_{depth}",
            title=f"Views scrolled to {depth} %",
            help=f"Share of views of which {depth} % of the page came into sight.",
            unit="ratio",
            formula=f"views whose deepest scroll is {depth} % of the page or more / views that tell their scroll",
            caveat="Of a page that fits the window all is in sight at once, so short pages score high: compare arms on "
            "one surface. Per cents are cut, not rounded: 99.9 % is not 100 %.",
            method=Proportion(f"views_scrolled_{depth}", "scrolled_views"),
            honesty="exact",
            settles="session_close",
            is_up_good=None,
            highest=1.0,
        )
        for depth in DEPTHS
    ),
)

FAMILY: Final = Family("attention", "Attention", "How long views last, and how far down they go.", MEASURES, METRICS)
