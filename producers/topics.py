"""The topics of Lynceus: created where they are missing, asked for where they must be there."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from producers.broker import connection, reason, silence, unreachable
from stream_app.errors import LynceusError
from stream_app.settings import KafkaSettings


def require_topics(settings: KafkaSettings, topics: Iterable[str]) -> None:
    """Return when Kafka has all these topics.

    Raises LynceusError when no broker can be reached or a topic does not exist.
    """
    with _administration(settings) as admin:
        existing = admin.list_topics()
    for topic in topics:
        if topic not in existing:
            raise LynceusError(
                f"Kafka at {settings.bootstrap} has no topic {topic!r}", "`lynceus topics ensure` creates it"
            )


def ensure_topics(settings: KafkaSettings) -> tuple[str, ...]:
    """Create the topics that do not exist yet and return their names; existing ones stay as they are.

    Raises LynceusError when no broker can be reached or the broker refuses.
    """
    # LogAppendTime: the broker's clock says when a record could first be read, which is where the visible
    # latency of an event starts. What the producer's clock says is in the event itself.
    wanted: dict[str, dict[str, Any]] = {
        settings.events_topic: {
            "num_partitions": settings.partitions,
            "replication_factor": settings.replication,
            "configs": {"message.timestamp.type": "LogAppendTime"},
        },
        # Exceptions are few and are read by people: one partition keeps them in order.
        settings.dead_letters_topic: {"num_partitions": 1, "replication_factor": settings.replication},
        settings.late_topic: {"num_partitions": 1, "replication_factor": settings.replication},
        # Read from its beginning by every worker that starts: the last word on each input is all that is needed.
        settings.inputs_topic: {
            "num_partitions": 1,
            "replication_factor": settings.replication,
            "configs": {"cleanup.policy": "compact"},
        },
        # A few a month: one partition keeps those of all surfaces in order.
        settings.verdicts_topic: {"num_partitions": 1, "replication_factor": settings.replication},
    }
    with _administration(settings) as admin:
        try:
            existing = admin.list_topics()
            missing = {name: options for name, options in wanted.items() if name not in existing}
            created = tuple(name for name, options in missing.items() if _create(admin, name, options))
            if created:
                admin.wait_for_topics(created, timeout_ms=int(settings.connect_timeout_s * 1000))
        except KafkaError as error:
            raise LynceusError(
                f"Kafka at {settings.bootstrap} did not create the topics: {reason(error)}",
                "May this user create topics? Are there as many brokers as LYNCEUS_KAFKA__REPLICATION?",
            ) from None
    return created


@contextlib.contextmanager
def _administration(settings: KafkaSettings) -> Iterator[KafkaAdminClient]:
    """Connect to the cluster. Unlike the producer, this client finds out at once whether there is one."""
    silence()
    timeout_ms = int(settings.connect_timeout_s * 1000)
    try:
        admin = KafkaAdminClient(**connection(settings), request_timeout_ms=timeout_ms)
    except KafkaError as error:
        raise unreachable(settings, error) from None
    try:
        yield admin
    finally:
        admin.close()


def _create(admin: KafkaAdminClient, name: str, options: dict[str, Any]) -> bool:
    try:
        admin.create_topics({name: options})
    except TopicAlreadyExistsError:
        return False  # another process was faster
    return True
