"""How the worker reaches Kafka: credentials for Faust and for the admin client, and which cluster it is."""

import asyncio
from collections.abc import Mapping
from typing import Any

import faust
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.connection import client_options, quiet, tls
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings


def urls(kafka: KafkaSettings) -> str:
    """Return the brokers as Faust wants them, over the batch transport."""
    return ";".join(f"kafka-batch://{address.strip()}" for address in kafka.bootstrap.split(","))


def credentials(kafka: KafkaSettings) -> Mapping[str, Any]:
    """Return the settings of Faust that authenticate and encrypt; empty for a plain listener."""
    context = tls(kafka)
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
