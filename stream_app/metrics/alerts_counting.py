"""Alerts on the way of the records: from the door to Kafka, from Kafka into the stored state."""

from typing import Final

from stream_app.metrics.alert import (
    Alert,
    Example,
    Group,
    Recorded,
    Recording,
    Told,
    of_collector,
    of_server,
    of_worker,
)
from stream_app.metrics.alerts_data import DOWN, REDIS_DOWN

_EVENTS: Final = {"topic": "lynceus.events"}
_LAG: Final = "topic:lynceus_consumer_lag_records:sum"
_FORGOTTEN: Final = "table:lynceus_forgotten_entries:sum"

RECORDINGS: Final = (
    *(
        Recording(
            name=f"surface_arm:lynceus_{count}:rate5m",
            expr=f"sum without (instance, pod) (rate(lynceus_{count}_total[5m]))",
            series={
                of_worker(f"lynceus_{count}_total", surface="cart", arm="holdout"): "0+60x20",
                of_worker(f"lynceus_{count}_total", surface="cart", arm="holdout", instance="b"): "0+120x20",
            },
            at_m=10,
            expected=(Recorded({"job": "lynceus-worker", "surface": "cart", "arm": "holdout"}, 3),),
        )
        for count in ("impressions", "clicks", "conversions")
    ),
    Recording(
        name=_LAG,
        expr="sum by (job, topic) (lynceus_consumer_lag_records)",
        series={
            of_worker("lynceus_consumer_lag_records", partition="0", **_EVENTS): "2x10",
            of_worker("lynceus_consumer_lag_records", partition="1", instance="b", **_EVENTS): "3x10",
        },
        at_m=5,
        expected=(Recorded({"job": "lynceus-worker"} | _EVENTS, 5),),
    ),
    Recording(
        name=_FORGOTTEN,
        expr="sum by (job, table) (lynceus_forgotten_entries)",
        series={
            of_worker("lynceus_forgotten_entries", table="impressions"): "2x10",
            of_worker("lynceus_forgotten_entries", table="impressions", instance="b"): "3x10",
        },
        at_m=5,
        expected=(Recorded({"job": "lynceus-worker", "table": "impressions"}, 5),),
    ),
)

ALERTS: Final = (
    Alert(
        name="LynceusPartitionRefused",
        expr="""
            sum by (job) (lynceus_assigned_partitions)
            >
            sum by (job) (lynceus_claimed_partitions)
        """,
        for_s=300,
        keep_firing_for_s=60,
        severity="critical",
        component="counting",
        summary="A partition is assigned to a worker that does not count it.",
        description="{{ $value }} partitions are assigned, and fewer are held: a worker's /readyz says why.",
        inhibited_by=(REDIS_DOWN,),
        examples=(
            Example(
                "one of eight is not held",
                {
                    of_worker("lynceus_assigned_partitions"): "4x20",
                    of_worker("lynceus_assigned_partitions", instance="b"): "4x20",
                    of_worker("lynceus_claimed_partitions"): "4x20",
                    of_worker("lynceus_claimed_partitions", instance="b"): "3x20",
                },
                10,
                (
                    Told(
                        {"job": "lynceus-worker"},
                        "8 partitions are assigned, and fewer are held: a worker's /readyz says why.",
                    ),
                ),
            ),
            Example(
                "all are held",
                {
                    of_worker("lynceus_assigned_partitions"): "4x20",
                    of_worker("lynceus_claimed_partitions"): "4x20",
                },
                10,
            ),
        ),
    ),
    Alert(
        name="LynceusWatermarkStalled",
        expr="""
            time() - max by (job, topic, partition) (lynceus_watermark_timestamp_seconds) > 600
            unless on (job, topic, partition)
            max by (job, topic, partition) (lynceus_consumer_lag_records) == 0
        """,
        for_s=300,
        keep_firing_for_s=60,
        severity="warning",
        component="counting",
        summary="A partition's event time stands still although records wait.",
        description="{{ $labels.topic }}/{{ $labels.partition }} is {{ $value | humanizeDuration }} behind the clock.",
        inhibited_by=(REDIS_DOWN, DOWN),
        examples=(
            Example(
                "a partition stands, one lags a little, one idles",
                {
                    of_worker("lynceus_watermark_timestamp_seconds", partition="0", **_EVENTS): "-100x30",
                    of_worker("lynceus_consumer_lag_records", partition="0", **_EVENTS): "5x30",
                    of_worker("lynceus_watermark_timestamp_seconds", partition="1", **_EVENTS): "-400+60x30",
                    of_worker("lynceus_consumer_lag_records", partition="1", **_EVENTS): "5x30",
                    of_worker("lynceus_watermark_timestamp_seconds", partition="2", **_EVENTS): "-100x30",
                    of_worker("lynceus_consumer_lag_records", partition="2", **_EVENTS): "0x30",
                    of_worker("lynceus_watermark_timestamp_seconds", partition="3", **_EVENTS): "-700+60x30",
                },
                15,
                (
                    Told(
                        {"job": "lynceus-worker", "partition": "0"} | _EVENTS,
                        "lynceus.events/0 is 16m 40s behind the clock.",
                    ),
                    Told(
                        {"job": "lynceus-worker", "partition": "3"} | _EVENTS,
                        "lynceus.events/3 is 11m 40s behind the clock.",
                    ),
                ),
            ),
            Example(
                "it idles",
                {
                    of_worker("lynceus_watermark_timestamp_seconds", partition="0", **_EVENTS): "-900x30",
                    of_worker("lynceus_consumer_lag_records", partition="0", **_EVENTS): "0x30",
                },
                15,
            ),
        ),
    ),
    Alert(
        name="LynceusLagGrows",
        expr=f"min_over_time({_LAG}[15m]) > 10000 and deriv({_LAG}[15m]) > 1",
        for_s=300,
        keep_firing_for_s=300,
        severity="warning",
        component="counting",
        summary="Records arrive faster than they are counted.",
        description="{{ $labels.topic }}: more than 10,000 records have waited for a quarter of an hour, and they "
        "become more.",
        inhibited_by=(REDIS_DOWN, DOWN),
        examples=(
            Example(
                "much and growing; little and growing; much and shrinking; much and hardly growing",
                {
                    f'{_LAG}{{topic="grows"}}': "11800+90x40",
                    f'{_LAG}{{topic="little"}}': "6000+90x40",
                    f'{_LAG}{{topic="shrinks"}}': "90000-90x40",
                    f'{_LAG}{{topic="stands"}}': "20000+40x40",
                },
                24,
                (Told({"topic": "grows"}),),
            ),
            Example("none wait", {f'{_LAG}{{topic="lynceus.events"}}': "0x40"}, 24),
        ),
    ),
    Alert(
        name="LynceusCheckpointsRefused",
        expr='sum by (job, reason) (increase(lynceus_flush_refused_total{reason!="fenced"}[15m])) > 10',
        for_s=300,
        keep_firing_for_s=300,
        severity="warning",
        component="counting",
        summary="Checkpoints are refused again and again.",
        description="{{ $value | humanize }} in a quarter of an hour, because: {{ $labels.reason }}. Nothing is "
        "lost: what was not written is counted again.",
        inhibited_by=(REDIS_DOWN,),
        examples=(
            Example(
                "one a minute by two workers; few of another reason; many fenced ones, as when workers come and go",
                {
                    of_worker("lynceus_flush_refused_total", reason="no reply"): "0+0.6x60",
                    of_worker("lynceus_flush_refused_total", reason="no reply", instance="b"): "0+0.6x60",
                    of_worker("lynceus_flush_refused_total", reason="conflict"): "0+0.5x60",
                    of_worker("lynceus_flush_refused_total", reason="fenced"): "0+9x60",
                },
                30,
                (
                    Told(
                        {"job": "lynceus-worker", "reason": "no reply"},
                        "18 in a quarter of an hour, because: no reply. Nothing is lost: what was not written is "
                        "counted again.",
                    ),
                ),
            ),
            Example("none is", {of_worker("lynceus_flush_refused_total", reason="no reply"): "7x60"}, 30),
        ),
    ),
    Alert(
        name="LynceusRebalancesOften",
        expr="max by (job) (increase(lynceus_rebalances_total[30m])) > 6",
        for_s=60,
        keep_firing_for_s=600,
        severity="warning",
        component="counting",
        summary="The workers' group keeps sharing its partitions anew.",
        description="A worker had {{ $value | humanize }} assignments within half an hour; counting pauses at each.",
        examples=(
            Example(
                "one every three minutes",
                {of_worker("lynceus_rebalances_total"): "0+0.3x60", of_worker("up", instance="b"): "1x60"},
                40,
                (
                    Told(
                        {"job": "lynceus-worker"},
                        "A worker had 9 assignments within half an hour; counting pauses at each.",
                    ),
                ),
            ),
            Example("one every eight minutes", {of_worker("lynceus_rebalances_total"): "0+0.125x60"}, 40),
        ),
    ),
    Alert(
        name="LynceusMemoryScarce",
        expr="max by (job, instance) (lynceus_memory_scarce) == 1",
        for_s=600,
        keep_firing_for_s=300,
        severity="warning",
        component="counting",
        summary="A worker is near its memory cap and fetches less ahead.",
        description="{{ $labels.instance }}: at 97 % of LYNCEUS_WORKER__MEMORY_MB it leaves in order.",
        examples=(
            Example(
                "one of two",
                {of_worker("lynceus_memory_scarce"): "1x30", of_worker("lynceus_memory_scarce", instance="b"): "0x30"},
                15,
                (Told({"job": "lynceus-worker", "instance": "a"}),),
            ),
            Example("neither", {of_worker("lynceus_memory_scarce"): "0x30"}, 15),
        ),
    ),
    Alert(
        name="LynceusMemoryForgets",
        expr=f"delta({_FORGOTTEN}[1h]) > 100",
        for_s=300,
        keep_firing_for_s=1800,
        severity="warning",
        component="counting",
        summary="Workers forget what could still matter: later clicks will not find their impressions.",
        description="{{ $value | humanize }} entries of {{ $labels.table }} made room within the last hour.",
        examples=(
            Example(
                "many of one kind, few of another, many long ago",
                {
                    f'{_FORGOTTEN}{{table="impressions"}}': "500+2.5x120",
                    f'{_FORGOTTEN}{{table="sessions"}}': "500+1.2x120",
                    f'{_FORGOTTEN}{{table="ids"}}': "9000x120",
                },
                90,
                (Told({"table": "impressions"}, "150 entries of impressions made room within the last hour."),),
            ),
            Example("none ever", {f'{_FORGOTTEN}{{table="impressions"}}': "0x120"}, 90),
        ),
    ),
    Alert(
        name="LynceusRedisMemoryHigh",
        expr="""
            max by (job) (lynceus_redis_used_memory_bytes)
            > 0.85 *
            max by (job) (lynceus_redis_max_memory_bytes)
            unless on (job) max by (job) (lynceus_redis_max_memory_bytes) == 0
        """,
        for_s=300,
        keep_firing_for_s=300,
        severity="warning",
        component="counting",
        summary="Redis is nearly full: when it is, checkpoints are refused and counting stops.",
        description="{{ $value | humanize1024 }}B are used.",
        inhibited_by=(REDIS_DOWN,),
        examples=(
            Example(
                "nine tenths are used",
                {
                    of_server("lynceus_redis_used_memory_bytes"): "966367641x30",
                    of_server("lynceus_redis_max_memory_bytes"): "1073741824x30",
                },
                10,
                (Told({"job": "lynceus-server"}, "921.6MiB are used."),),
            ),
            Example(
                "half is used; and there is no limit",
                {
                    of_server("lynceus_redis_used_memory_bytes"): "600000000x30",
                    of_server("lynceus_redis_max_memory_bytes"): "1073741824x30",
                    of_server("lynceus_redis_used_memory_bytes").replace("server", "other"): "600000000x30",
                    of_server("lynceus_redis_max_memory_bytes").replace("server", "other"): "0x30",
                },
                10,
            ),
        ),
    ),
    Alert(
        name="LynceusVerdictsWait",
        expr="max without (instance, pod) (lynceus_verdicts_waiting) > 0",
        for_s=600,
        keep_firing_for_s=60,
        severity="warning",
        component="counting",
        summary="Kafka does not take verdicts: who subscribes to them does not know.",
        description="Verdicts have waited for Kafka for ten minutes; none is lost.",
        inhibited_by=(REDIS_DOWN,),
        examples=(
            Example(
                "one waits",
                {of_server("lynceus_verdicts_waiting"): "1x30", of_server("lynceus_verdicts_waiting", pod="b"): "0x30"},
                15,
                (Told({"job": "lynceus-server"}),),
            ),
            Example("none waits", {of_server("lynceus_verdicts_waiting"): "0x30"}, 15),
        ),
    ),
    Alert(
        name="LynceusCollectorLosesKafka",
        expr="min by (job) (lynceus_collector_kafka_up) == 0",
        for_s=120,
        keep_firing_for_s=60,
        severity="critical",
        component="collecting",
        summary="Kafka does not acknowledge what a collector takes in: senders are told to come again.",
        description="At least one {{ $labels.job }} refuses events with 503. Senders keep what they could not send, "
        "for as long as they have room.",
        examples=(
            Example(
                "one of two",
                {
                    of_collector("lynceus_collector_kafka_up"): "0x30",
                    of_collector("lynceus_collector_kafka_up", instance="b"): "1x30",
                },
                5,
                (Told({"job": "lynceus-collector"}),),
            ),
            Example("it acknowledges", {of_collector("lynceus_collector_kafka_up"): "1x30"}, 5),
        ),
    ),
)

GROUP: Final = Group("lynceus.counting", "The way of the records", RECORDINGS, ALERTS)
