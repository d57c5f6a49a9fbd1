"""From the arguments of a call to one checked record: defaults, what a decision token already says, consent.

Both faces of the SDK compose with this; neither queues anything before it has returned.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypedDict, TypeVar, cast

from producers.lawful import lawful
from producers.pseudonyms import Pseudonyms
from producers.tokens import DecisionToken
from producers.validity import InvalidEventError, checked, require_known
from stream_app.core.events import Arm, Click, Consent, Decision, DecisionItem, Event, Impression
from stream_app.errors import LynceusError

Who: TypeAlias = str | DecisionToken
"""Whose event it is: a user, or the decision that it follows from, whose user it is then."""
ConsentOf: TypeAlias = Callable[[str], Consent | None]
"""What a user, named as the application names them, has agreed to; None when that is not known."""

E = TypeVar("E", bound=Event)


class Common(TypedDict, total=False):
    """What every event may carry; a decision token gives all of it but `id` and `ts`."""

    id: str
    ts: int
    session: str | None
    surface: str | None
    arm: Arm | None
    policy: str | None
    segment: str | None
    channel: str | None
    device: str | None
    consent: Consent | None
    bot: bool
    test: bool


_COMMON: Final = Common.__optional_keys__
_INHERITED: Final = ("session", "surface", "arm", "policy", "segment", "channel", "device", "consent", "bot", "test")


class Record(NamedTuple):
    """One Kafka record: the user as key, canonical JSON as value."""

    key: bytes
    value: bytes


class Composed(NamedTuple):
    """A checked event and its record; no record when consent withholds it."""

    event: Event
    record: Record | None


class Composer:
    """Makes events. It has no state of its own: clock, ids and consent are asked anew for every event."""

    def __init__(
        self,
        *,
        clock: Callable[[], int],
        pseudonyms: Pseudonyms | None = None,
        consent: ConsentOf | None = None,
        new_id: Callable[[int], str] | None = None,
    ) -> None:
        """`clock` gives ms since the epoch; `new_id` makes a unique id from that."""
        self._clock = clock
        self._pseudonyms = pseudonyms
        self._consent_of = consent
        self._new_id = new_id or unique

    def compose(self, kind: type[Event], who: Who, common: Mapping[str, object], own: Mapping[str, object]) -> Composed:
        """Return the event of a type; `own` are the fields of that type, None meaning "not said".

        Raises InvalidEventError.
        """
        require_known(common, _COMMON, f"a {kind.__struct_config__.tag} event")
        fields: dict[str, Any] = {name: value for name, value in own.items() if value is not None}
        decision: object = fields.get("decision")
        if isinstance(who, DecisionToken):
            decision = who.decision
            if "decision" in kind.__struct_fields__ and kind is not Decision:
                fields.setdefault("decision", decision)
            if kind is Impression or kind is Click:
                self._add_place(kind, who, fields)
        # What a type itself says goes last: an assignment has an arm of its own.
        fields = self._shared(who, common) | fields
        try:
            event = kind(**fields)
        except TypeError as error:
            raise InvalidEventError(f"{kind.__struct_config__.tag}: {error}", "Say it: None is nothing") from None
        checked(event)  # whole, before consent takes a part away: a bad argument is told in any case
        sent = lawful(event, decision if isinstance(decision, str) else None, self._unique_id(event.ts))
        if sent is None:
            return Composed(event, None)
        return Composed(sent, Record(sent.user.encode(), checked(sent)))

    def decide(
        self,
        user: str,
        items: Sequence[str | DecisionItem],
        propensities: Sequence[float] | None,
        predicted: Sequence[float] | None,
        decision: str | None,
        fields: Mapping[str, object],
    ) -> tuple[DecisionToken, Composed]:
        """Return the token of a decision, and its event. Raises InvalidEventError."""
        common = {name: value for name, value in fields.items() if name in _COMMON}
        own = {name: value for name, value in fields.items() if name not in _COMMON}
        require_known(own, DECISION_FIELDS, "a decision")
        common.setdefault("ts", self._clock())
        own["decision"] = decision or self._unique_id(common["ts"])
        own["items"] = _places(items, propensities, predicted)
        composed = self.compose(Decision, user, common, own)
        event = composed.event
        assert isinstance(event, Decision)
        return DecisionToken.of(event), composed

    def consent_of(self, user: str) -> Consent | None:
        """Return what the application says that a user agreed to."""
        return self._consent_of(user) if self._consent_of else None

    def pseudonym(self, user: str) -> str:
        """Return the key of a user in the stream. Raises InvalidEventError when nobody is named."""
        if not isinstance(user, str) or not user:
            raise InvalidEventError(f"user = {user!r} is nobody", "Name a user, or quote a decision token")
        return self._pseudonyms.of(user) if self._pseudonyms else user

    def _shared(self, who: Who, common: Mapping[str, object]) -> dict[str, Any]:
        """Return the fields that all types have. What the call says goes before what the token says."""
        if isinstance(who, DecisionToken):
            shared: dict[str, Any] = {name: getattr(who, name) for name in _INHERITED}
            shared["user"] = who.user
        else:
            shared = {"user": self.pseudonym(who)}
            if "consent" not in common:
                shared["consent"] = self.consent_of(who)
        shared |= common
        shared = {name: value for name, value in shared.items() if value is not None}
        shared.setdefault("ts", self._clock())
        if "id" not in shared:
            shared["id"] = self._unique_id(shared["ts"])
        return shared

    def _unique_id(self, at_ms: object) -> str:
        """Return a new id; a time that is none will be refused by the check, with its name."""
        return self._new_id(at_ms if type(at_ms) is int else 0)

    def _add_place(self, kind: type[Event], token: DecisionToken, fields: dict[str, object]) -> None:
        """Add where the item stood, and to impressions what the policy said of it."""
        try:
            place = token.place(cast("str", fields["item"]), cast("int | None", fields.get("position")))
        except LynceusError as error:
            raise InvalidEventError(f"{kind.__struct_config__.tag}.{error.message}", error.remedy) from None
        fields["position"] = place.position
        if kind is Impression:
            for name in ("propensity", "predicted"):
                if (value := getattr(place, name)) is not None:
                    fields.setdefault(name, value)


DECISION_FIELDS: Final = frozenset(Decision.__struct_fields__) - _COMMON - {"user", "v", "items", "decision"}


def unique(at_ms: int) -> str:
    """Return an id of 32 hexadecimal digits: 48 bits of time, 80 random bits. Ids of a millisecond sort together."""
    return f"{max(at_ms, 0) & (2**48 - 1):012x}{secrets.token_hex(10)}"


def _places(
    items: Sequence[str | DecisionItem], propensities: Sequence[float] | None, predicted: Sequence[float] | None
) -> tuple[DecisionItem, ...]:
    """Return the decided list; a bare item stands where it stands in the sequence, the first at 1."""
    for name, values in (("propensities", propensities), ("predicted", predicted)):
        if values is not None and len(values) != len(items):
            raise InvalidEventError(
                f"decision.{name} has {len(values)} values for {len(items)} items", "Give one for each item, in order"
            )
        if values is not None and any(isinstance(item, DecisionItem) for item in items):
            raise InvalidEventError(
                f"decision.{name} is given beside DecisionItem", f"Name items, or set {name} on each DecisionItem"
            )
    return tuple(
        item
        if isinstance(item, DecisionItem)
        else DecisionItem(
            item=item,
            position=number + 1,
            propensity=propensities[number] if propensities is not None else None,
            predicted=predicted[number] if predicted is not None else None,
        )
        for number, item in enumerate(items)
    )
