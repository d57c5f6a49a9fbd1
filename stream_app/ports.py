"""Ports of loopback for servers that we start.

Whoever asks the system for any port is given one of its ephemeral range, and so is every connection that goes out: a
port of that range that was free a moment ago may be somebody's before a server is up, or while it is down. So ports are
taken from below that range, which nobody is given without asking for it by number, and each process begins at another.

    20,000 ................ 32,767 | 32,768 ............... 60,999
    ours, one after the other      | the system's, to listen on 0 and to connect from
"""

import errno
import itertools
import os
import socket
from pathlib import Path
from typing import Final

_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FIRST: Final = 20_000
_FIRST_EPHEMERAL: Final = 32_768
"""Linux's default; the other systems begin higher."""
_STRIDE: Final = 7_919
"""A prime: processes that were started one after the other begin far from each other."""


def is_free(host: str, port: int) -> bool:
    """Say whether nobody listens on this port of an interface."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        # As the servers do: connections of a former run that are still fading away do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE  # another fault is told by whoever listens in earnest
    return True


def free_port() -> int:
    """Return a loopback TCP port that is free, another one each time.

    Nobody is given it unless by number; where the system keeps all ports for itself it is one that was free just now.
    """
    ports = _ours()
    for _ in ports:
        port = ports[next(_turn) % len(ports)]
        if is_free("127.0.0.1", port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        any_port: int = listener.getsockname()[1]
        return any_port


def _ours() -> range:
    try:
        end = int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        end = _FIRST_EPHEMERAL
    return range(_FIRST, end)


_turn: Final = itertools.count(os.getpid() * _STRIDE)
