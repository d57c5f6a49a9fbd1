"""Where alerts are sent, and what their links lead to: what differs from one installation to the next."""

from typing import Final, NamedTuple


class Places(NamedTuple):
    """Addresses, without a slash at the end.

    The four receivers are webhooks in Alertmanager's format; names under .invalid lead nowhere, by RFC 2606, so that
    nobody is paged by somebody else's configuration. `runbooks` is the folder of the runbooks, `boards` the server
    whose wall alerts link to.
    """

    page: str = "http://alerts.invalid/page"
    ticket: str = "http://alerts.invalid/ticket"
    wall: str = "http://alerts.invalid/wall"
    watchdog: str = "http://alerts.invalid/watchdog"
    runbooks: str = "docs/runbooks"
    boards: str = "http://127.0.0.1:8080"


PLACES: Final = Places()
"""Those of docker-compose.yml: a wall on this machine, runbooks in the checkout, and nobody who is paged."""
