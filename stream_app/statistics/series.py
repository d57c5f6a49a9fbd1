"""One thing that is watched: what is normal of it, the evidence that it fell, and whether it has come back.

      learning            watching              found                         watching
    ------------|------------------------|-------------------------------|----------------->
             floor known          evidence >= threshold          evidence of the way back
             (then weekly)        frozen: nothing is learnt      >= threshold: begins anew

Rates of the arms, shares of sessions and what is expected at this hour are all `Counts`: of one arm against another, of
one share against the rest, of what came against an arm so large that chance says nothing of it (`expected`).
"""

from functools import lru_cache
from math import exp, log, sqrt
from typing import Final, NamedTuple

import msgspec

from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.statistics.drops import DROPS, Counts, Evidence, Plan, mirrored, recovery, start, update
from stream_app.statistics.estimates import Z_95, Estimate
from stream_app.statistics.floors import Z_99

MINUTE_MS: Final = 60_000
HISTORY_DAYS: Final = 28
WEEK_MS: Final = 7 * DAY_MS
LEAST: Final = 100
"""Successes in each arm below which nothing is known of a ratio: then its error is above 14 %."""
EXPLAINS: Final = log(1_000)
"""A likelihood ratio from which a fall counts as seen where another was found and its cause is asked for. As an alarm
of its own it would be too little: it is held against a finding, not looked for every minute."""
NOBODY: Final = Counts(0, 0, 0, 0)
_LARGE: Final = 10_000


class Rule(NamedTuple):
    """How a thing is watched: below `1 - margin` of its normal, lower bound included, is a fall.

    `eta` tempers the evidence of what comes in clusters, up to 1/eta at once; it is 1 for what is independent.
    """

    margin: float
    eta: float
    log_threshold: float

    def plan(self, floor: float) -> Plan:
        """Return the plan of the detector."""
        return _plan(floor, self.log_threshold, self.eta)


@lru_cache(maxsize=1_024)  # a floor holds for a week
def _plan(floor: float, log_threshold: float, eta: float) -> Plan:
    return Plan(floor, log_threshold, DROPS, (eta,) * len(DROPS))


class Finding(msgspec.Struct, frozen=True):
    """A fall that was found and is not over. `during` are the counts since it began, `null` the ratio to get above."""

    since_ms: int
    opened_ms: int
    left: float
    log_evidence: float
    during: Counts
    null: float
    recovering: Evidence


class Series(msgspec.Struct, frozen=True):
    """What is known of one thing. `floor` and `normal` are ratios, 0 while too little is known.

    `past` and `today` are the days of its history, by number; `sums` are the counts since each alternative's evidence
    was last at 0.
    """

    evidence: Evidence
    sums: tuple[Counts, ...] = (NOBODY,) * len(DROPS)
    floor: float = 0.0
    normal: float = 0.0
    variance: float = 0.0
    refresh_ms: int = 0
    past: tuple[tuple[int, Counts], ...] = ()
    today: tuple[int, Counts] = (0, NOBODY)
    finding: Finding | None = None

    @property
    def run(self) -> float:
        """The log-likelihood ratio that it fell and did not come back, of the alternative that fits best."""
        return max(self.evidence.runs)

    @property
    def is_fallen(self) -> bool:
        """Whether it was found to have fallen, or looks so much like it that it explains another finding."""
        return self.finding is not None or self.run >= EXPLAINS


_START: Final = start(Plan(1.0, 1.0))


def unknown(refresh_ms: int) -> Series:
    """Return a series of which nothing is known, and nothing is said before `refresh_ms`."""
    return Series(_START, refresh_ms=refresh_ms)


def constant(rule: Rule) -> Series:
    """Return a series whose normal is 1, by what it is held against: it learns nothing."""
    return Series(_START, floor=1 - rule.margin, normal=1.0)


def begun_anew(series: Series) -> Series:
    """Return the series without evidence: what was gathered cannot be believed."""
    return msgspec.structs.replace(series, evidence=_START, sums=(NOBODY,) * len(DROPS))


def expected(came: int, expectation: float) -> Counts:
    """Return what came, held against what was expected: the ratio of the arms is then came/expectation.

    The base is ten thousand times as large, so that its share of the variance is as small. With it ln L is nearly that
    of a Poisson count, x ln r + (1 - r) rho_0 E, and never above it on average: E[L] <= 1 holds.
    """
    base = round(expectation * _LARGE)
    return Counts(base * 10, came, base * 10 * _LARGE, base) if base else NOBODY


def step(series: Series, rule: Rule, at_ms: int, counts: Counts) -> tuple[Series, float | None]:
    """Return the series after the counts of a minute, and the evidence that closed its finding, if it did.

    Nothing happens while nothing is known. A finding opens where the evidence of a fall reaches the threshold, and
    closes where that of the way back does: its null is half-way between what it fell to and the floor, in logs, because
    what it fell to is only estimated.
    """
    if not series.floor:
        return series, None
    plan, pane, finding = rule.plan(series.floor), at_ms // MINUTE_MS, series.finding
    if finding is not None:
        back = recovery(plan, finding.null)
        recovering, over = update(back, finding.recovering, pane, mirrored(counts))
        if over is not None:
            return msgspec.structs.replace(begun_anew(series), finding=None), over.log_evidence
        open_ = msgspec.structs.replace(finding, during=added(finding.during, counts), recovering=recovering)
        return msgspec.structs.replace(series, finding=open_), None
    evidence, alarm = update(plan, series.evidence, pane, counts)
    # A run that begins in this pane has no evidence of an earlier one.
    sums = tuple(
        counts if run <= 0 else added(before, counts)
        for run, before in zip(series.evidence.runs, series.sums, strict=True)
    )
    if alarm is None:
        return msgspec.structs.replace(series, evidence=evidence, sums=sums), None
    during = sums[DROPS.index(alarm.left)]
    found = Finding(
        since_ms=alarm.since * MINUTE_MS,
        opened_ms=at_ms,
        left=alarm.left,
        log_evidence=alarm.log_evidence,
        during=during,
        null=sqrt(min(_ratio(during), series.floor) * series.floor),
        recovering=_START,
    )
    return msgspec.structs.replace(series, evidence=evidence, sums=sums, finding=found), None


def learn(series: Series, at_ms: int, counts: Counts) -> Series:
    """Add the counts of a minute in which all was well to the history of the last 28 days."""
    day = at_ms // DAY_MS
    number, today = series.today
    if day == number:
        return msgspec.structs.replace(series, today=(day, added(today, counts)))
    past = tuple(each for each in (*series.past, series.today) if day - HISTORY_DAYS < each[0] and any(each[1]))
    return msgspec.structs.replace(series, past=past, today=(day, counts))


def refreshed(series: Series, rule: Rule, at_ms: int, began_ms: int) -> Series:
    """Return the series with the floor of its history, where that is due and nothing is found: it is frozen then.

    The floor is `floors.floor`: (1 - margin) of the lower 99 % bound of the ratio. It is renewed when twice as much is
    known, and at least weekly; too little is looked at again in an hour.
    """
    if at_ms < series.refresh_ms or series.finding is not None:
        return series
    history = series.today[1]
    for _, counts in series.past:
        history = added(history, counts)
    _, successes, _, base_successes = history
    if min(successes, base_successes) * rule.eta < LEAST or min(history) <= 0:
        return msgspec.structs.replace(series, refresh_ms=at_ms + HOUR_MS)
    normal, variance = _ratio(history), _variance(history, rule.eta)
    return msgspec.structs.replace(
        series,
        floor=(1 - rule.margin) * normal * exp(-Z_99 * sqrt(variance)),
        normal=normal,
        variance=variance,
        refresh_ms=at_ms + min(WEEK_MS, max(HOUR_MS, at_ms - began_ms)),
    )


def lost(series: Series, eta: float, during: Counts) -> Estimate | None:
    """Return which share of the normal ratio is lost in these counts, with its 95 % interval; None of nobody.

    1 - exp(d -+ z sqrt(V))      d = ln ratio - ln normal      V = (1/c_T + 1/c_C)/eta + V_normal

    Of given minutes. Those since a fall seems to have begun are chosen by what they look like, so when it is found it
    covers 87 % and mostly looks larger than it is; an hour later it covers 94 % (docs/coverage.md).
    """
    if not (series.normal and during.trials and during.base_trials and during.base_successes):
        return None
    left = _ratio(during) / series.normal
    half = Z_95 * sqrt(_variance(during, eta) + series.variance)
    n = round(min(during.successes, during.base_successes) * eta)
    return Estimate(1 - left, n, 1 - left * exp(half), 1 - left * exp(-half))


def added(one: Counts, other: Counts) -> Counts:
    """Return the sum."""
    return Counts(one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _ratio(counts: Counts) -> float:
    # Half a success for none: a ratio of 0 has no logarithm.
    trials, successes, base_trials, base_successes = counts
    return max(successes, 0.5) / trials * base_trials / max(base_successes, 0.5)


def _variance(counts: Counts, eta: float) -> float:
    return (1 / max(counts.successes, 0.5) + 1 / max(counts.base_successes, 0.5)) / eta
