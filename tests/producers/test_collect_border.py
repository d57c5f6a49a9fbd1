"""Keys are kept as hashes, clients have their rates, and both stay bounded."""

import hashlib

import pytest
from click.testing import CliRunner

from producers.collect_keys import BROWSER, SERVER, is_known, new_key
from producers.collect_rates import Rates, client_of
from stream_app import settings as configuration
from stream_app.cli import main
from stream_app.errors import LynceusError


def test_a_key_is_known_by_its_hash() -> None:
    """What is kept is the SHA-256 of the key; the key is known by it, and nothing near it is."""
    first, second = new_key(SERVER), new_key(BROWSER)
    digests = [bytes.fromhex(made.hash.removeprefix("sha256:")) for made in (first, second)]
    assert [hashlib.sha256(made.key.encode()).digest() for made in (first, second)] == digests
    presented = [first.key, second.key, first.key[:-1], first.hash, "", "\udcff", "x" * 1_000_000]
    assert [True, True, False, False, False, False, False] == [is_known(key, digests) for key in presented]


def test_a_client_has_a_burst_and_then_its_rate() -> None:
    """At 10 a second: 20 at once, then one every 0.1 s; another client is not concerned."""
    rates = Rates(10.0)
    at_once = [rates.wait_s("a", 0.0) for _ in range(21)]
    assert [0.0] * 20 + [0.1] == at_once
    assert [0.0, 0.0] == [rates.wait_s("a", 0.11), rates.wait_s("b", 0.11)]


def test_clients_are_forgotten_not_hoarded() -> None:
    """However many come, the number of buckets is bounded; who came last is remembered."""
    rates = Rates(1.0, max_clients=100)
    for number in range(10_000):
        rates.wait_s(f"10.0.{number >> 8}.{number & 255}", 0.0)
    last = [rates.wait_s("10.0.39.15", 0.0) for _ in range(2)]
    assert (100, [0.0, 1.0]) == (len(rates), last)


def test_a_network_of_ipv6_is_one_client() -> None:
    """Addresses of one /64 share a bucket; an IPv4 address is itself however it is written."""
    addresses = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "192.0.2.7", "::ffff:192.0.2.7", "no address"]
    expected = ["2001:db8:1:2::", "2001:db8:1:2::", "192.0.2.7", "192.0.2.7", "no address"]
    assert expected == [client_of(address) for address in addresses]


def test_a_new_key_is_one_that_settings_know() -> None:
    """`lynceus collect --new-key` prints a key and the hash that goes into the settings, and keeps neither."""
    printed = CliRunner().invoke(main, ["collect", "--new-key", "--browser"])
    words = dict(line.split() for line in printed.stdout.splitlines() if line)
    made = configuration.load({"LYNCEUS_COLLECTOR__BROWSER_KEY_HASHES": words["hash"]})
    assert (True, 1) == (words["key"].startswith("lkb_"), len(made.collector.browser_key_digests))
    assert "LYNCEUS_COLLECTOR__BROWSER_KEY_HASHES" in printed.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEY_HASHES", "lks_the-key-itself"),
        ("ORIGINS", "*"),
        ("ORIGINS", "https://shop.example/path"),
        ("ORIGINS", "shop.example"),
    ],
)
def test_what_is_no_hash_and_no_origin_is_refused(name: str, value: str) -> None:
    """A key in the place of its hash, a wildcard or a path in the place of an origin do not pass."""
    with pytest.raises(LynceusError, match=f"LYNCEUS_COLLECTOR__{name}"):
        configuration.load({f"LYNCEUS_COLLECTOR__{name}": value})
