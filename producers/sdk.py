"""The SDK: `Tracker` records interactions in Kafka, and accounts for every one of them.

    with Tracker(bootstrap="127.0.0.1:9092", when_away="spill", spill_to=Path("/var/spool/shop")) as tracker:
        decision = tracker.decide(user="u-1", surface="home.hero", arm="personalized", items=["A7", "B2"])
        tracker.impression(decision, "A7")
        tracker.click(decision, "A7")

docs/sdk.md is the tour. `AsyncTracker` in `producers.aio` is the same for asyncio.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack

from producers.composition import Common, Composed, Who
from producers.interactions import DecisionFields, Interactions
from producers.options import Core, Options
from producers.report import DeliveryReport
from producers.tokens import DecisionToken
from stream_app.core.events import Arm, Assignment, DecisionItem, Event


class Tracker(Interactions[str]):
    """Records events; safe for several threads, one for each process. Its options are those of `Options`.

    Each method returns the id of its event once there is room for it, not when it is delivered. It raises
    InvalidEventError for bad arguments, and BufferFullError when there was no room for `block_s` seconds.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        """Start. With when_away="raise" Kafka must be there; with "spill" it may come later. Raises LynceusError."""
        self._core = Core(options)
        self._core.start()

    def decide(
        self,
        *,
        user: str,
        items: Sequence[str | DecisionItem],
        propensities: Sequence[float] | None = None,
        predicted: Sequence[float] | None = None,
        decision: str | None = None,
        **fields: Unpack[DecisionFields],
    ) -> DecisionToken:
        """Record a decision and return its token.

        `items` are shown from position 1 on; `propensities` are the probabilities with which the policy chose each
        of them, `predicted` what it expects of them, in the same order. `decision` is its id, a new one by default.
        """
        token, composed = self._core.composer.decide(user, items, propensities, predicted, decision, fields)
        self._put(composed)
        return token

    def assign(
        self, user: str, experiment: str, weights: Mapping[Arm, float], *, salt: str = "", **common: Unpack[Common]
    ) -> Arm | None:
        """Return the arm of a user, the same every time, and record it the first time that this tracker is asked.

        None is for those who did not agree to personalization: show them the default and name no arm, for they are
        not part of the experiment. `salt` is recorded as the assignment's salt_version.
        """
        enrolled = self._core.assigned(user, experiment, weights, salt, common.get("consent"))
        if enrolled is None:
            return None
        if not self._core.is_recorded(enrolled.key):
            self._record(Assignment, user, common, arm=enrolled.arm, **enrolled.fields)
            self._core.remember(enrolled.key)
        return enrolled.arm

    def dumps(self, token: DecisionToken) -> str:
        """Return a token as URL-safe text, signed with the first of `token_keys`. Raises TokenError."""
        return self._core.dumps(token)

    def loads(self, text: str) -> DecisionToken:
        """Return the token that `dumps` wrote. Raises TokenError when it was changed or is none."""
        return self._core.loads(text)

    def report(self) -> DeliveryReport:
        """Return how many events are in which state."""
        return self._core.courier.buffer.report()

    def flush(self, timeout_s: float = 30.0) -> DeliveryReport:
        """Wait until everything is delivered, the spill included. Raises LynceusError after `timeout_s` seconds."""
        return self._core.courier.buffer.wait_empty(timeout_s)

    def close(self, timeout_s: float = 10.0) -> DeliveryReport:
        """Deliver for at most `timeout_s` seconds, then end; again is allowed.

        What is left then is kept in the spill; without one it is given up, and is in `undelivered` of the report.
        """
        return self._core.close(timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _record(self, kind: type[Event], who: Who, common: Common, /, **own: object) -> str:
        composed = self._core.composer.compose(kind, who, common, own)
        self._put(composed)
        return composed.event.id

    def _put(self, composed: Composed) -> None:
        buffer = self._core.courier.buffer
        if composed.record is None:
            buffer.withhold()
        else:
            buffer.put(composed.record)
