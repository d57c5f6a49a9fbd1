"""What both faces of the SDK are told, and what they are made of."""

import atexit
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypedDict

from producers.assignment import assign
from producers.buffer import DeliveryRules
from producers.composition import Composer, ConsentOf
from producers.courier import Courier
from producers.pseudonyms import Pseudonyms
from producers.report import DeliveryReport
from producers.tokens import MIN_KEY_BYTES, DecisionToken, dumps, loads
from producers.validity import require_known
from stream_app import settings
from stream_app.core.events import Arm, Consent
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings

_MAX_RECORDED: Final = 10_000
_AT_EXIT_S: Final = 10.0
_log = logging.getLogger(__name__)


class Options(TypedDict, total=False):
    """The options of a tracker; all have defaults. Seconds, events, bytes.

    bootstrap           the brokers; by default LYNCEUS_KAFKA__BOOTSTRAP and the other LYNCEUS_KAFKA__* variables
    kafka               the whole connection instead: TLS, SASL, the topic
    pseudonyms          makes every `user` that is given a pseudonym
    consent             says what a user, named as the application names them, has agreed to
    token_keys          the first signs decision tokens, any of them is accepted; at least 16 bytes each
    when_away           "raise": a call that finds no room for `block_s` raises; "spill": events go to the disk first
    spill_to            the folder of the spill
    spill_after_s       how long Kafka may take nothing before events go to the disk
    max_spill_bytes     the bound of the spill
    block_s             how long a call may wait for room in the buffer
    max_events          the bound of the buffer
    max_bytes           the bound of the buffer
    delivery_timeout_s  when a batch without an answer is sent by a new connection
    clock               gives ms since the epoch
    """

    bootstrap: str
    kafka: KafkaSettings
    pseudonyms: Pseudonyms
    consent: ConsentOf
    token_keys: Sequence[bytes]
    when_away: Literal["raise", "spill"]
    spill_to: Path
    spill_after_s: float
    max_spill_bytes: int
    block_s: float
    max_events: int
    max_bytes: int
    delivery_timeout_s: float
    clock: Callable[[], int]


class Enrolled(NamedTuple):
    """The arm of a user, the fields of its assignment, and the key under which it is remembered as recorded."""

    arm: Arm
    fields: dict[str, object]
    key: Hashable


class Core:
    """What Tracker and AsyncTracker share. Mutable state: the assignments that were recorded lately."""

    def __init__(self, options: Options) -> None:
        """Start nothing yet. Raises LynceusError."""
        require_known(options, Options.__optional_keys__, "a tracker")
        kafka = options.get("kafka") or settings.load().kafka
        if "bootstrap" in options:
            kafka = KafkaSettings.model_validate({**kafka.model_dump(), "bootstrap": options["bootstrap"]})
        self._token_keys = tuple(options.get("token_keys", ()))
        for key in self._token_keys:
            if len(key) < MIN_KEY_BYTES:
                raise LynceusError(f"a token key has {len(key)} bytes", f"Use {MIN_KEY_BYTES} random bytes or more")
        rules: dict[str, Any] = {name: value for name, value in options.items() if name in DeliveryRules._fields}
        self.courier = Courier(kafka, DeliveryRules()._replace(**rules))
        self.composer = Composer(
            clock=options.get("clock") or _now_ms,
            pseudonyms=options.get("pseudonyms"),
            consent=options.get("consent"),
        )
        self._lock = threading.Lock()
        self._recorded: OrderedDict[Hashable, None] = OrderedDict()

    def start(self) -> None:
        """Begin to deliver; the end of the interpreter closes what nobody closed. Raises LynceusError."""
        self.courier.start()
        atexit.register(self._close_at_exit)

    def close(self, timeout_s: float) -> DeliveryReport:
        """Deliver for at most `timeout_s` seconds, then end; return the last report."""
        atexit.unregister(self._close_at_exit)
        return self.courier.close(timeout_s)

    def assigned(
        self, user: str, experiment: str, weights: Mapping[Arm, float], salt: str, told: Consent | None
    ) -> Enrolled | None:
        """Return the arm of a user and what is to be recorded of it; None without consent to personalization.

        `told` is the consent that came with the call. Raises LynceusError for weights that are no shares.
        """
        consent = told or self.composer.consent_of(user)
        if consent is not None and not consent.personalization:
            return None
        arm, prob = assign(self.composer.pseudonym(user), experiment, weights, salt=salt)
        return Enrolled(
            arm,
            {"experiment": experiment, "prob": prob, "salt_version": salt or None},
            (user, experiment, salt, arm),
        )

    def is_recorded(self, assignment: Hashable) -> bool:
        """Whether an assignment is among the last 10,000 that were recorded."""
        with self._lock:
            return assignment in self._recorded

    def remember(self, assignment: Hashable) -> None:
        """Keep that an assignment was recorded."""
        with self._lock:
            self._recorded[assignment] = None
            if len(self._recorded) > _MAX_RECORDED:
                self._recorded.popitem(last=False)

    def dumps(self, token: DecisionToken) -> str:
        """Return a token as text, signed if there is a key."""
        return dumps(token, self._token_keys[0] if self._token_keys else None)

    def loads(self, text: str) -> DecisionToken:
        """Return the token of a text."""
        return loads(text, self._token_keys)

    def _close_at_exit(self) -> None:
        report = self.courier.close(_AT_EXIT_S)
        if report.undelivered:
            _log.warning("%d events were not delivered: %s", len(report.undelivered), report.first_failure)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
