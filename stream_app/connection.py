"""How a client of aiokafka reaches the brokers: addresses, encryption, credentials. For worker and server."""

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return what a client of aiokafka needs to reach the brokers: addresses, encryption, credentials."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap}
    if kafka.security != "PLAINTEXT":
        options |= {"security_protocol": kafka.security, "ssl_context": tls(kafka)}
    if kafka.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value() if kafka.password else None,
        }
    return options


def tls(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """Return how to encrypt; None for a plain listener. Raises LynceusError for a file that is no good."""
    if not kafka.security.endswith("SSL"):
        return None
    try:
        return ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:
        raise LynceusError(
            f"LYNCEUS_KAFKA__CA_FILE={str(kafka.ca_file)!r}: {error.strerror or error}",
            "Name a readable file of certificates in PEM format",
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Keep aiokafka from logging what is about to be said once, in our words."""
    log = logging.getLogger("aiokafka")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


def is_ending() -> bool:
    """Say whether this task was cancelled: the clients swallow that where an answer comes at the same moment.

    Also while they close. Who goes on in a loop has to ask.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
