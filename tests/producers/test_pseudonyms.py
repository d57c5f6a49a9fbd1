"""Pseudonyms: the same for the same identity and key, valid as a user, and silent about the key."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.pseudonyms import Pseudonyms
from stream_app.core.codec import decode, encode
from stream_app.core.events import FeatureUse
from stream_app.errors import LynceusError

OLD, NEW = b"o" * 16, b"n" * 32


@given(st.text(min_size=1, max_size=300))
def test_a_pseudonym_is_a_good_user(identity: str) -> None:
    """Whatever identity goes in, also an address or a number, the codec takes the pseudonym as a user."""
    user = Pseudonyms({"k1": OLD}, "k1").of(identity)
    event = FeatureUse(id="1", ts=1_732_300_000_000, user=user, feature="f")
    assert decode(encode(event)) == event


def test_a_pseudonym_is_a_keyed_hash() -> None:
    """It is HMAC-SHA256 of the identity, its first 24 bytes, behind the id of the key."""
    key_id, _, text = Pseudonyms({"k1": OLD}, "k1").of("joe@example.com").partition(".")
    digest = hmac.new(OLD, b"joe@example.com", hashlib.sha256).hexdigest()[:48]
    assert (key_id, base64.urlsafe_b64decode(text).hex()) == ("k1", digest)


def test_a_rotation_keeps_the_old_pseudonyms_findable() -> None:
    """After a rotation new events use the new key, and `all_of` still names what the old key made."""
    before = Pseudonyms({"k1": OLD}, "k1").of("joe")
    rotated = Pseudonyms({"k1": OLD, "k2": NEW}, "k2")
    assert rotated.all_of("joe") == (rotated.of("joe"), before)
    assert rotated.of("joe") != before


@pytest.mark.parametrize(
    ("keys", "current", "message"),
    [
        ({"k1": b"short"}, "k1", "the key 'k1' has 5 bytes"),
        ({"K.1": OLD}, "K.1", "'K.1' is no key id"),
        ({"k1": OLD}, "k2", "there is no key 'k2'"),
    ],
)
def test_bad_keys_are_refused(keys: dict[str, bytes], current: str, message: str) -> None:
    """A short key, an id that would not fit, a current key that is not there."""
    with pytest.raises(LynceusError, match=message):
        Pseudonyms(keys, current)


def test_keys_are_not_shown() -> None:
    """The repr names key ids, never a key."""
    assert repr(Pseudonyms({"k1": OLD, "k2": NEW}, "k2")) == "Pseudonyms(k1, k2; current k2)"
