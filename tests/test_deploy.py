"""What is deployed: checked as far as that goes without a container ever being started."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream_app import settings
from stream_app.errors import LynceusError
from tests.conftest import unavailable

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def ran(*command: str | Path) -> tuple[int, str]:
    """Run a command in the checkout; return its exit code, and what it said if that is not 0."""
    done = subprocess.run([str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, (done.stdout + done.stderr if done.returncode else "")


def ours() -> dict[str, dict[str, str]]:
    """Return the variables of every service that runs Lynceus."""
    return {name: s.get("environment", {}) for name, s in SERVICES.items() if s["image"].startswith("lynceus:")}


def test_the_compose_file_follows_the_specification() -> None:
    """The compose file is valid by the schema of the Compose specification."""
    assert (0, "") == ran(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_docker_compose_reads_the_compose_file() -> None:
    """Docker Compose itself accepts the file with all its profiles, where it is installed."""
    if shutil.which("docker") is None or ran("docker", "compose", "version")[0]:
        pytest.skip("no `docker compose` here: install Docker's compose plugin")
    assert (0, "") == ran("docker", "compose", "--profile", "*", "config", "--quiet")


def test_yaml_is_tidy() -> None:
    """Yamllint finds nothing in the compose file or below deploy."""
    assert (0, "") == ran(BIN / "yamllint", "--strict", "docker-compose.yml", "deploy")


def test_the_image_recipe_is_clean() -> None:
    """Hadolint finds nothing in the Dockerfile."""
    assert (0, "") == ran(BIN / "hadolint", "deploy/Dockerfile")


def test_prometheus_reads_its_configuration() -> None:
    """Promtool finds nothing wrong with what Prometheus is told to scrape."""
    if (promtool := shutil.which("promtool")) is None:
        unavailable(LynceusError("promtool is not on PATH", "Debian: apt-get install prometheus"))
    assert (0, "") == ran(promtool, "check", "config", PROMETHEUS)


def test_prometheus_scrapes_where_the_services_listen() -> None:
    """The ports that Prometheus asks are those that the compose file gives to worker, server and collector."""
    jobs = {job["job_name"]: job for job in yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]}
    found = jobs["lynceus-worker"]["dns_sd_configs"][0]
    asked = {found["names"][0]: found["port"]}
    targets = [jobs[f"lynceus-{role}"]["static_configs"][0]["targets"] for role in ("server", "collector")]
    for target in itertools.chain(*targets):
        host, _, port = target.partition(":")
        asked[host] = int(port)
    worker, server = settings.load(ours()["worker"]).worker, settings.load(ours()["server"]).server
    collector = settings.load(ours()["collector"]).collector
    assert {"worker": worker.metrics_port, "server": server.port, "collector": collector.metrics_port} == asked


@pytest.mark.parametrize("service", ours())
def test_lynceus_accepts_what_it_is_told(service: str) -> None:
    """Every LYNCEUS_* variable of the compose file is a setting, and its value is accepted."""
    told = ours()[service]
    effective = settings.environment(settings.load(told))
    assert {name: value.lower() for name, value in told.items()} == {n: effective[n].lower() for n in told}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_can_do_little_harm(service: str) -> None:
    """No service runs as root, writes to its image, keeps a capability, gains one, or takes all the memory."""
    told = SERVICES[service]
    user, _, group = told["user"].partition(":")
    assert (True, ["ALL"], ["no-new-privileges:true"], True, True, True) == (
        told["read_only"],
        told["cap_drop"],
        told["security_opt"],
        int(user) > 0 and int(group) > 0,
        bool(told["mem_limit"]),
        bool(told["pids_limit"]),
    )


@pytest.mark.parametrize("service", SERVICES)
def test_only_this_machine_reaches_a_service(service: str) -> None:
    """Whatever is published is published on loopback."""
    ports = SERVICES[service].get("ports", [])
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_images_are_pinned() -> None:
    """Every image names a version with its patch, and ours is the version of the package."""
    tags = {service["image"].partition(":")[0]: service["image"].partition(":")[2] for service in SERVICES.values()}
    loose = [image for image, tag in tags.items() if not re.fullmatch(r"v?\d+\.\d+\.\d+", tag)]
    assert ([], VERSION) == (loose, tags["lynceus"])


def test_the_wheel_has_what_the_image_needs(tmp_path: Path) -> None:
    """The built package brings the wall's files, the beacon, the recorded clicks, and all the licences."""
    assert (0, "") == ran(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = {f.relative_to(ROOT).as_posix() for f in (ROOT / "stream_app/serving/static").iterdir()}
    wanted |= {f.relative_to(ROOT).as_posix() for f in (ROOT / "producers/data/open_bandit").iterdir()}
    wanted |= {"producers/static/beacon.js"}
    wanted |= {"stream_app/serving/static/uPlot.LICENSE", "producers/data/open_bandit/NOTICE.md"}
    wanted |= {f"lynceus-{VERSION}.dist-info/licenses/LICENSE"}
    assert set() == wanted - inside


def test_the_build_context_has_what_the_recipe_copies() -> None:
    """Whatever the Dockerfile copies exists, and .dockerignore lets it through."""
    copies = re.findall(
        r"^COPY (?!--from)(.+)$", (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8"), re.MULTILINE
    )
    sources = {source for copy in copies for source in copy.split()[:-1]}
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    allowed = {line[1:].removesuffix("/**") for line in ignore.splitlines() if line.startswith("!")}
    assert (sources, []) == (allowed, [s for s in sources if not (ROOT / s).exists()])


def test_make_lists_its_targets() -> None:
    """`make` alone prints every target with what it does."""
    if shutil.which("make") is None:
        unavailable(LynceusError("make is not on PATH", "Debian: apt-get install make"))
    done = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    listed = re.findall(r"^  make (\w+) +\S", done.stdout, re.MULTILINE)
    defined = re.findall(r"^(\w+):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(defined) == sorted(listed)


def test_ci_is_executable() -> None:
    """`.ci/run` and `deploy/bootstrap.sh` can be run as they stand, and the shell can parse them."""
    scripts = [ROOT / ".ci" / "run", ROOT / "deploy" / "bootstrap.sh"]
    assert [(True, (0, ""))] * 2 == [(os.access(s, os.X_OK), ran("bash", "-n", s)) for s in scripts]
