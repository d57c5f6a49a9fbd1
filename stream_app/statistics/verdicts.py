"""What is said of a surface: a verdict with its cause, since when, how much, how sure, and where to look."""

from typing import Final, Literal

import msgspec

from stream_app.statistics.estimates import Estimate

Cause = Literal["ok", "drop", "site_wide", "traffic", "instrumentation", "mismatch", "context", "not_enough"]
"""Why, or that all is well, or that nothing can be said yet."""
Kpi = Literal["ctr", "conversion", "relevance", "surface"]
"""What the verdict is about; "surface" where it is not about one of the three rates."""
KPIS: Final[tuple[Kpi, ...]] = ("ctr", "conversion", "relevance")
PRECEDENCE: Final[tuple[Cause, ...]] = (
    "instrumentation",
    "mismatch",
    "context",
    "drop",
    "site_wide",
    "traffic",
    "not_enough",
    "ok",
)
"""Which verdict speaks for the surface when several are open: first those that say that the data cannot be trusted,
then what explains a drop, then the drop, then what is nobody's fault."""


class Verdict(msgspec.Struct, frozen=True):
    """One thing said of a surface at `at_ms`: that it holds from there on (`is_open`), or no longer does.

    `since_ms` is when it most likely began (the change point), `opened_ms` when it was first said. `size` is the share
    of what is normal that is lost (0.4 = 40 % less) with its 95 % interval: of the ratio of the arms' rates, of
    sessions or impressions of one arm against the other, of the odds of a contextual decision, of the clicks or people
    expected; None where nothing is measured. `log_evidence` is what was reached when it was opened, or by the recovery
    when closed, and `log_threshold` what had to be. `contributors` are the strata that add most to the evidence of a
    drop of clicks, the largest first: `device=mobile`, `position=1`. Those of one dimension add up to about all of it,
    so that of several dimensions the same clicks are told. `words` is one sentence for people.
    """

    surface: str
    kpi: Kpi
    cause: Cause
    is_open: bool
    since_ms: int
    opened_ms: int
    at_ms: int
    size: Estimate | None
    log_evidence: float
    log_threshold: float
    contributors: tuple[tuple[str, float], ...]
    words: str

    @property
    def id(self) -> str:
        """The same for the same transition, whoever finds it and however often: for what is delivered at least once."""
        state = "open" if self.is_open else "closed"
        return f"{self.surface}:{self.kpi}:{self.opened_ms}:{self.cause}:{state}:{self.at_ms}"


def where(verdict: Verdict, at_most: int = 3) -> str:
    """Return in words which strata add most to the evidence, and how much if that is known; "" for none."""
    found = verdict.contributors[:at_most]
    return ", ".join(f"{name} {evidence:.1f}" if evidence else name for name, evidence in found)


class Meter(msgspec.Struct, frozen=True):
    """How close a rate of a surface is to an alarm, and whether it is one."""

    kpi: Kpi
    log_evidence: float
    log_threshold: float
    is_active: bool


def leading(verdicts: tuple[Verdict, ...]) -> Verdict | None:
    """Return the open verdict that speaks for the surface, by `PRECEDENCE`, the oldest first; None without any."""
    open_ = [verdict for verdict in verdicts if verdict.is_open]
    return min(open_, key=lambda verdict: (PRECEDENCE.index(verdict.cause), verdict.opened_ms), default=None)
