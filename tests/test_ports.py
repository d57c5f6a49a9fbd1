"""Ports for servers that we start: free, another each time, and given to nobody else by chance."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app import ports
from stream_app.ports import free_port, is_free

TAKEN = "from stream_app.ports import free_port; print(*(free_port() for _ in range(20)))"


def ephemeral() -> range:
    """Return the ports that the system gives to whoever does not care."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return range(first, last + 1)


@pytest.mark.skipif(sys.platform != "linux", reason="the range is read from /proc")
def test_nobody_is_given_it_by_chance() -> None:
    """It is none of those that connections and listeners on any port get, and never the same twice."""
    taken = [free_port() for _ in range(50)]
    assert (50, []) == (len(set(taken)), [port for port in taken if port in ephemeral()])


def test_processes_begin_at_different_ones() -> None:
    """Two that ask at the same moment do not get the same."""
    both = [subprocess.run([sys.executable, "-c", TAKEN], capture_output=True, check=True).stdout for _ in "ab"]
    first, second = (set(map(int, out.split())) for out in both)
    assert (20, 20, set()) == (len(first), len(second), first & second)


def test_one_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever listens there, on this interface or on all, keeps it."""
    port = free_port()
    monkeypatch.setattr(ports, "_turn", iter(range(10**9)))
    monkeypatch.setattr(ports, "_ours", lambda: range(port, port + 2))
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", port))
        listener.listen()
        assert (False, port + 1) == (is_free("127.0.0.1", port), free_port())


@pytest.mark.parametrize("found", ["", "1024\t65535", "no range"])
def test_a_system_that_says_nothing_or_keeps_all(found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no ports of ours any free one is good; where nothing is said the default is taken."""
    says = tmp_path / "range"
    says.write_text(found)
    monkeypatch.setattr(ports, "_EPHEMERAL", says)
    assert is_free("127.0.0.1", free_port())
    assert (not found.startswith("1024")) == bool(ports._ours())  # which of the two it was
