"""The decision token: what was decided, for whom and where, in one value that later events quote.

It travels through a page and back as text: a JSON array of the fields, deflated where that is shorter, in URL-safe
base64, with the first 128 bits of an HMAC-SHA256 when there is a key. Signed is not secret: whoever sees the page can
read the pseudonym, the policy and the propensities in it, but cannot change them.
"""

import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Self

from stream_app.core import codec
from stream_app.core.events import EARLIEST_MS, Arm, Consent, Decision, DecisionItem
from stream_app.errors import LynceusError

MAX_TOKEN_CHARS: Final = 16_384
MIN_KEY_BYTES: Final = 16
_MAX_PACKED_BYTES: Final = 65_536  # what a deflated token may grow to: a bound for tokens that are not ours
_TAG_BYTES: Final = 16
_PLAIN, _DEFLATED = "1", "2"  # the first character: the version of the format


class TokenError(LynceusError):
    """A text that is no decision token of ours: damaged, tampered with, or under another key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionToken:
    """What later events of a decision have in common. `user` is the key in the stream, a pseudonym."""

    decision: str
    user: str
    items: tuple[DecisionItem, ...]
    surface: str | None = None
    arm: Arm | None = None
    policy: str | None = None
    session: str | None = None
    segment: str | None = None
    channel: str | None = None
    device: str | None = None
    consent: Consent | None = None
    bot: bool = False
    test: bool = False

    @classmethod
    def of(cls, event: Decision) -> Self:
        """Return the token of a decision."""
        return cls(**{field.name: getattr(event, field.name) for field in fields(cls)})

    def place(self, item: str, position: int | None = None) -> DecisionItem:
        """Return where an item stood; `position` chooses when it stood in several places.

        Raises LynceusError when the item was not decided.
        """
        for place in self.items:
            if place.item == item and position in (None, place.position):
                return place
        where = "" if position is None else f" at position {position}"
        known = ", ".join(f"{place.item} ({place.position})" for place in self.items[:5])
        raise LynceusError(
            f"item = {item!r} is not in decision {self.decision!r}{where}",
            f"It decided {known}{', ...' if len(self.items) > 5 else ''}",
        )


def dumps(token: DecisionToken, key: bytes | None = None) -> str:
    """Return a token as URL-safe text, signed when there is a key (at least 16 bytes).

    Raises TokenError for more items than fit into 16,384 characters.
    """
    packed = _pack(token)
    deflated = zlib.compress(packed, 9)
    form, body = (_DEFLATED, deflated) if len(deflated) < len(packed) else (_PLAIN, packed)
    text = form + _text(body)
    if key is not None:
        text = f"{text}.{_text(_tag(text, key))}"
    if len(text) > MAX_TOKEN_CHARS or len(packed) > _MAX_PACKED_BYTES:
        raise TokenError(
            f"the token of decision {token.decision!r} has {len(text)} characters",
            f"At most {MAX_TOKEN_CHARS}: keep it on the server and pass its decision id",
        )
    return text


def loads(text: str, keys: Sequence[bytes] = ()) -> DecisionToken:
    """Return the token that `dumps` wrote. With keys, any of them must have signed it; without, none may have.

    Raises TokenError for anything else.
    """
    if len(text) > MAX_TOKEN_CHARS:
        raise TokenError(f"a decision token of {len(text)} characters", f"At most {MAX_TOKEN_CHARS} are read")
    if not text.isascii():
        raise _damaged(text)
    body, dot, tag = text.partition(".")
    if keys and not dot:
        raise TokenError(f"the decision token {_start(text)} is not signed", "Only signed ones are taken: token_keys")
    if dot and not keys:
        raise TokenError(f"the decision token {_start(text)} is signed", "Give the key that signed it: token_keys")
    if keys and not any(hmac.compare_digest(_text(_tag(body, key)).encode(), tag.encode()) for key in keys):
        raise TokenError(
            f"the decision token {_start(text)} was changed, or signed with another key",
            "Pass it on as it was made, with the same token_keys on both sides",
        )
    try:
        packed = base64.b64decode(body[1:] + "=" * (-len(body[1:]) % 4), altchars=b"-_", validate=True)
        if body[:1] == _DEFLATED:
            inflate = zlib.decompressobj()
            packed = inflate.decompress(packed, _MAX_PACKED_BYTES)
            if not inflate.eof:
                raise _damaged(text)
        elif body[:1] != _PLAIN:
            raise _damaged(text)
        return _unpack(packed)
    except (ValueError, TypeError, OverflowError, zlib.error, RecursionError):
        raise _damaged(text) from None


def _pack(token: DecisionToken) -> bytes:
    consent = token.consent
    agreed = None if consent is None else consent.analytics + 2 * consent.personalization
    items = [_trimmed([item.item, item.position, item.propensity, item.predicted]) for item in token.items]
    own = [token.decision, token.user, items, token.surface, token.arm, token.policy, token.session]
    whole = _trimmed([*own, token.segment, token.channel, token.device, agreed, token.bot or None, token.test or None])
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def _unpack(packed: bytes) -> DecisionToken:
    """Return the token, by the codec's rules for a decision. Raises what `loads` catches."""
    whole: list[Any] = json.loads(packed)
    decision, user, items, surface, arm, policy, session, segment, channel, device, *flags = _padded(whole, 13)
    agreed, bot, test = flags
    event = Decision(
        id="token",
        ts=EARLIEST_MS,
        decision=decision,
        user=user,
        items=tuple(
            DecisionItem(item=item, position=position, propensity=propensity, predicted=predicted)
            for item, position, propensity, predicted in (_padded(one, 4) for one in items)
        ),
        surface=surface,
        arm=arm,
        policy=policy,
        session=session,
        segment=segment,
        channel=channel,
        device=device,
        consent=None if agreed is None else Consent(analytics=bool(agreed & 1), personalization=bool(agreed & 2)),
        bot=bool(bot),
        test=bool(test),
    )
    read = codec.decode(codec.encode(event))
    if not isinstance(read, Decision):
        raise TypeError(f"no decision: {read}")
    return DecisionToken.of(read)


def _trimmed(values: list[Any]) -> list[Any]:
    """Return the values without what is not said at their end."""
    while values and values[-1] is None:
        values.pop()
    return values


def _padded(values: list[Any], length: int) -> list[Any]:
    if not isinstance(values, list) or len(values) > length:
        raise TypeError("not a token of this version")
    return values + [None] * (length - len(values))


def _tag(text: str, key: bytes) -> bytes:
    return hmac.new(key, b"lynceus decision token\n" + text.encode(), hashlib.sha256).digest()[:_TAG_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _start(text: str) -> str:
    return repr(text if len(text) <= 12 else f"{text[:12]}...")


def _damaged(text: str) -> TokenError:
    return TokenError(f"{_start(text)} is no decision token", "Pass on the whole text that `dumps` returned")
