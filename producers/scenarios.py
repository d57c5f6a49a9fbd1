"""Scenarios: what may happen to the world, declared as data, and when it does.

`Conditions` is everything that can change, one number each; a `Scenario` names the numbers it changes and to what. A
`Phase` puts it on the clock. Nothing else in the world knows a scenario by name.

    NAME[=SIZE][@START[-END]][~RAMP]      drop@60s      drop=0.5@1m-5m~30s      spike@2m-150s

                ramp
    1 ........./------------.
    0 --------'              '--------    strength of a phase; each number goes from steady to the
              start          end          scenario's in proportion
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from stream_app.errors import LynceusError


class Conditions(NamedTuple):
    """The state of the world around the people: numbers that scenarios move. The defaults are the steady world."""

    clicks: float = 1.0
    personalized_clicks: float = 1.0
    traffic: float = 1.0
    accuracy: float = 0.7
    context: float = 1.0
    newcomers: float = 0.0
    new_surface: float = 0.0
    absent: float = 0.0
    lost: float = 0.0
    bots: float = 0.0
    late: float = 0.0
    duplicates: float = 0.0
    malformed: float = 0.0
    skew_s: float = 0.0

    @property
    def is_orderly(self) -> bool:
        """Whether every record arrives once, whole and in time."""
        return not (self.lost or self.late or self.duplicates or self.malformed)


STEADY: Final = Conditions()
MEANING: Final[Mapping[str, str]] = {
    "clicks": "clicks of every arm relative to the tables",
    "personalized_clicks": "clicks of the personalized arm relative to the tables",
    "traffic": "arrivals relative to the rate asked for and the hour",
    "accuracy": "share of places where a policy that aims shows what it aims at",
    "context": "share of personalized decisions that know the context signal",
    "newcomers": "share of sessions by people never seen before, whose taste no policy knows",
    "new_surface": "share of sessions that reach the surface detail.similar",
    "absent": "share of the personalized arm's sessions that never begin, as if the page had failed",
    "lost": "share of the personalized arm's records that never arrive",
    "bots": "sessions of declared bots for each session of a person",
    "late": "share of records that arrive 400 to 600 s late",
    "duplicates": "share of records that arrive twice",
    "malformed": "records of garbage for each record",
    "skew_s": "seconds by which the clocks of one user in five are ahead",
}


class Scenario(NamedTuple):
    """One thing that may happen: `field` of the conditions becomes `size`, which may be from `least` to `most`."""

    name: str
    help: str
    field: str
    size: float
    least: float
    most: float


SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario("steady", "nothing happens", "traffic", 1.0, 1.0, 1.0),
        Scenario("drop", "personalization breaks: its clicks fall", "personalized_clicks", 0.4, 0.0, 1.0),
        Scenario("site-wide", "the whole site gets worse: clicks of every arm fall", "clicks", 0.65, 0.0, 1.0),
        Scenario("traffic-drop", "fewer people come", "traffic", 0.3, 0.0, 1.0),
        Scenario("spike", "more people come", "traffic", 10.0, 1.0, 1_000.0),
        Scenario("instrumentation", "records of the personalized arm are lost", "lost", 0.4, 0.0, 1.0),
        Scenario(
            "srm", "sessions of the personalized arm never begin: a sample ratio mismatch", "absent", 0.2, 0.0, 1.0
        ),
        Scenario("context-dead", "no context signal reaches the recommender", "context", 0.0, 0.0, 1.0),
        Scenario("model-stale", "the models aim worse", "accuracy", 0.35, 0.125, 0.9),
        Scenario("late", "records arrive after their pane was sealed", "late", 0.05, 0.0, 0.5),
        Scenario("duplicates", "records arrive twice", "duplicates", 0.10, 0.0, 1.0),
        Scenario("malformed", "garbage arrives between the records", "malformed", 0.05, 0.0, 1.0),
        # Beyond +50 s a live worker would call the events future, beyond -240 s late.
        Scenario("skew", "the clocks of one user in five are wrong", "skew_s", -120.0, -240.0, 50.0),
        Scenario("bots", "declared bots flood the site and click everything", "bots", 3.0, 0.0, 100.0),
        Scenario("new-surface", "a surface opens that was not there", "new_surface", 0.5, 0.0, 1.0),
        Scenario("cold-start", "most sessions are by people nobody knows", "newcomers", 0.8, 0.0, 1.0),
    )
}


class Phase(NamedTuple):
    """A scenario on the clock, in milliseconds of event time. Without `to_ms` it stays."""

    scenario: Scenario
    from_ms: int
    to_ms: int | None
    ramp_ms: int
    size: float

    def strength(self, at_ms: int) -> float:
        """Return how far the scenario holds at `at_ms`: 0 not at all, 1 wholly."""
        if at_ms < self.from_ms or (self.to_ms is not None and at_ms >= self.to_ms):
            return 0.0
        return 1.0 if at_ms >= self.from_ms + self.ramp_ms else (at_ms - self.from_ms) / self.ramp_ms


Schedule = tuple[Phase, ...]


def phase(
    name: str, from_ms: int = 0, *, size: float | None = None, to_ms: int | None = None, ramp_ms: int = 0
) -> Phase:
    """Return the phase of a scenario of this name. Raises LynceusError for a name or size that is none."""
    scenario = SCENARIOS.get(name)
    if scenario is None:
        raise LynceusError(f"scenario {name!r}", f"One of {', '.join(SCENARIOS)}")
    size = scenario.size if size is None else size
    if not scenario.least <= size <= scenario.most:
        raise LynceusError(
            f"scenario {name}={size:g}",
            f"{scenario.field} ({MEANING[scenario.field]}) is {scenario.least:g} to {scenario.most:g}",
        )
    if to_ms is not None and to_ms <= from_ms:
        raise LynceusError(f"scenario {name} ends before it begins", "Write NAME@START-END, START first")
    return Phase(scenario, from_ms, to_ms, ramp_ms, size)


def conditions(schedule: Iterable[Phase], at_ms: int) -> Conditions:
    """Return what holds at `at_ms`; where two phases move the same number, the later one in the schedule wins."""
    changed = {
        each.scenario.field: getattr(STEADY, each.scenario.field) * (1 - strength) + each.size * strength
        for each in schedule
        if each.scenario.name != "steady" and (strength := each.strength(at_ms))
    }
    return STEADY._replace(**changed) if changed else STEADY


_TIME = r"[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h)"
_PHASE: Final = re.compile(
    rf"(?P<name>[a-z-]+)(?:=(?P<size>[-+]?[0-9]*\.?[0-9]+))?"
    rf"(?:@(?P<start>{_TIME})(?:-(?P<end>{_TIME}))?)?(?:~(?P<ramp>{_TIME}))?"
)
_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def parse(text: str, zero_ms: int) -> Phase:
    """Return what `text` says; its times count from `zero_ms`. Raises LynceusError with the remedy."""
    found = _PHASE.fullmatch(text.strip())
    if found is None:
        raise LynceusError(f"scenario {text!r}", "Write NAME[=SIZE][@START[-END]][~RAMP], for example drop=0.5@60s~20s")
    return phase(
        found["name"],
        zero_ms + _milliseconds(found["start"]),
        size=float(found["size"]) if found["size"] else None,
        to_ms=zero_ms + _milliseconds(found["end"]) if found["end"] else None,
        ramp_ms=_milliseconds(found["ramp"]),
    )


def _milliseconds(text: str | None) -> int:
    if text is None:
        return 0
    unit = text.lstrip("0123456789.")
    return round(float(text.removesuffix(unit)) * _UNITS_MS[unit])
