"""Alerts that say: what is shown cannot be trusted now. While one fires, nothing that is concluded is sent."""

from typing import Final

from stream_app.metrics.alert import Alert, Example, Group, Inhibitor, Told, of_server, of_worker

REDIS_DOWN: Final = Inhibitor("LynceusRedisDown")
DOWN: Final = Inhibitor("LynceusDown")
WATCH_PAUSED: Final = Inhibitor("LynceusWatchPaused", ("surface",))
MISMATCH: Final = Inhibitor("LynceusSampleRatioMismatch", ("surface",))
UNTRUSTED: Final = (
    REDIS_DOWN,
    Inhibitor("LynceusWindowsStale"),
    Inhibitor("LynceusWindowsIncomplete"),
    Inhibitor("LynceusReplaying"),
)
"""Whole states in which no number is to be believed, whatever surface it is of."""
DOUBTS: Final = (*UNTRUSTED, MISMATCH, WATCH_PAUSED)
"""What silences a conclusion: the data is not trusted as a whole, or this surface cannot be judged."""

_END: Final = of_server("lynceus_window_end_timestamp_seconds", window="1h")
_BY_SURFACE: Final = {"surface": "home.hero"}


def _impressions(surface: str, arm: str) -> str:
    return of_server("lynceus_window_impressions", window="1h", surface=surface, arm=arm)


ALERTS: Final = (
    Alert(
        name="LynceusRedisDown",
        expr="min by (job) (lynceus_redis_up) == 0",
        for_s=60,
        keep_firing_for_s=600,
        severity="critical",
        component="data",
        summary="Redis does not answer Lynceus.",
        description="At least one {{ $labels.job }} cannot reach Redis: nothing is counted, and what is shown "
        "stands still.",
        examples=(
            Example(
                "one of two workers cannot reach Redis",
                {
                    of_worker("lynceus_redis_up"): "0x20",
                    of_worker("lynceus_redis_up", instance="b"): "1x20",
                    of_server("lynceus_redis_up", instance="c"): "1x20",
                },
                5,
                (Told({"job": "lynceus-worker"}),),
            ),
            Example("Redis answers everybody", {of_worker("lynceus_redis_up"): "1x20"}, 5),
        ),
    ),
    Alert(
        name="LynceusWindowsStale",
        expr="""
            (
              time() - max without (instance, pod, window) (lynceus_window_end_timestamp_seconds) > 300
              and on ()
              (
                sum(lynceus_consumer_lag_records) > 0
                or sum(increase(lynceus_events_consumed_total[30m] offset 5m)) > 300
                or ALERTS{alertname="LynceusWindowsStale", alertstate="firing"}
                or absent(lynceus_events_consumed_total)
              )
            )
            or on ()
            (
              count without (instance, pod) (up{job="lynceus-server"} == 1)
              unless on () lynceus_window_end_timestamp_seconds
            )
        """,
        for_s=60,
        keep_firing_for_s=300,
        severity="critical",
        component="data",
        summary="Nothing newer is shown: do not trust the wall, the verdicts or the decisions.",
        description="No window ends within the last five minutes of event time, though events wait, or more than ten a "
        "minute came until then; or there is no window at all.",
        inhibited_by=(REDIS_DOWN, DOWN),
        examples=(
            Example(
                "the windows end six minutes ago, and go on doing so; of workers nothing is known",
                {
                    _END: "-360+60x20",
                    of_server("lynceus_window_end_timestamp_seconds", instance="b", window="1h"): "-400+60x20",
                    of_server("up"): "1x20",
                },
                5,
                (Told({"job": "lynceus-server"}),),
            ),
            Example(
                "events wait that nobody counts",
                {
                    _END: "-360+60x20",
                    of_worker("lynceus_consumer_lag_records", partition="0"): "1x20",
                    of_worker("lynceus_events_consumed_total", event="click"): "7x20",
                },
                5,
                (Told({"job": "lynceus-server"}),),
            ),
            Example(
                "a busy shop falls silent: eleven events a minute until seven minutes ago",
                {
                    _END: "0+60x43 2580x7",
                    of_worker("lynceus_consumer_lag_records", partition="0"): "0x50",
                    of_worker("lynceus_events_consumed_total", event="click"): "0+11x43 473x7",
                },
                50,
                (Told({"job": "lynceus-server"}),),
            ),
            Example(
                "it goes on being silent",
                {
                    _END: "0+60x43 2580x97",
                    of_worker("lynceus_consumer_lag_records", partition="0"): "0x140",
                    of_worker("lynceus_events_consumed_total", event="click"): "0+11x43 473x97",
                },
                140,
                (Told({"job": "lynceus-server"}),),
            ),
            Example(
                "a small shop's night: one event a minute, and none for an hour",
                {
                    _END: "0+60x60 3600x60",
                    of_worker("lynceus_consumer_lag_records", partition="0"): "0x120",
                    of_worker("lynceus_events_consumed_total", event="click"): "0+1x60 60x60",
                },
                120,
            ),
            Example(
                "ten a minute are not enough to say that five minutes without any mean something",
                {
                    _END: "0+60x43 2580x7",
                    of_worker("lynceus_consumer_lag_records", partition="0"): "0x50",
                    of_worker("lynceus_events_consumed_total", event="click"): "0+10x50",
                },
                50,
            ),
            Example(
                "a server runs that shows no window",
                {of_server("up"): "1x20", of_worker("up", instance="b"): "1x20"},
                5,
                (Told({"job": "lynceus-server"}),),
            ),
            Example(
                "one server lags, the other is three minutes behind the clock",
                {
                    _END: "-180+60x20",
                    of_server("lynceus_window_end_timestamp_seconds", instance="b", window="1h"): "-900+60x20",
                    of_server("up"): "1x20",
                },
                5,
            ),
            Example(
                "the server is down, which is told otherwise",
                {of_server("up"): "0x20"},
                5,
            ),
        ),
    ),
    Alert(
        name="LynceusWindowsIncomplete",
        expr='max without (instance, pod) (lynceus_window_complete{window="5m"}) == 0',
        for_s=60,
        keep_firing_for_s=300,
        severity="warning",
        component="data",
        summary="Windows do not have all there is: counts are too low.",
        description="The {{ $labels.window }} window lacks what some partition has not counted yet; the wall's status "
        "line and /v1/view say which and why.",
        inhibited_by=(REDIS_DOWN, DOWN),
        examples=(
            Example(
                "every server says so",
                {
                    of_server("lynceus_window_complete", window="5m"): "0x20",
                    of_server("lynceus_window_complete", instance="b", window="5m"): "0x20",
                },
                5,
                (Told({"job": "lynceus-server", "window": "5m"}),),
            ),
            Example(
                "one server has everything, and a longer window is none of it",
                {
                    of_server("lynceus_window_complete", window="5m"): "0x20",
                    of_server("lynceus_window_complete", instance="b", window="5m"): "1x20",
                    of_server("lynceus_window_complete", instance="b", window="28d"): "0x20",
                },
                5,
            ),
        ),
    ),
    Alert(
        name="LynceusReplaying",
        expr="max without (instance, pod) (lynceus_replaying) == 1",
        for_s=60,
        keep_firing_for_s=300,
        severity="warning",
        component="data",
        summary="A partition's state was lost or went back and is being counted anew: everything is too low.",
        description="Redis came back empty, older or damaged; what is missing is counted again from the log.",
        inhibited_by=(REDIS_DOWN,),
        examples=(
            Example(
                "a partition is counted anew",
                {of_server("lynceus_replaying"): "1x20"},
                5,
                (Told({"job": "lynceus-server"}),),
            ),
            Example("nothing is", {of_server("lynceus_replaying"): "0x20"}, 5),
        ),
    ),
    Alert(
        name="LynceusRecordsLost",
        expr='max without (instance, pod) (lynceus_window_gapped{window="1h"}) == 1',
        for_s=60,
        keep_firing_for_s=300,
        severity="warning",
        component="data",
        summary="Kafka deleted records before they were counted.",
        description="The last hour reaches back to records that retention took: its counts stay too low for good.",
        examples=(
            Example(
                "the last hour reaches back to a gap",
                {
                    of_server("lynceus_window_gapped", window="1h"): "1x20",
                    of_server("lynceus_window_gapped", window="5m"): "0x20",
                },
                5,
                (Told({"job": "lynceus-server", "window": "1h"}),),
            ),
            Example(
                "the gap is days old",
                {
                    of_server("lynceus_window_gapped", window="1h"): "0x20",
                    of_server("lynceus_window_gapped", window="7d"): "1x20",
                },
                5,
            ),
        ),
    ),
    Alert(
        name="LynceusSampleRatioMismatch",
        # One alert of a surface, whichever of the two says so; a p-value names its surface `experiment`.
        expr="""
            max without (instance, pod, kpi, cause) (lynceus_verdict_active{cause="mismatch"}) == 1
            or
            max without (instance, pod, experiment) (
              label_replace(lynceus_experiment_srm_pvalue, "surface", "$1", "experiment", "(.*)")
            ) < 0.001
        """,
        for_s=60,
        keep_firing_for_s=900,
        severity="warning",
        component="personalization",
        summary="The arms are not as large as they were meant to be: their comparison means nothing.",
        description="{{ $labels.surface }}: the split of users or impressions between the arms contradicts the "
        "promised shares. Lifts and drops of this surface are not judged until it is explained.",
        inhibited_by=UNTRUSTED,
        board="?surface={{ $labels.surface | urlquery }}",
        examples=(
            Example(
                "one surface by its p-value, another by its verdict, a third by both, a fourth not at all",
                {
                    of_server("lynceus_experiment_srm_pvalue", experiment="home.hero"): "0.0008x20",
                    of_server("lynceus_experiment_srm_pvalue", experiment="cart"): "0.0012x20",
                    of_server("lynceus_experiment_srm_pvalue", experiment="search"): "0.0001x20",
                    of_server("lynceus_verdict_active", surface="search", kpi="ctr", cause="mismatch"): "1x20",
                    of_server("lynceus_verdict_active", surface="item", kpi="ctr", cause="mismatch"): "1x20",
                    of_server("lynceus_verdict_active", surface="cart", kpi="ctr", cause="mismatch"): "0x20",
                    of_server("lynceus_verdict_active", surface="cart", kpi="ctr", cause="drop"): "1x20",
                },
                5,
                tuple(
                    Told({"job": "lynceus-server", "surface": surface}) for surface in ("home.hero", "search", "item")
                ),
            ),
            Example(
                "the shares are as promised",
                {of_server("lynceus_experiment_srm_pvalue", experiment="home.hero"): "0.5x20"},
                5,
            ),
        ),
    ),
    Alert(
        name="LynceusWatchPaused",
        expr="max without (instance, pod) (lynceus_watch_paused) == 1",
        for_s=60,
        keep_firing_for_s=60,
        severity="info",
        component="data",
        summary="The watch over a surface is paused: its verdicts are not renewed.",
        description="{{ $labels.surface }}: minutes are incomplete, or the arms do not have their promised shares.",
        inhibited_by=UNTRUSTED,
        board="?surface={{ $labels.surface | urlquery }}",
        examples=(
            Example(
                "one of two surfaces is paused",
                {
                    of_server("lynceus_watch_paused", surface="home.hero"): "1x20",
                    of_server("lynceus_watch_paused", surface="cart"): "0x20",
                },
                5,
                (Told({"job": "lynceus-server"} | _BY_SURFACE),),
            ),
            Example("none is", {of_server("lynceus_watch_paused", surface="home.hero"): "0x20"}, 5),
        ),
    ),
    Alert(
        name="LynceusSurfaceUnwatched",
        expr="""
            (
              max without (instance, pod) (lynceus_watch_paused) == 1
              or
              (
                sum without (arm, window) (
                  max without (instance, pod) (lynceus_window_impressions{window="1h", surface!="other"})
                ) > 1000
                unless on (surface) lynceus_watch_paused
              )
            )
            and on () time() - max(lynceus_window_end_timestamp_seconds) < 600
        """,
        for_s=1800,
        keep_firing_for_s=120,
        severity="warning",
        component="data",
        summary="Nobody has watched a surface for half an hour: a drop there would not be noticed.",
        description="{{ $labels.surface }}: its watch is paused or was never begun, while events are counted.",
        inhibited_by=(*UNTRUSTED, MISMATCH),
        board="?surface={{ $labels.surface | urlquery }}",
        examples=(
            Example(
                "one is paused, one with traffic was never begun, one has little traffic, one is watched",
                {
                    _END: "-500+60x60",
                    of_server("lynceus_watch_paused", surface="home.hero"): "1x60",
                    of_server("lynceus_watch_paused", surface="cart"): "0x60",
                    _impressions("cart", "personalized"): "9000x60",
                    _impressions("search", "personalized"): "1100x60",
                    _impressions("search", "holdout"): "200x60",
                    _impressions("item", "personalized"): "800x60",
                    _impressions("other", "personalized"): "9000x60",
                },
                40,
                (
                    Told({"job": "lynceus-server"} | _BY_SURFACE),
                    Told({"job": "lynceus-server", "surface": "search"}),
                ),
            ),
            Example(
                "nobody comes any more: there is nothing to judge",
                {
                    of_server("lynceus_watch_paused", surface="home.hero"): "1x60",
                    _impressions("search", "personalized"): "1100x60",
                    _END: "0x60",
                },
                40,
            ),
            Example(
                "what is counted is eleven minutes old: others tell that",
                {of_server("lynceus_watch_paused", surface="home.hero"): "1x60", _END: "-660+60x60"},
                40,
            ),
            Example(
                "all that has traffic is watched",
                {
                    _END: "0+60x60",
                    of_server("lynceus_watch_paused", surface="cart"): "0x60",
                    _impressions("cart", "personalized"): "9000x60",
                },
                40,
            ),
        ),
    ),
    Alert(
        name="LynceusWatchHeld",
        expr="max without (instance, pod) (lynceus_watch_held) == 1",
        for_s=900,
        keep_firing_for_s=120,
        severity="warning",
        component="data",
        summary="The watch stands still as a whole: no surface is judged.",
        description="For a quarter of an hour no minute was judged; /v1/verdicts says why.",
        inhibited_by=UNTRUSTED,
        examples=(
            Example(
                "it stands still", {of_server("lynceus_watch_held"): "1x30"}, 20, (Told({"job": "lynceus-server"}),)
            ),
            Example("it goes on", {of_server("lynceus_watch_held"): "0x30"}, 20),
        ),
    ),
)

GROUP: Final = Group("lynceus.data", "Whether what is shown can be trusted", (), ALERTS)
