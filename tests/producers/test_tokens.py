"""A decision token survives its way through a page whole, or is refused."""

import base64
import hashlib
import string
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.tokens import MAX_TOKEN_CHARS, DecisionToken, TokenError, dumps, loads
from stream_app.core.events import Consent, DecisionItem

KEY, OTHER = b"k" * 16, b"o" * 16
ids = st.text(min_size=1, max_size=12)
labels = st.none() | ids
units = st.none() | st.floats(0.01, 1)
tokens = st.builds(
    DecisionToken,
    decision=ids,
    user=ids,
    items=st.lists(
        st.builds(DecisionItem, item=ids, position=st.integers(1, 10_000), propensity=units, predicted=units),
        min_size=1,
        max_size=8,
    ).map(tuple),
    surface=labels,
    arm=st.sampled_from([None, "personalized", "context_blind", "holdout"]),
    policy=labels,
    consent=st.none() | st.builds(Consent, analytics=st.booleans(), personalization=st.booleans()),
    bot=st.booleans(),
)
TOKEN = DecisionToken(
    decision="d-1",
    user="u-1",
    items=(DecisionItem(item="A7", position=1, propensity=0.5), DecisionItem(item="B2", position=2)),
    surface="home.hero",
    arm="personalized",
    policy="bts-3",
)


@given(tokens, st.sampled_from([None, KEY]))
def test_a_token_comes_back_equal(token: DecisionToken, key: bytes | None) -> None:
    """What was packed is unpacked, signed or not, through characters that no URL has to escape."""
    text = dumps(token, key)
    assert set(text) <= set(string.ascii_letters + string.digits + "-_.")
    assert loads(text, [key] if key else []) == token


@given(st.integers(0, 10_000), st.sampled_from(string.ascii_letters + string.digits + "-_."))
def test_a_changed_token_is_refused(at: int, replacement: str) -> None:
    """Any other character in any place of a signed token is noticed."""
    text = dumps(TOKEN, KEY)
    at %= len(text)
    changed = text[:at] + replacement + text[at + 1 :]
    if changed == text:
        assert loads(changed, [KEY]) == TOKEN
    else:
        with pytest.raises(TokenError):
            loads(changed, [KEY])


@given(st.text(max_size=60) | st.text("ABCabc123-_.", max_size=60).map(lambda rest: "1" + rest))
@example("2" + base64.urlsafe_b64encode(zlib.compress(bytes(10_000_000))).decode()[:16_000])
@example("\ud800.")
@example("1" + base64.urlsafe_b64encode(b'["d","u",[["A7",1%s]]]' % (b"0" * 30)).decode().rstrip("="))
@example("1" + base64.urlsafe_b64encode(b'["d","u",[["A7",1]],null,null,null,null,null,null,null,"x"]').decode())
def test_any_text_is_a_token_or_an_error(text: str) -> None:
    """No text makes `loads` raise anything but TokenError, also not one that unpacks to ten megabytes."""
    for keys in ([], [KEY]):
        try:
            loads(text, keys)
        except TokenError:
            continue


def test_every_key_is_accepted_while_keys_rotate() -> None:
    """A token signed with the old key is good as long as the old key is among the keys."""
    assert loads(dumps(TOKEN, OTHER), [KEY, OTHER]) == TOKEN


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        (dumps(TOKEN), [KEY], "is not signed"),
        (dumps(TOKEN, KEY), [], "is signed"),
        (dumps(TOKEN, OTHER), [KEY], "was changed, or signed with another key"),
        ("1" * (MAX_TOKEN_CHARS + 1), [KEY], "of 16385 characters"),
    ],
)
def test_errors_say_which_key_is_missing(text: str, keys: list[bytes], message: str) -> None:
    """A missing, a superfluous and a wrong signature are three errors."""
    with pytest.raises(TokenError, match=message):
        loads(text, keys)


def test_a_token_is_short() -> None:
    """Ten items with propensities, signed, take less than 600 characters."""
    places = tuple(DecisionItem(item=f"sku-{number}", position=number, propensity=0.1) for number in range(1, 11))
    token = DecisionToken(decision="0193551f5e4b" + "a" * 20, user="k1." + "b" * 32, items=places, surface="home.hero")
    assert len(dumps(token, KEY)) < 600


def test_a_list_that_fits_no_url_is_refused() -> None:
    """Too many characters are an error at the writer, not at the reader."""
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(500)]
    places = tuple(DecisionItem(item=name, position=1) for name in names)
    with pytest.raises(TokenError, match="keep it on the server"):
        dumps(DecisionToken(decision="d", user="u", items=places))
