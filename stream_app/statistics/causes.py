"""Whose fault it is: which observable tells one cause from another, and what is said of it.

    cause             what fell, and against what
    instrumentation   impressions per session of one arm, against the other's and what is normal of the two
    mismatch          sessions of one arm, against the other's and what is normal; or shares, against what was promised
    context           contextual decisions of the treated arm, against its others and what is normal
    drop              a rate of the treated arm, against the base's and what is normal; and none of the above
    site_wide         first clicks of both arms, each against its own at this hour of the week
    traffic           sessions of all arms, against those at this hour of the week

Records that are lost one by one leave sessions shorter; people who never come leave none, and those who do are whole.
That tells the first two apart, and a session of which a part is lost is still one. What the base does cancels in the
first four, and what people do cancels in the last.
"""

from collections.abc import Mapping
from typing import Final

from stream_app.statistics.drops import Counts, mirrored
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.promises import IMPRESSIONS, SESSIONS, Promise
from stream_app.statistics.seasons import Expectation
from stream_app.statistics.series import NOBODY, Series, expected
from stream_app.statistics.verdicts import PRECEDENCE, Cause

Arm = Mapping[str, int]
SERIES_OF: Final[Mapping[Cause, tuple[str, ...]]] = {
    "instrumentation": ("impressions", "base_impressions"),
    "mismatch": ("sessions", "base_sessions"),
    "context": ("context",),
    "site_wide": ("clicks", "base_clicks"),
    "traffic": ("traffic",),
}
"""By cause, what is watched for it."""
UNTRUSTWORTHY: Final[tuple[Cause, ...]] = ("instrumentation", "mismatch")
"""Causes while which nothing is concluded from the arms."""
_EXPLAINING: Final[tuple[Cause, ...]] = (*UNTRUSTWORTHY, "context")


def rates(arm: Arm, base: Arm) -> dict[str, Counts]:
    """Return the counts of the three rates: of chances and successes, of both arms."""
    return {
        "ctr": _counts(arm, base, "at_risk_impressions", "first_clicks"),
        "conversion": _counts(arm, base, "sessions", "first_conversions"),
        "relevance": _counts(arm, base, "first_scores", "first_score_micros"),
    }


def integrity(arm: Arm, base: Arm) -> dict[str, Counts]:
    """Return the counts that say whether the data can be trusted, and each the other way round."""
    came, base_came = arm.get("sessions", 0), base.get("sessions", 0)
    sessions = Counts(1, came, 1, base_came) if came or base_came else NOBODY
    impressions = _counts(arm, base, "sessions", "impressions")
    return {
        "sessions": sessions,
        "base_sessions": mirrored(sessions),
        "impressions": impressions,
        "base_impressions": mirrored(impressions),
    }


def context(arm: Arm) -> dict[str, Counts]:
    """Return the counts of decisions that context made against those of the same arm that it did not."""
    decisions, contextual = arm.get("decisions", 0), arm.get("contextual_decisions", 0)
    return {"context": Counts(decisions, contextual, decisions, max(0, decisions - contextual))}


def absolute(sessions: int, clicks: int, base_clicks: int, usual: Expectation | None) -> dict[str, Counts]:
    """Return the counts of what came against what was to be expected at this hour."""
    if usual is None:
        return {"clicks": NOBODY, "base_clicks": NOBODY, "traffic": NOBODY}
    return {
        "clicks": expected(clicks, usual.clicks),
        "base_clicks": expected(base_clicks, usual.base_clicks),
        "traffic": expected(sessions, usual.sessions),
    }


def explanation(series: Mapping[str, Series], promise: Promise, before: Cause = "drop") -> Cause:
    """Return why a rate fell: what says that the data is wrong goes first, then context, then the drop itself.

    Less evidence is asked for than for an alarm of its own, because it is held against one. Once told, a cause gives
    way only to one that goes before it.
    """
    fallen = [cause for cause in _EXPLAINING if any(series[name].is_fallen for name in SERIES_OF[cause])]
    return min((before, *fallen, broken_promise(promise) or before), key=PRECEDENCE.index)


def broken_promise(promise: Promise) -> Cause | None:
    """Return what it says of the arms that their shares are not as promised: only impressions, then they were lost."""
    if promise.broken_ms < 0:
        return None
    return "instrumentation" if promise.found == (IMPRESSIONS,) else "mismatch"


def speaker(cause: Cause, series: Mapping[str, Series], *, is_open: bool) -> str | None:
    """Return the series whose finding says that a cause holds; None where none does.

    Site-wide is said where one arm was found to have fallen and the other looks like it; then as long as one is.
    """
    names = [name for name in SERIES_OF[cause] if name in series]
    found = [name for name in names if series[name].finding is not None]
    if not found or (cause == "site_wide" and not is_open and not all(series[name].is_fallen for name in names)):
        return None
    return found[0]


_NAMES: Final[Mapping[str, str]] = {
    "ctr": "First clicks",
    "conversion": "First conversions",
    "relevance": "Stated relevance",
    SESSIONS: "Sessions",
    IMPRESSIONS: "Impressions",
}
_WHAT: Final[Mapping[Cause, str]] = {
    "instrumentation": "Records of one arm are being lost: check the instrumentation, believe no rate",
    "mismatch": "The arms do not get the sessions they should: believe no comparison",
    "context": "Context no longer reaches the decisions of the treated arm",
    "site_wide": "People click less in every arm: personalization is not to blame",
    "traffic": "Fewer people come than usual at this hour",
    "not_enough": "Not enough is known of this surface yet",
    "drop": "Personalization dropped",
}
_ALTHOUGH: Final[Mapping[Cause, str]] = {
    "instrumentation": "records of one arm are being lost, so it may be none",
    "mismatch": "the arms do not get the sessions they should, so it may be none",
    "context": "context no longer reaches the decisions",
}


def words(kpi: str, cause: Cause, size: Estimate | None) -> str:
    """Return one sentence for people."""
    if kpi == "surface":
        return f"{_WHAT[cause]}{_share(size)}."
    said = f"{_NAMES[kpi]} of the treated arm fell against the base{_share(size)}"
    why = _ALTHOUGH.get(cause)
    return f"{said}: {why}." if why else f"{_WHAT[cause]}: {said[0].lower()}{said[1:]}."


def _share(size: Estimate | None) -> str:
    if size is None:
        return ""
    return f", {100 * size.value:.0f} % below normal ({100 * size.low:.0f} to {100 * size.high:.0f} %)"


def _counts(arm: Arm, base: Arm, trials: str, successes: str) -> Counts:
    return Counts(arm.get(trials, 0), arm.get(successes, 0), base.get(trials, 0), base.get(successes, 0))
