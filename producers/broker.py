"""The border to kafka-python: how its clients connect, and what its exceptions and its logging become."""

import logging
import ssl
from typing import Any

from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return what every client of kafka-python is told."""
    known: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "api_version": settings.api_version_tuple,
        "bootstrap_timeout_ms": int(settings.connect_timeout_s * 1000),
        "security_protocol": settings.security,
    }
    if settings.security.startswith("SASL"):
        known["sasl_mechanism"] = settings.sasl_mechanism
        known["sasl_plain_username"] = settings.username
        known["sasl_plain_password"] = settings.password.get_secret_value() if settings.password else None
    if settings.security.endswith("SSL"):
        try:
            known["ssl_context"] = ssl.create_default_context(cafile=settings.ca_file)
        except OSError as error:
            raise LynceusError(
                f"LYNCEUS_KAFKA__CA_FILE={str(settings.ca_file)!r}: {reason(error)}",
                "Name a readable file of certificates in PEM format",
            ) from None
    return known


def unreachable(settings: KafkaSettings, error: Exception) -> LynceusError:
    """Return what to raise when no broker answers."""
    return LynceusError(
        f"no Kafka broker at {settings.bootstrap} within {settings.connect_timeout_s:g} s ({reason(error)})",
        "Is it running? LYNCEUS_KAFKA__BOOTSTRAP names it, `lynceus demo` brings its own",
    )


def reason(error: BaseException) -> str:
    """Return an exception as one line that begins with its class."""
    text = str(error).strip()
    name = type(error).__name__
    return " ".join((text if text.startswith(name) else f"{name}: {text}" if text else name).split())


def silence() -> None:
    """Keep kafka-python from writing to stderr; what matters of it becomes a LynceusError or a count.

    It logs a warning for every pause of its own event loop and an error for every attempt to connect. A level
    that the application has chosen for it stays.
    """
    log = logging.getLogger("kafka")
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL + 1)
