"""A real Prometheus and a real Alertmanager with the rules and routes as they are generated, only faster.

What a person would wait minutes for takes seconds here: times of rules and routes are divided by `FASTER`. Nothing else
is changed but addresses, so what is proved is what is deployed.
"""

import json
import re
import shutil
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from stream_app.child import Child
from stream_app.errors import LynceusError
from stream_app.metrics.alerts_processes import HEARTBEAT
from stream_app.ports import free_port
from stream_app.rendering.generated import alerting
from stream_app.rendering.places import Places
from stream_app.rendering.scraping import prometheus_yml
from tests.e2e.hooks import PATIENCE_S, Hooks

FASTER = 60
LEAST_S = 10
SLACK_S = 3
"""For a scrape, an evaluation and a group's wait, after an alert has waited for `LEAST_S`."""
SCRAPE = "1s"
"""Many of them go into what an alert waits: on a machine that does much else one may fail, and that is no death."""
# What was told before Alertmanager was discovered is told again after a minute, if nothing else is said.
_SOON = ("--rules.alert.resend-delay=1s",)
_UNITS = {"s": 1, "m": 60, "h": 3600}


def programs() -> tuple[str, str]:
    """Return the paths of Prometheus and Alertmanager. Raises LynceusError where there is none."""
    prometheus = shutil.which("prometheus")
    alertmanager = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if prometheus is None or alertmanager is None:
        raise LynceusError(
            "no Prometheus or no Alertmanager on PATH", "Debian: apt-get install prometheus prometheus-alertmanager"
        )
    return prometheus, alertmanager


class Alerting:
    """Prometheus and Alertmanager on free ports, and whoever is told. Mutable: what is running."""

    def __init__(self, folder: Path, targets: Mapping[str, Sequence[str]]) -> None:
        """`targets`: of each job, host and port of its processes."""
        self._folder = folder
        self._targets = targets
        self._open = ExitStack()
        self._prometheus = f"127.0.0.1:{free_port()}"
        self._alertmanager = f"127.0.0.1:{free_port()}"
        self.hooks = Hooks()

    def __enter__(self) -> Self:
        try:
            self._open.enter_context(self.hooks)
            self._start()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        parameters = urllib.parse.urlencode({"query": expr})
        return list(_get(f"http://{self._prometheus}/api/v1/query?{parameters}")["data"]["result"])

    def stirring(self) -> list[str]:
        """Return what fires or is about to, in order: alert, state, and surface where it is of one."""
        alerts = (each["metric"] for each in self.query("ALERTS"))
        return sorted(f"{a['alertname']} {a['alertstate']} {a.get('surface', '')}".rstrip() for a in alerts)

    def kept_back(self) -> set[str]:
        """Return the names of the alerts that Alertmanager has, and does not send because of others."""
        alerts = _get(f"http://{self._alertmanager}/api/v2/alerts")
        return {each["labels"]["alertname"] for each in alerts if each["status"]["inhibitedBy"]}

    def wait(self, is_true: Callable[[], bool], what: str) -> None:
        """Return once `is_true()`; fail with what fires when it never is."""
        deadline = time.monotonic() + PATIENCE_S
        while not is_true():
            if time.monotonic() > deadline:
                raise AssertionError(f"never came true: {what}; stirring: {self.stirring()}")
            time.sleep(0.1)  # a poll: Prometheus has nothing to wake us with

    def _start(self) -> None:
        prometheus, alertmanager = programs()
        places = Places(*(f"{self.hooks.url}/{name}" for name in ("page", "ticket", "wall", "watchdog")))
        written = {Path(each.path).name: yaml.safe_load(each.content) for each in alerting(places)}
        written["prometheus.yml"] = self._scraping(yaml.safe_load(prometheus_yml()))
        for name, document in written.items():
            (self._folder / name).write_text(yaml.safe_dump(faster(document)), encoding="utf-8")
        self._run(prometheus, "prometheus", self._prometheus, ["--storage.tsdb.path=series", *_SOON])
        # Until the first scrapes everything looks dead, for longer than alerts wait here: nobody is told of that.
        self.wait(lambda: self.is_calm(), "all is scraped, and well")
        self._run(
            alertmanager, "alertmanager", self._alertmanager, ["--storage.path=alerts", "--cluster.listen-address="]
        )

    def pass_on(self) -> None:
        """Return when whatever was to be told because of now has been told: with a heartbeat that is later."""
        told_s = time.monotonic() + LEAST_S + SLACK_S
        self.wait(lambda: any(beat.at_s > told_s for beat in self.hooks.to("watchdog")), "the heartbeat goes on")

    def is_calm(self) -> bool:
        """Say whether everything is scraped, and nothing but the heartbeat fires or is about to, surfaces aside."""
        stirring = {each["metric"]["alertname"] for each in self.query('ALERTS{surface=""}')}
        return len(self.query("up == 1")) == sum(map(len, self._targets.values())) and stirring == {HEARTBEAT}

    def _run(self, program: str, name: str, address: str, more: Sequence[str]) -> None:
        command = [program, f"--config.file={name}.yml", f"--web.listen-address={address}", "--log.level=warn", *more]
        child = Child(command, self._folder / f"{name}.log", self._folder)
        self._open.callback(child.stop, 5.0)
        if not child.wait_until(lambda: _is_ready(address), PATIENCE_S):
            raise AssertionError(f"{name} did not start: {child.tail()}")

    def _scraping(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the configuration with our addresses; jobs that we have no process of are left out."""
        document["scrape_configs"] = [
            {"job_name": job["job_name"], "static_configs": [{"targets": list(self._targets[job["job_name"]])}]}
            for job in document["scrape_configs"]
            if job["job_name"] in self._targets
        ]
        assert len(document["scrape_configs"]) == len(self._targets)
        document["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [self._alertmanager]}]}]
        return document


def faster(document: Any) -> Any:
    """Return the document with all its waiting times divided: those of rules and routes, and of scraping."""
    if isinstance(document, list):
        return [faster(each) for each in document]
    if not isinstance(document, dict):
        return document
    made: dict[str, Any] = {}
    for name, value in document.items():
        match name:
            case "for":
                made[name] = f"{max(LEAST_S, _seconds(value) // FASTER)}s"
            case "keep_firing_for":  # not so much faster: a worker needs as long as ever to go on
                made[name] = f"{_seconds(value) // (FASTER // 3)}s"
            case "group_wait" | "group_interval" | "repeat_interval":
                made[name] = f"{max(1, _seconds(value) // FASTER)}s"
            case "scrape_interval" | "scrape_timeout":
                made[name] = SCRAPE
            case "evaluation_interval":
                made[name] = "1s"
            case _:
                made[name] = faster(value)
    return made


def _seconds(written: str) -> int:
    number, unit = re.fullmatch(r"(\d+)([smh])", written).groups()  # type: ignore[union-attr]
    return int(number) * _UNITS[unit]


def _is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
