"""The watch over one surface: minute by minute, is personalization helping, and if not, whose fault is it.

A caller feeds each sealed minute once, in order, and keeps what it gets back: `observe` is a function of what it is
given, so that whoever feeds the same minutes has the same evidence and says the same, after a restart too. A minute
that is not after the last one changes nothing. A minute that is missing is evidence of nothing: it may be skipped, or
fed with `is_complete=False`, which says so.
"""

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

import msgspec

from stream_app.core.panes import DAY_MS
from stream_app.statistics import causes
from stream_app.statistics.drops import DROPS, Counts, contributions, log_threshold
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.floors import MARGIN
from stream_app.statistics.minutes import POSITION, Amounts, Minute
from stream_app.statistics.promises import IMPRESSIONS, SESSIONS, Promise
from stream_app.statistics.seasons import Seasons, Usual
from stream_app.statistics.series import (
    LEAST,
    MINUTE_MS,
    NOBODY,
    WEEK_MS,
    Finding,
    Rule,
    Series,
    added,
    begun_anew,
    constant,
    learn,
    lost,
    refreshed,
    step,
    unknown,
)
from stream_app.statistics.verdicts import KPIS, Cause, Kpi, Meter, Verdict, leading

MICROS: Final = 1_000_000
_NOBODY: Final[Mapping[str, int]] = MappingProxyType({})
MOST_STRATA: Final = 80
"""Further ones are not followed: 50 are values of dimensions and positions where no value comes or goes."""
TOLD_STRATA: Final = 5
ACCEPTED_MS: Final = WEEK_MS
"""What differs from the usual hour for so long is the new usual."""
_KEPT_WEEKLY: Final = 0.75
_ABSOLUTE: Final = ("clicks", "base_clicks", "traffic")
_INTEGRITY: Final = ("sessions", "base_sessions", "impressions", "base_impressions")


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the watch, the same for all surfaces.

    At most `budget_a_year` false drops are expected a year over all `series` (surfaces times three rates), and
    `notices_a_year` false findings of every other kind. `margin` is how far the ratio of the arms may breathe below
    its lower bound. `treated` is held against `base`; `shares` are those that the arms were promised (empty: not
    known), and `srm_alpha` the chance a day of finding a mismatch with them where there is none. `sessions_per_user`
    a day, and `impressions_per_session` at most, are what evidence is tempered by where one person has several. Of
    the rest, `*_margin` is what may be missing before it is called so. Nothing is said before a surface has been seen
    for `settle_ms`.
    """

    budget_a_year: float = 1.0
    series: int = len(KPIS)
    notices_a_year: float = 12.0
    margin: float = MARGIN
    treated: str = "personalized"
    base: str = "holdout"
    shares: Mapping[str, float] = msgspec.field(default_factory=dict)
    srm_alpha: float = 0.001
    settle_ms: int = DAY_MS
    sessions_per_user: float = 2.0
    impressions_per_session: float = 10.0
    mismatch_margin: float = 0.05
    context_margin: float = 0.5
    clicks_margin: float = 0.15
    traffic_margin: float = 0.5
    traffic_cluster: float = 10.0


class Stratum(msgspec.Struct, frozen=True):
    """A part of a surface: its first clicks in normal times, and since each alternative's evidence was last at 0."""

    normal: Counts = NOBODY
    recent: tuple[Counts, ...] = (NOBODY,) * len(DROPS)


class Watched(msgspec.Struct, frozen=True):
    """All that is known of one surface, as stored: it survives `msgspec.msgpack` unchanged.

    `last_ms` is the last minute fed (-1: none), `verdicts` those that are open, `paused` why no evidence is being
    gathered ("" where it is: "mismatch", "instrumentation" or "incomplete").
    """

    surface: str
    last_ms: int = -1
    paused: str = ""
    verdicts: tuple[Verdict, ...] = ()
    began_ms: int = -1
    series: Mapping[str, Series] = msgspec.field(default_factory=dict)
    strata: Mapping[str, Stratum] = msgspec.field(default_factory=dict)
    seasons: Seasons = Seasons()
    promise: Promise = Promise()

    @property
    def standing(self) -> Verdict | None:
        """The open verdict that speaks for the surface; None while all is well, or nothing was fed yet."""
        return leading(self.verdicts)


def begin(surface: str) -> Watched:
    """Return the state of a surface of which nothing is known yet."""
    return Watched(surface)


def observe(policy: Policy, watched: Watched, minute: Minute) -> tuple[Watched, tuple[Verdict, ...]]:
    """Return the state after the minute, and the verdicts that changed with it: opened, closed, or of another cause.

    A cause that changes is told by the verdict once more, open, with the new cause and the same `opened_ms`. Raises
    ValueError for a time that is no whole minute, or a negative amount.
    """
    at_ms = minute.at_ms
    if at_ms % MINUTE_MS or at_ms < 0:
        raise ValueError(f"{at_ms} is not where a minute begins; feed sealed minutes")
    if at_ms <= watched.last_ms:
        return watched, ()
    began_ms = watched.began_ms if watched.began_ms >= 0 else at_ms
    if not minute.is_complete:
        told = msgspec.structs.replace(watched, last_ms=at_ms, began_ms=began_ms, paused="incomplete")
        return told, ()
    rules = _rules(policy)
    series = {
        name: watched.series.get(name) or _begun(name, rules[name], began_ms + policy.settle_ms) for name in rules
    }
    for name in rules:
        if name not in _ABSOLUTE:
            series[name] = refreshed(series[name], rules[name], at_ms, began_ms)

    arm, base = (minute.arms.get(name, _NOBODY) for name in (policy.treated, policy.base))
    usual = _usual(minute.arms, arm, base)
    counts = {**causes.integrity(arm, base), **causes.rates(arm, base), **causes.context(arm)}
    least = policy.settle_ms // MINUTE_MS
    counts |= causes.absolute(
        usual.sessions, usual.clicks, usual.base_clicks, watched.seasons.expect(at_ms, usual, least)
    )

    closing: dict[str, float] = {}

    def take(names: tuple[str, ...]) -> None:
        for name in names:
            series[name], over = step(series[name], rules[name], at_ms, counts[name])
            if over is not None:
                closing[name] = over

    take(_INTEGRITY)
    promise = _promised(policy, watched.promise, minute)
    paused = _paused(series, promise)
    seasons, strata = watched.seasons, watched.strata
    if paused:
        if watched.paused != paused:
            series |= {name: begun_anew(series[name]) for name in (*KPIS, *_ABSOLUTE)}
    else:
        ctr = series["ctr"]
        take((*KPIS, "context", *_ABSOLUTE))
        strata = _strata(policy, strata, minute, ctr)
    series, seasons = _accepted(series, seasons, rules, at_ms)
    for name in rules:
        # Not while paused: the other arm would seem to fall when the one that had fallen comes back.
        if name not in _ABSOLUTE and series[name].finding is None and not paused:
            series[name] = learn(series[name], at_ms, counts[name])
    if not paused and all(series[name].finding is None for name in (*_ABSOLUTE, "ctr")):
        seasons = seasons.learn(at_ms, usual)

    after = Watched(watched.surface, at_ms, paused, watched.verdicts, began_ms, series, strata, seasons, promise)
    said = _told(policy, after, rules, closing)
    changed = tuple(verdict for verdict in said if verdict not in watched.verdicts)
    return msgspec.structs.replace(after, verdicts=tuple(verdict for verdict in said if verdict.is_open)), changed


def meters(policy: Policy, watched: Watched) -> tuple[Meter, ...]:
    """Return how close each rate is to an alarm, one for each of `KPIS` in that order; of an alarm, what it had."""
    threshold = log_threshold(policy.budget_a_year, policy.series)
    found: list[Meter] = []
    for kpi in KPIS:
        one = watched.series.get(kpi)
        finding = None if one is None else one.finding
        evidence = 0.0 if one is None else one.evidence.log_evidence if finding is None else finding.log_evidence
        found.append(Meter(kpi, evidence, threshold, finding is not None))
    return tuple(found)


def mismatch_p_value(policy: Policy, watched: Watched) -> float | None:
    """Return the chance, valid at any time, of shares as far from the promised ones; None where none were promised."""
    return watched.promise.p_value if policy.shares else None


def _rules(policy: Policy) -> dict[str, Rule]:
    pages = log_threshold(policy.budget_a_year, policy.series)
    notices = log_threshold(policy.notices_a_year, 3 * policy.series)
    session, list_ = 1 / policy.sessions_per_user, 1 / policy.impressions_per_session
    return {
        "sessions": Rule(policy.mismatch_margin, session, notices),
        "base_sessions": Rule(policy.mismatch_margin, session, notices),
        "impressions": Rule(policy.mismatch_margin, list_, notices),
        "base_impressions": Rule(policy.mismatch_margin, list_, notices),
        "ctr": Rule(policy.margin, 1.0, pages),
        "conversion": Rule(policy.margin, 1.0, pages),
        # Each is between 0 and 1, as (b) of the lemma has it with m = 1; in millionths m is a million.
        "relevance": Rule(policy.margin, 1 / MICROS, pages),
        "context": Rule(policy.context_margin, session, notices),
        "clicks": Rule(policy.clicks_margin, 1.0, notices),
        "base_clicks": Rule(policy.clicks_margin, 1.0, notices),
        "traffic": Rule(policy.traffic_margin, 1 / policy.traffic_cluster, notices),
    }


def _begun(name: str, rule: Rule, refresh_ms: int) -> Series:
    return constant(rule) if name in _ABSOLUTE else unknown(refresh_ms)


def _usual(arms: Amounts, arm: Mapping[str, int], base: Mapping[str, int]) -> Usual:
    return Usual(
        minutes=1,
        sessions=sum(amounts.get("sessions", 0) for amounts in arms.values()),
        at_risk=arm.get("at_risk_impressions", 0),
        clicks=arm.get("first_clicks", 0),
        base_at_risk=base.get("at_risk_impressions", 0),
        base_clicks=base.get("first_clicks", 0),
    )


def _promised(policy: Policy, promise: Promise, minute: Minute) -> Promise:
    """Hold the arms against what they were promised: by sessions, impressions, and sessions on each device."""
    if not policy.shares:
        return promise
    seen = {
        SESSIONS: _by_arm(policy, minute.arms, "sessions"),
        IMPRESSIONS: _by_arm(policy, minute.arms, "impressions"),
    }
    seen |= {
        name: _by_arm(policy, amounts, "sessions")
        for name, amounts in minute.strata.items()
        if name.startswith("device=")
    }
    shares = tuple(policy.shares.values())
    return promise.watch(minute.at_ms, shares, seen, policy.srm_alpha, policy.sessions_per_user)


def _by_arm(policy: Policy, arms: Amounts, measure: str) -> tuple[int, ...]:
    return tuple(arms.get(arm, _NOBODY).get(measure, 0) for arm in policy.shares)


def _paused(series: Mapping[str, Series], promise: Promise) -> str:
    """Return which cause says that the arms cannot be compared; "" where none does."""
    for cause in causes.UNTRUSTWORTHY:
        is_found = any(series[name].finding is not None for name in causes.SERIES_OF[cause])
        if is_found or causes.broken_promise(promise) == cause:
            return cause
    return ""


def _strata(policy: Policy, strata: Mapping[str, Stratum], minute: Minute, before: Series) -> Mapping[str, Stratum]:
    """Add the minute to the strata: to what is normal of them, and to what was since the evidence was last at 0.

    `before` are the first clicks of the whole surface before the minute.
    """
    after = dict(strata)
    is_normal, is_thursday = before.finding is None, not minute.at_ms % WEEK_MS
    for name, amounts in minute.strata.items():
        if name not in after and len(after) >= MOST_STRATA:
            continue
        arm, base = (amounts.get(each, _NOBODY) for each in (policy.treated, policy.base))
        counts = causes.rates(arm, base)["ctr"]
        stratum = after.get(name, Stratum())
        normal = stratum.normal
        if is_thursday:
            normal = Counts(*(int(amount * _KEPT_WEEKLY) for amount in normal))
        recent = tuple(
            counts if is_normal and run <= 0 else added(amounts_before, counts)
            for run, amounts_before in zip(before.evidence.runs, stratum.recent, strict=True)
        )
        after[name] = Stratum(added(normal, counts) if is_normal else normal, recent)
    return after


def _accepted(
    series: dict[str, Series], seasons: Seasons, rules: Mapping[str, Rule], at_ms: int
) -> tuple[dict[str, Series], Seasons]:
    """Take what has not been as usual for a week for the new usual, and learn it anew."""
    findings = [series[name].finding for name in _ABSOLUTE]
    if not any(finding is not None and at_ms - finding.opened_ms >= ACCEPTED_MS for finding in findings):
        return series, seasons
    return series | {name: constant(rules[name]) for name in _ABSOLUTE}, Seasons()


def _told(
    policy: Policy, watched: Watched, rules: Mapping[str, Rule], closing: Mapping[str, float]
) -> tuple[Verdict, ...]:
    """Return all verdicts that hold now, and those that held until now, closed."""
    before = {_key(verdict): verdict for verdict in watched.verdicts}
    now: dict[tuple[Kpi, str], Verdict] = {}
    for kpi in KPIS:
        finding = watched.series[kpi].finding
        if finding is None:
            continue
        known = before.get((kpi, ""))
        cause = causes.explanation(watched.series, watched.promise, "drop" if known is None else known.cause)
        if known is not None and known.opened_ms == finding.opened_ms:
            size = known.size
            verdict = known if known.cause == cause else _renamed(known, cause, watched.last_ms)
        else:
            size = lost(watched.series[kpi], rules[kpi].eta, finding.during)
            verdict = _verdict(watched, kpi, cause, kpi, rules[kpi], size, _contributors(policy, watched, kpi))
        now[kpi, ""] = verdict
    for cause in causes.SERIES_OF:
        key: tuple[Kpi, str] = ("surface", cause)
        known = before.get(key)
        name = causes.speaker(cause, watched.series, is_open=known is not None)
        if name is not None:
            now[key] = known or _found(watched, cause, name, rules[name])
        elif causes.broken_promise(watched.promise) == cause:
            now[key] = known or _broken(watched, cause)
    if not watched.series["ctr"].floor:
        key = ("surface", "not_enough")
        now[key] = before.get(key) or _said(watched, "not_enough")
    gone = (
        msgspec.structs.replace(
            verdict,
            is_open=False,
            at_ms=watched.last_ms,
            log_evidence=_evidence_of(verdict, closing),
        )
        for key, verdict in before.items()
        if key not in now
    )
    return (*now.values(), *gone)


def _key(verdict: Verdict) -> tuple[Kpi, str]:
    """Return what there is one verdict of: a rate, whose cause may change, or a cause that concerns the surface."""
    return verdict.kpi, verdict.cause if verdict.kpi == "surface" else ""


def _evidence_of(verdict: Verdict, closing: Mapping[str, float]) -> float:
    names: tuple[str, ...] = (verdict.kpi,)
    if verdict.kpi == "surface":
        names = causes.SERIES_OF.get(verdict.cause, ())
    return max((closing[name] for name in names if name in closing), default=verdict.log_evidence)


def _renamed(verdict: Verdict, cause: Cause, at_ms: int) -> Verdict:
    told = causes.words(verdict.kpi, cause, verdict.size)
    return msgspec.structs.replace(verdict, cause=cause, at_ms=at_ms, words=told)


def _contributors(policy: Policy, watched: Watched, kpi: Kpi) -> tuple[tuple[str, float], ...]:
    """Return the strata that add most to the evidence of a drop of first clicks: none is known of the others.

    A dimension of which there is one value says nothing: it would tell the whole once more.
    """
    one = watched.series[kpi]
    if kpi != "ctr" or one.finding is None:
        return ()
    at, left = DROPS.index(one.finding.left), one.finding.left
    values = Counter(name.partition("=")[0] for name in watched.strata)
    parts = {
        name: (floor, stratum.recent[at])
        for name, stratum in watched.strata.items()
        if values[name.partition("=")[0]] > 1 and (floor := _floor(policy, name, stratum, one.floor))
    }
    found = contributions(parts, left)
    return tuple((name, evidence) for name, evidence in found.items() if evidence > 0)[:TOLD_STRATA]


def _floor(policy: Policy, name: str, stratum: Stratum, floor: float) -> float:
    """Return the floor of a stratum: its own where enough is known of it, for some are always below others.

    Else it is that of the surface, but for a position, of which 0 is returned: where the one arm has at the top what
    the other has anywhere, the ratio of a position is no guess at that of another.
    """
    trials, successes, base_trials, base_successes = stratum.normal
    if min(successes, base_successes) < LEAST:
        return 0.0 if name.startswith(POSITION) else floor
    return (1 - policy.margin) * successes * base_trials / (trials * base_successes)


def _found(watched: Watched, cause: Cause, name: str, rule: Rule) -> Verdict:
    finding = watched.series[name].finding
    size = None if finding is None else lost(watched.series[name], rule.eta, finding.during)
    return _verdict(watched, "surface", cause, name, rule, size, ())


def _verdict(
    watched: Watched,
    kpi: Kpi,
    cause: Cause,
    name: str,
    rule: Rule,
    size: Estimate | None,
    contributors: tuple[tuple[str, float], ...],
) -> Verdict:
    finding = cast("Finding", watched.series[name].finding)
    return Verdict(
        surface=watched.surface,
        kpi=kpi,
        cause=cause,
        is_open=True,
        since_ms=finding.since_ms,
        opened_ms=finding.opened_ms if kpi != "surface" else watched.last_ms,
        at_ms=watched.last_ms,
        size=size,
        log_evidence=finding.log_evidence,
        log_threshold=rule.log_threshold,
        contributors=contributors,
        words=causes.words(kpi, cause, size),
    )


def _broken(watched: Watched, cause: Cause) -> Verdict:
    promise = watched.promise
    said = _said(watched, cause)
    return msgspec.structs.replace(
        said,
        since_ms=promise.day * DAY_MS,
        log_evidence=promise.log_evidence,
        log_threshold=promise.log_threshold,
        contributors=tuple((name, 0.0) for name in promise.found),
    )


def _said(watched: Watched, cause: Cause) -> Verdict:
    at_ms = watched.last_ms
    said = causes.words("surface", cause, None)
    return Verdict(watched.surface, "surface", cause, True, at_ms, at_ms, at_ms, None, 0.0, 0.0, (), said)
