"""What a question is answered with: a value, its interval, and a status that says how far to trust it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from stream_app.decisions.guard import Guard


class Status(StrEnum):
    """How far an answer can be trusted; only OK says that it can."""

    OK = "OK"
    STALE = "STALE"
    """The window ended too long ago."""
    DEGRADED = "DEGRADED"
    """The watch says that personalization is broken there, or the window is known to lack something."""
    LOW_DATA = "LOW_DATA"
    """Too few observations: the value leans on the prior."""
    UNKNOWN = "UNKNOWN"
    """Nothing is known: the value is the prior alone, or None where there is none."""


class Prior(NamedTuple):
    """What to believe without data, and how many observations that belief is worth."""

    mean: float
    weight: float = 100.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of a KPI of an entity, its 95 % interval, and the number of observations behind it.

    `maturity` is the share of the window's impressions that are as old as the KPI needs to settle (1 where it waits for
    nothing): until it is near 1, clicks are still to come and a rate is too low in all arms alike. `reason` says in
    words what the status is not OK for.
    """

    value: float | None
    lower: float | None
    upper: float | None
    n: int
    window_end_ms: int | None
    maturity: float | None
    status: Status
    reason: str = ""

    @property
    def is_ok(self) -> bool:
        """Say whether the value may be used as it stands."""
        return self.status is Status.OK


class Told(NamedTuple):
    """What a snapshot says of an entity and a KPI: observations, their sum, the estimate and its bounds."""

    n: int
    x: float
    value: float
    lower: float
    upper: float


class Found(NamedTuple):
    """What is known of a window: when it ended, what it lacks, and what it says of the surface as a whole."""

    end_ms: int | None = None
    because: tuple[str, ...] = ()
    maturities: Mapping[str, float] = {}
    whole: Told | None = None


class Limits(NamedTuple):
    """When an answer is too old, and when it has too little behind it."""

    max_age_ms: float = 120_000
    enough: int = 100


LEANING: Final = 100.0
"""Observations that the surface as a whole is worth where an entity has too few and no prior was given."""


class Standing(NamedTuple):
    """What holds for all answers from one window with enough data: their status, and what it is not OK for."""

    status: Status
    reason: str = ""


def known(kpi: str, told: Told | None, found: Found, standing: Standing, prior: Prior | None, enough: int) -> Answer:
    """Return the answer about an entity that a snapshot names; `told` is None where it had not enough data.

    With n observations of mean p and a prior of mean m and weight w, where n is below `enough`:

        value = (n p + w m) / (n + w)

    the mean of the posterior under a conjugate prior. Without a prior it is the surface as a whole, worth `LEANING`.
    """
    maturity = found.maturities.get(kpi)
    if told is not None and told.n >= enough:
        return Answer(
            told.value, told.lower, told.upper, told.n, found.end_ms, maturity, standing.status, standing.reason
        )
    n = told.n if told else 0
    reasons = [f"{n} observations, {enough} are enough", *([standing.reason] if standing.reason else [])]
    low, high = (told.lower, told.upper) if told else (None, None)
    leaned = _leaned(told, _prior(prior, found))
    return Answer(leaned, low, high, n, found.end_ms, maturity, Status.LOW_DATA, "; ".join(reasons))


def unknown(reason: str, found: Found, prior: Prior | None) -> Answer:
    """Return the answer about what nothing is known of: the prior, or the surface as a whole."""
    prior = _prior(prior, found)
    return Answer(prior and prior.mean, None, None, 0, None, None, Status.UNKNOWN, reason)


def standing(found: Found, guard: Guard, max_age_ms: float, now_ms: float) -> Standing:
    """Return the worst that can be said of a window, and all of it in words."""
    words = []
    status = Status.OK
    if found.end_ms is not None and (age_ms := now_ms - found.end_ms) > max_age_ms:
        status = Status.STALE
        words.append(f"the window ended {age_ms / 1000:.0f} s ago")
    if found.because:
        status = Status.DEGRADED
        words.append(f"incomplete: {', '.join(found.because)}")
    if guard.is_degraded:
        status = Status.DEGRADED
        words.append(f"guard: {guard.reason}")
    return Standing(status, "; ".join(words))


def _prior(given: Prior | None, found: Found) -> Prior | None:
    return Prior(found.whole.value, LEANING) if given is None and found.whole is not None else given


def _leaned(told: Told | None, prior: Prior | None) -> float | None:
    # Three cases: nothing to lean on, nothing but that, and both.
    if prior is None:
        return told and told.value
    if told is None:
        return prior.mean
    return (told.n * told.value + prior.weight * prior.mean) / (told.n + prior.weight)
