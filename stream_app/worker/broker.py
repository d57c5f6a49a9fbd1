"""How the worker reaches Kafka: credentials for Faust and for the admin client, and which cluster it is."""

import asyncio
import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings


def urls(kafka: KafkaSettings) -> str:
    """Return the brokers as Faust wants them, over the batch transport."""
    return ";".join(f"kafka-batch://{address.strip()}" for address in kafka.bootstrap.split(","))


def credentials(kafka: KafkaSettings) -> Mapping[str, Any]:
    """Return the settings of Faust that authenticate and encrypt; empty for a plain listener."""
    context = _tls(kafka)
    if kafka.security.startswith("SASL"):
        return {
            "broker_credentials": faust.SASLCredentials(
                username=kafka.username,
                password=kafka.password.get_secret_value() if kafka.password else None,
                mechanism=kafka.sasl_mechanism,
                ssl_context=context,
            )
        }
    return {"broker_credentials": faust.SSLCredentials(context)} if context else {}


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Return what a client of aiokafka needs to reach the brokers: addresses, encryption, credentials."""
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap}
    if kafka.security != "PLAINTEXT":
        options |= {"security_protocol": kafka.security, "ssl_context": _tls(kafka)}
    if kafka.security.startswith("SASL"):
        options |= {
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.username,
            "sasl_plain_password": kafka.password.get_secret_value() if kafka.password else None,
        }
    return options


async def cluster_id(kafka: KafkaSettings) -> str:
    """Return the identity of the Kafka cluster. Raises LynceusError when the topic's brokers do not answer."""
    admin = AIOKafkaAdminClient(
        request_timeout_ms=int(kafka.connect_timeout_s * 1000),
        **client_options(kafka),
    )
    try:
        with quiet():
            async with asyncio.timeout(kafka.connect_timeout_s):
                await admin.start()
                described = await admin.describe_cluster()
                topics = await admin.list_topics()
    except (KafkaError, OSError, TimeoutError) as error:
        raise LynceusError(
            f"Kafka at {kafka.bootstrap} does not answer ({type(error).__name__})",
            "Start it, or set LYNCEUS_KAFKA__BOOTSTRAP",
        ) from None
    finally:
        await admin.close()
    wanted = (kafka.events_topic, kafka.dead_letters_topic, kafka.late_topic)
    missing = [topic for topic in wanted if topic not in topics]
    if missing:
        raise LynceusError(f"Kafka at {kafka.bootstrap} has no topic {missing[0]}", "Run: lynceus topics ensure")
    return str(described.get("cluster_id") or "")


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


def _tls(kafka: KafkaSettings) -> ssl.SSLContext | None:
    if not kafka.security.endswith("SSL"):
        return None
    try:
        return ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:
        raise LynceusError(
            f"LYNCEUS_KAFKA__CA_FILE={str(kafka.ca_file)!r}: {error.strerror or error}",
            "Name a readable file of certificates in PEM format",
        ) from None
