"""Alerts on the processes themselves, as Prometheus sees them, and the heartbeat of alerting."""

from typing import Final

from stream_app.metrics.alert import Alert, Example, Group, Told, of_collector, of_server, of_worker
from stream_app.metrics.alerts_data import DOWN

HEARTBEAT: Final = "LynceusWatchdog"

ALERTS: Final = (
    Alert(
        name="LynceusDown",
        expr="""
            max by (job) (up{job=~"lynceus-.+"}) == 0
            or absent(up{job="lynceus-worker"})
            or absent(up{job="lynceus-server"})
        """,
        for_s=60,
        keep_firing_for_s=600,
        severity="critical",
        component="processes",
        summary="No process of a role answers Prometheus.",
        description="{{ $labels.job }}: none answers, or none is known.",
        examples=(
            Example(
                "no worker is known, the only server is down, one of two collectors is",
                {
                    of_server("up"): "0x20",
                    of_collector("up"): "0x20",
                    of_collector("up", instance="b"): "1x20",
                },
                5,
                (Told({"job": "lynceus-server"}), Told({"job": "lynceus-worker"})),
            ),
            Example("one of each runs", {of_server("up"): "1x20", of_worker("up"): "1x20"}, 5),
        ),
    ),
    Alert(
        name="LynceusInstanceDown",
        expr='up{job=~"lynceus-.+"} == 0',
        for_s=300,
        keep_firing_for_s=60,
        severity="warning",
        component="processes",
        summary="A process does not answer Prometheus; others of its role do.",
        description="{{ $labels.job }} at {{ $labels.instance }} has not answered for five minutes.",
        inhibited_by=(DOWN._replace(same=("job",)),),
        examples=(
            Example(
                "one of two workers, and a stranger",
                {
                    of_worker("up"): "0x20",
                    of_worker("up", instance="b"): "1x20",
                    'up{job="elsewhere",instance="a"}': "0x20",
                },
                10,
                (Told({"job": "lynceus-worker", "instance": "a"}),),
            ),
            Example("all answer", {of_worker("up"): "1x20", of_server("up"): "1x20"}, 10),
        ),
    ),
    Alert(
        name="LynceusScrapePartFails",
        expr="min by (job, collector) (lynceus_scrape_collector_success) == 0",
        for_s=300,
        keep_firing_for_s=60,
        severity="warning",
        component="processes",
        summary="A part of a server's /metrics cannot be made: its metrics are missing.",
        description="{{ $labels.collector }} of {{ $labels.job }}.",
        inhibited_by=(DOWN,),
        examples=(
            Example(
                "one part of three, on one server of two",
                {
                    of_server("lynceus_scrape_collector_success", collector="windows"): "0x20",
                    of_server("lynceus_scrape_collector_success", collector="windows", instance="b"): "1x20",
                    of_server("lynceus_scrape_collector_success", collector="redis"): "1x20",
                },
                10,
                (Told({"job": "lynceus-server", "collector": "windows"}),),
            ),
            Example(
                "every part is made", {of_server("lynceus_scrape_collector_success", collector="windows"): "1x20"}, 10
            ),
        ),
    ),
    Alert(
        name="LynceusScrapeSlow",
        expr='max by (job) (scrape_duration_seconds{job=~"lynceus-.+"}) > 2',
        for_s=600,
        keep_firing_for_s=300,
        severity="warning",
        component="processes",
        summary="Scrapes take more than half of the time that they may take.",
        description="{{ $labels.job }}: {{ $value | humanizeDuration }}.",
        examples=(
            Example(
                "three seconds",
                {of_server("scrape_duration_seconds"): "3x30", of_worker("scrape_duration_seconds"): "1.5x30"},
                15,
                (Told({"job": "lynceus-server"}, "lynceus-server: 3s."),),
            ),
            Example("a tenth of one", {of_server("scrape_duration_seconds"): "0.1x30"}, 15),
        ),
    ),
    Alert(
        name=HEARTBEAT,
        expr="vector(1)",
        for_s=0,
        keep_firing_for_s=0,
        severity="none",
        component="processes",
        summary="Alerting works: this alert always fires, and its absence is the signal.",
        description="Prometheus evaluates rules, and Alertmanager delivers.",
        examples=(
            Example("always", {of_server("up"): "1x20"}, 0, (Told({}),)),
            Example("also when nothing else is known", {}, 5, (Told({}),)),
        ),
    ),
)

GROUP: Final = Group("lynceus.processes", "The processes, and alerting itself", (), ALERTS)
