"""Pseudonyms: a keyed hash of whatever a system knows a person by, because identities do not enter the stream.

A pseudonym is `<key id>.<32 characters>`: HMAC-SHA256 (RFC 2104), truncated to 192 bits, in URL-safe base64. Without
the key nobody can test a guess, as one could with a bare hash of an e-mail address. The key id says which key made
it. To rotate, add a new key and make it `current`: from then on new events carry new pseudonyms, so what is
remembered of a user (joins, arms) starts anew; rotate between experiments. Keep the old key as long as records under
it may have to be found (`all_of`, for an erasure), then delete it: nobody can link them any more.
"""

import base64
import hmac
import re
from collections.abc import Mapping
from typing import Final

from stream_app.errors import LynceusError

MIN_KEY_BYTES: Final = 16
_DIGEST_BYTES: Final = 24
_KEY_ID = re.compile(r"[a-z][a-z0-9]{0,15}")  # begins with a letter: no pseudonym can look like a phone number


class Pseudonyms:
    """Secret keys by their ids, and which of them is in use. Its `repr` shows no key."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        """Keys are at least 16 random bytes, e.g. of `secrets.token_bytes(32)`. Raises LynceusError."""
        for name, key in keys.items():
            if not _KEY_ID.fullmatch(name):
                raise LynceusError(
                    f"{name!r} is no key id", "A letter, then at most 15 small letters and digits, e.g. k1"
                )
            if len(key) < MIN_KEY_BYTES:
                raise LynceusError(
                    f"the key {name!r} has {len(key)} bytes", f"Use {MIN_KEY_BYTES} random bytes or more"
                )
        if current not in keys:
            raise LynceusError(f"there is no key {current!r}", f"`current` is one of {', '.join(keys) or 'none'}")
        self._keys = dict(keys)
        self.current = current

    def __repr__(self) -> str:
        return f"Pseudonyms({', '.join(self._keys)}; current {self.current})"

    def of(self, identity: str) -> str:
        """Return the pseudonym of an identity under the current key.

        The same bytes give the same pseudonym, so bring what has several spellings (the case of an e-mail address)
        into one form first. Raises LynceusError for an empty identity.
        """
        return self._under(self.current, identity)

    def all_of(self, identity: str) -> tuple[str, ...]:
        """Return the pseudonyms of an identity under every key that is known, the current one first."""
        others = (name for name in self._keys if name != self.current)
        return tuple(self._under(name, identity) for name in (self.current, *others))

    def _under(self, name: str, identity: str) -> str:
        if not identity:
            raise LynceusError("user = '' is nobody", "Name the user")
        digest = hmac.digest(self._keys[name], identity.encode("utf-8", "surrogatepass"), "sha256")[:_DIGEST_BYTES]
        return f"{name}.{base64.urlsafe_b64encode(digest).decode()}"
