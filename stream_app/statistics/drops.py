"""Did personalization just break? Evidence that grows only when it falls *against the holdout*.

Whatever hits both arms alike (a sale, a bot flood, a night, a broken site) cancels; no seasonal model is needed, and
none helps. Per series and sealed pane it wants four counts: those at risk and those who succeeded, in the personalized
arm and in the holdout. At risk are impressions in sessions that have not clicked yet, success is a session's first
click; for raw clicks see `tempering`.

    L_j = [(pi_j/pi_0)^c_T ((1 - pi_j)/(1 - pi_0))^c_C]^eta_j      pi_j = n_T r_j rho_0 / (n_T r_j rho_0 + n_C)
    R_j <- (R_j + 1) L_j        M = mean_j R_j        alarm when M >= A = series * panes a year / budget, then R = 0

Given what was, E[L_j] <= 1 for every ratio rho >= rho_0 of the arms' rates and *any* common level of them; so
M + A * alarms - panes is a supermartingale, and the expected number of false alarms in any T panes is at most T/A,
summed over series without independence. Source: J. Shin, A. Ramdas & A. Rinaldo (2023), "E-detectors: a
nonparametric framework for sequential change detection", NEJSDS; the recursion is Shiryaev's and Roberts'.
"""

from collections.abc import Iterable, Mapping
from math import exp, expm1, inf, log, log1p
from typing import NamedTuple

import msgspec

DROPS = (0.9, 0.75, 0.5, 0.25)
"""What may be left of the floor: the alternatives, each with the same weight."""
PANES_A_YEAR = 525_600
"""Panes of one minute."""


class Counts(NamedTuple):
    """One pane of one series: those at risk and those who succeeded, of the treated arm and of its base."""

    trials: int
    successes: int
    base_trials: int
    base_successes: int


class Plan(msgspec.Struct, frozen=True):
    """What a series is watched for: the ratio that is still all right, and the evidence that is an alarm.

    The floor may be renewed between panes (it must not know the pane it judges); the drops may not.
    """

    floor: float
    log_threshold: float
    drops: tuple[float, ...] = DROPS
    etas: tuple[float, ...] = (1.0,) * len(DROPS)

    def __post_init__(self) -> None:
        if not self.floor > 0 or not all(0 < r < 1 for r in self.drops) or not self.drops:
            raise ValueError(f"floor {self.floor} must be above 0 and drops {self.drops} between 0 and 1")
        if len(self.etas) != len(self.drops) or not all(0 < eta <= 1 for eta in self.etas):
            raise ValueError(f"each drop needs one eta above 0 and at most 1, not {self.etas}")


class Evidence(msgspec.Struct, frozen=True):
    """How far a series was read and what it says; one number of each per alternative.

    `logs` are ln(1 + R_j), finite where ln R_j is not. `runs` are the log-likelihood ratios since `since`, the pane
    after which they were last at 0 (Page's recursion): the most likely begin of a drop, should there be one.
    """

    last_pane: int | None
    logs: tuple[float, ...]
    runs: tuple[float, ...]
    since: tuple[int, ...]

    @property
    def log_evidence(self) -> float:
        """The log of M, cut at 0: what a threshold is compared with."""
        return max(0.0, _log_mean([_log_expm1(x) for x in self.logs]))


class Alarm(NamedTuple):
    """The evidence reached the threshold in `pane`; the drop most likely began in `since`, down to `left`."""

    pane: int
    since: int
    left: float
    log_evidence: float
    log_threshold: float


def log_threshold(budget_a_year: float, series: int = 1, panes_a_year: int = PANES_A_YEAR) -> float:
    """Return ln A, with which at most `budget_a_year` false alarms a year are expected over all `series`.

    Raises ValueError unless all are above 0.
    """
    if not (budget_a_year > 0 and series > 0 and panes_a_year > 0):
        raise ValueError(f"budget {budget_a_year}, series {series} and panes {panes_a_year} must be above 0")
    return log(series) + log(panes_a_year) - log(budget_a_year)


def start(plan: Plan) -> Evidence:
    """Return the evidence of a series that nothing is known of."""
    nothing = (0.0,) * len(plan.drops)
    return Evidence(None, nothing, nothing, (0,) * len(plan.drops))


def update(plan: Plan, evidence: Evidence, pane: int, counts: Counts) -> tuple[Evidence, Alarm | None]:
    """Return the evidence after `pane` (panes are numbered, in order), and the alarm if it is one.

    A pane not after the last one changes nothing: replay is harmless. A pane in which an arm saw nobody is marked
    as read and says nothing; letting it count would make an outage of a year an alarm without a single event.

    Raises ValueError for negative counts, or evidence of another number of alternatives.
    """
    if min(counts) < 0:
        raise ValueError(f"negative counts {counts} in pane {pane}")
    ratios = [log_likelihood_ratio(counts, plan.floor, r, eta) for r, eta in zip(plan.drops, plan.etas, strict=True)]
    return _advance(plan, evidence, pane, ratios, is_empty=not (counts.trials and counts.base_trials))


def update_strata(
    plan: Plan, evidence: Evidence, pane: int, strata: Iterable[tuple[float, Counts]]
) -> tuple[Evidence, Alarm | None]:
    """Like `update`, with a floor for each stratum (of segments, positions, ...): immune to shifts of their mix.

    The likelihood ratio is the product of the strata's, each with its own floor; the bound is the same.
    """
    seen = [(floor, counts) for floor, counts in strata if counts.trials and counts.base_trials]
    ratios = [
        sum(log_likelihood_ratio(counts, floor, r, eta) for floor, counts in seen)
        for r, eta in zip(plan.drops, plan.etas, strict=True)
    ]
    return _advance(plan, evidence, pane, ratios, is_empty=not seen)


def log_likelihood_ratio(counts: Counts, floor: float, drop: float, eta: float = 1.0) -> float:
    """Return ln L of one pane: above 0 speaks for "only `drop` is left of `floor`", below 0 for the floor."""
    trials, successes, base_trials, base_successes = counts
    if not (trials and base_trials):
        return 0.0
    shrunk = log((floor * trials + base_trials) / (floor * drop * trials + base_trials))
    return eta * (successes * (log(drop) + shrunk) + base_successes * shrunk)


def contributions(strata: Mapping[str, tuple[float, Counts]], drop: float, eta: float = 1.0) -> dict[str, float]:
    """Return what each stratum (its floor, its counts since the drop began) adds to ln L, the largest first.

    A log-likelihood ratio is a sum over strata: the first few are where to look, those below 0 are fine.
    """
    parts = {name: log_likelihood_ratio(counts, floor, drop, eta) for name, (floor, counts) in strata.items()}
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def mirrored(counts: Counts) -> Counts:
    """Return the counts with the arms exchanged: a rise of the one is a drop of the other."""
    return Counts(counts.base_trials, counts.base_successes, counts.trials, counts.successes)


def recovery(plan: Plan, ratio_during: float) -> Plan:
    """Return the plan that, fed with `mirrored` counts, fires when the ratio is back above `ratio_during`.

    Its null is "the ratio is `ratio_during` or lower", which must lie below the floor (a ratio measured above it is
    taken for the floor). The alternatives are rises to 1/r_j of it, the threshold is the same: while the drop lasts
    it is called off falsely at most once in A panes.
    """
    return Plan(1 / min(ratio_during, plan.floor), plan.log_threshold, plan.drops, plan.etas)


def _advance(
    plan: Plan, evidence: Evidence, pane: int, ratios: list[float], is_empty: bool
) -> tuple[Evidence, Alarm | None]:
    if len(evidence.logs) != len(ratios):
        raise ValueError(f"evidence of {len(evidence.logs)} alternatives does not fit a plan of {len(ratios)}")
    if evidence.last_pane is not None and pane <= evidence.last_pane:
        return evidence, None
    if is_empty:
        return msgspec.structs.replace(evidence, last_pane=pane), None
    log_r = [before + ratio for before, ratio in zip(evidence.logs, ratios, strict=True)]
    since = tuple(old if run > 0 else pane for run, old in zip(evidence.runs, evidence.since, strict=True))
    runs = tuple(max(0.0, run + ratio) for run, ratio in zip(evidence.runs, ratios, strict=True))
    reached = _log_mean(log_r)
    if reached < plan.log_threshold:
        return Evidence(pane, tuple(map(_log1p_exp, log_r)), runs, since), None
    leading = max(range(len(runs)), key=runs.__getitem__)
    alarm = Alarm(pane, since[leading], plan.drops[leading], reached, plan.log_threshold)
    return msgspec.structs.replace(start(plan), last_pane=pane), alarm


def _log1p_exp(x: float) -> float:
    return x + log1p(exp(-x)) if x > 0 else log1p(exp(x))


def _log_expm1(x: float) -> float:
    return x + log(-expm1(-x)) if x > 0 else -inf


def _log_mean(logs: list[float]) -> float:
    most = max(logs)
    return most + log(sum(exp(x - most) for x in logs) / len(logs)) if most > -inf else -inf
