"""The decision token: what was decided, for whom and where, in one value that later events quote.

It travels through a page and back as text: msgpack of the fields, deflated where that is shorter, in URL-safe base64,
with the first 128 bits of an HMAC-SHA256 when there is a key. Signed is not secret: whoever sees the page can read
the pseudonym, the policy and the propensities in it, but cannot change them.
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from stream_app.core.events import Arm, Consent, Id, Label, Position, Propensity, Unit
from stream_app.errors import LynceusError

MAX_TOKEN_CHARS: Final = 16_384
MIN_KEY_BYTES: Final = 16
_MAX_PACKED_BYTES: Final = 65_536  # what a deflated token may grow to: a bound for tokens that are not ours
_TAG_BYTES: Final = 16
_PLAIN, _DEFLATED = "1", "2"  # the first character: the version of the format


class TokenError(LynceusError):
    """A text that is no decision token of ours: damaged, tampered with, or under another key."""


class Place(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One item of the decided list, at its position (1 is the first)."""

    item: Id
    position: Position
    propensity: Propensity | None = None
    predicted: Unit | None = None


class DecisionToken(Struct, frozen=True, kw_only=True, array_like=True):
    """What later events of a decision have in common. `user` is the key in the stream, a pseudonym."""

    decision: Id
    user: Id
    items: tuple[Place, ...]
    surface: Label | None = None
    arm: Arm | None = None
    policy: Label | None = None
    session: Id | None = None
    segment: Label | None = None
    channel: Label | None = None
    device: Label | None = None
    analytics: bool | None = None
    personalization: bool | None = None
    bot: bool = False
    test: bool = False

    @property
    def consent(self) -> Consent | None:
        """What the person had agreed to when it was decided, if that is known."""
        if self.analytics is None or self.personalization is None:
            return None
        return Consent(analytics=self.analytics, personalization=self.personalization)

    def place(self, item: str, position: int | None = None) -> Place:
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


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(DecisionToken).decode


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
    except (binascii.Error, ValueError, zlib.error, msgspec.MsgspecError, RecursionError):
        raise _damaged(text) from None


def _tag(text: str, key: bytes) -> bytes:
    return hmac.new(key, b"lynceus decision token\n" + text.encode(), hashlib.sha256).digest()[:_TAG_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _start(text: str) -> str:
    return repr(text if len(text) <= 12 else f"{text[:12]}...")


def _damaged(text: str) -> TokenError:
    return TokenError(f"{_start(text)} is no decision token", "Pass on the whole text that `dumps` returned")
