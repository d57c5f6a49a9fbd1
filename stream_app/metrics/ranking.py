"""Ranking quality: whether what people clicked stood where they look, and what the order of lists did to it.

A list is a decision: what of it was seen and clicked, at home in the pane of its first impression (core/followed). An
item that is seen again, or clicked again, changes nothing; an item counts at the position where it was seen first.
Positions beyond 64 are no part of a list, nor are impressions later than 30 minutes to an hour after the first.

What cannot be computed from events: recall of what was never shown; diversity, novelty and freshness, as no event
says an item's category, popularity or age; the share of the catalogue, as no event says how large it is.
"""

from collections.abc import Mapping
from typing import Any, Final

from stream_app.core.events import Decision
from stream_app.core.followed import ITEM_BINS
from stream_app.core.tally import Measure, Occasion, Spread
from stream_app.metrics import clicked_lists
from stream_app.metrics.list_methods import AgainstReference, AtPosition, Distinct, OfLists, Told
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Family, Metric
from stream_app.metrics.windows import windows_from

SURFACE_AND_ARM: Final = ("surface", "arm")
_LISTS: Final = "lists_by_clicks"
_ITEMS: Final = "impressions_by_item"


def _unchanged(bins: Mapping[Any, int]) -> Mapping[int, int]:
    return bins


MEASURES: Final = (
    Measure(
        "decisions_stating_exploration",
        "Decisions that say whether they explored.",
        "decisions",
        Decision,
        given="explore",
    ),
    Measure(
        "exploring_decisions",
        "Decisions that say that they explored.",
        "decisions",
        Decision,
        lambda decision: int(decision.explore),
        given="explore",
    ),
)

SPREADS: Final = (
    Spread(
        _LISTS,
        "Lists by what was seen and clicked of them: sums at 5 and at 10, and by position.",
        "lists",
        Occasion.LIST,
        clicked_lists.amounts,
    ),
    Spread(
        _ITEMS,
        f"Impressions by {ITEM_BINS} bins of the item's hash, at the beginning of the hour of their list.",
        "items",
        Occasion.SHOWN_ITEM,
        _unchanged,
    ),
)

_SEES: Final = (
    "People click what they see first, so it says as much about places as about items: compare arms on one surface, "
    "not surfaces, and see the metrics that correct for position."
)


def _at(k: int) -> tuple[Metric, ...]:
    """Return the metrics with a cut-off."""
    told = (
        (
            "hit_rate", "Lists with a hit", Told.HIT_RATE,
            f"Share of lists with a click among the first {k} positions.",
            f"lists with a click within position {k} / lists",
            "Longer lists have more chances. " + _SEES,
        ),
        (
            "precision", "Precision", Told.PRECISION,
            f"Share of the seen positions among the first {k} that were clicked.",
            f"clicked positions within {k} / seen positions within {k}",
            f"Only what was seen counts: the textbook divides by {k} also where fewer were seen, and is then lower. "
            + _SEES,
        ),
        (
            "ndcg", "nDCG", Told.NDCG,
            ("How near to the top the clicks were, against the same clicks in the best order: 1 is all at the top, 0 "
            "no click."),
            (f"mean over all lists of sum of 1/log2(p + 1) over clicked p <= {k}, over that of the list's clicks at "
            "the top"),
            "The ideal has only the clicks there were, not those a better choice would have got. Lists without a click "
            "count as 0: popular figures leave them out and are several times as high. " + _SEES,
        ),
        (
            "ndcg_given_click", "nDCG of clicked lists", Told.NDCG_GIVEN_CLICK,
            "How near to the top the clicks were, over lists with at least one click.",
            f"as nDCG at {k}, over the lists that were clicked",
            "It says where people clicked, not whether: a policy that loses its unhappy half looks better by it. "
            + _SEES,
        ),
    )  # fmt: skip
    return tuple(
        Metric(
            name=f"{name}_at_{k}",
            title=f"{title} at {k}",
            help=help_,
            unit="ratio",
            formula=formula,
            caveat=caveat,
            method=OfLists(_LISTS, tells, k),
            honesty="exact",
            settles="click_window",
            is_up_good=True,
            highest=1.0,
            at_least=2,
            dimensions=SURFACE_AND_ARM,
        )
        for name, title, tells, help_, formula, caveat in told
    )


def _ctr_at(position: int) -> Metric:
    is_last = position == clicked_lists.PLACES
    where = f"{position} and below" if is_last else str(position)
    return Metric(
        name=f"ctr_from_position_{position}" if is_last else f"ctr_at_position_{position}",
        title=f"Click-through rate at position {where}",
        help=f"Share of the lists seen at position {where} that were clicked there.",
        unit="ratio",
        formula=f"clicked / seen positions {where}, each position of a list once",
        caveat="In the holdout, whose order is random, the positions differ by how much people look there; in other "
        "arms also by what was put there.",
        method=AtPosition(_LISTS, position),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        highest=1.0,
        dimensions=SURFACE_AND_ARM,
    )


METRICS: Final = (
    *(metric for k in clicked_lists.CUT_OFFS for metric in _at(k)),
    Metric(
        name="reciprocal_rank",
        title="Mean reciprocal rank",
        help="Mean over all lists of 1 / position of the highest click; a list without a click counts as 0.",
        unit="ratio",
        formula="sum of 1 / highest clicked position / lists",
        caveat="Often quoted over clicked lists alone, which is several times as high. " + _SEES,
        method=OfLists(_LISTS, Told.RECIPROCAL_RANK),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        highest=1.0,
        at_least=2,
        dimensions=SURFACE_AND_ARM,
    ),
    Metric(
        name="reciprocal_rank_given_click",
        title="Mean reciprocal rank of clicked lists",
        help="Mean of 1 / position of the highest click, over lists with at least one.",
        unit="ratio",
        formula="sum of 1 / highest clicked position / lists with a click",
        caveat="It says where people clicked, not whether: who loses the unhappy lists looks better by it.",
        method=OfLists(_LISTS, Told.RECIPROCAL_RANK_GIVEN_CLICK),
        honesty="exact",
        settles="click_window",
        is_up_good=True,
        highest=1.0,
        at_least=2,
        dimensions=SURFACE_AND_ARM,
    ),
    *map(_ctr_at, range(1, clicked_lists.PLACES + 1)),
    Metric(
        name="clicks_over_expected",
        title="Clicks over expected clicks",
        help="Clicks over those that the holdout's random order would have got in the same positions (COEC): 1 is par.",
        unit="ratio",
        formula="clicks / sum over positions of impressions there times the holdout's click-through rate there",
        caveat="It needs a holdout on the same surface and window whose order is random; without one, or without its "
        "clicks, there is none. Where the holdout is small, the interval is as wide as its chance.",
        method=AgainstReference(_LISTS, Told.CLICKS_OVER_EXPECTED),
        honesty="estimate",
        settles="click_window",
        is_up_good=True,
        dimensions=SURFACE_AND_ARM,
    ),
    Metric(
        name="examination_corrected_ctr",
        title="Examination-corrected click-through rate",
        help="The click-through rate if every position were looked at as much as the first, as the holdout shows it.",
        unit="ratio",
        formula="sum of clicks * min(holdout's rate at 1 / holdout's rate there, 20) / impressions",
        caveat="A click in a place that hardly anybody looks at counts for up to 20, so it can pass 1 where nothing is "
        "wrong. It needs a holdout whose order is random.",
        method=AgainstReference(_LISTS, Told.EXAMINATION_CORRECTED),
        honesty="estimate",
        settles="click_window",
        is_up_good=True,
        at_least=2,
        dimensions=SURFACE_AND_ARM,
    ),
    Metric(
        name="exploration_share",
        title="Exploring decisions",
        help="Share of decisions that explored, of those that say whether they did.",
        unit="ratio",
        formula="decisions with explore true / decisions with explore stated",
        caveat="Without exploration nothing is learnt of what is not shown, and no other policy can be valued from the "
        "log. Who states it only when true has a share of 1.",
        method=Proportion("exploring_decisions", "decisions_stating_exploration"),
        honesty="exact",
        settles="at_once",
        is_up_good=None,
        highest=1.0,
    ),
    Metric(
        name="items_shown",
        title="Different items shown",
        help="How many different items were shown, in the hours that begin in the window.",
        unit="items",
        formula=f"linear counting over {ITEM_BINS} bins of the items' hashes",
        caveat="Its standard error is 2 to 3 % up to 1,000 items and 6 % at 4,000; from about 7,000 on there is none. "
        "It is no share of the catalogue, whose size no event says. In few impressions items are missing by chance: "
        "compare arms with about as many.",
        method=Distinct(_ITEMS),
        honesty="estimate",
        settles="at_once",
        is_up_good=None,
        dimensions=SURFACE_AND_ARM,
        windows=windows_from("24h"),
    ),
)

FAMILY: Final = Family(
    "ranking",
    "Ranking quality",
    "Whether lists had at the top what people clicked, with and without the effect of position.",
    MEASURES,
    METRICS,
    SPREADS,
)
