"""Keys that let a sender write: made here, kept as hashes, compared in constant time.

A key is 32 random bytes, so one round of SHA-256 is enough to keep it: there is nothing to guess. A slow hash
protects what people choose, and would cost every request its time.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from typing import Final, NamedTuple

SERVER, BROWSER = "lks_", "lkb_"
"""What keys begin with, so that a page that shows the wrong one is seen at a glance."""
MAX_KEY: Final = 200


class NewKey(NamedTuple):
    """A key, shown once, and what is kept of it."""

    key: str
    hash: str


def new_key(prefix: str) -> NewKey:
    """Make a key."""
    key = prefix + secrets.token_urlsafe(32)
    return NewKey(key, f"sha256:{_digest(key).hex()}")


def is_known(key: str, digests: Iterable[bytes]) -> bool:
    """Say whether `key` is one of those. Takes as long for any key of the same length."""
    if len(key) > MAX_KEY:
        return False
    presented = _digest(key)
    # All are compared, in a list: where the right one stands must not be measurable.
    return True in [hmac.compare_digest(presented, digest) for digest in digests]


def _digest(key: str) -> bytes:
    # A header may hold bytes that are no Unicode; no key of ours looks like that.
    return hashlib.sha256(key.encode(errors="replace")).digest()
