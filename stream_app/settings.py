"""Every knob, in one place: `LYNCEUS_*` environment variables, validated once, named in the error when wrong.

Nested groups are separated by two underscores: `LYNCEUS_KAFKA__BOOTSTRAP`. Secrets may also be read from a file:
`LYNCEUS_REDIS__PASSWORD_FILE`. Unknown names are refused, so a typing error cannot pass for a setting.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from stream_app.errors import LynceusError

PREFIX = "LYNCEUS_"
Port = Annotated[int, Field(ge=0, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Topic = Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,249}$")]
_ORIGIN = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:,\[\]/@]+)(:[0-9]{1,5})?")


_SECRETS = ("PASSWORD", "PSEUDONYM_KEY")
"""How the names of settings end that are shown nowhere."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Group):
    """Where the events are, and how to reach them."""

    bootstrap: str = "127.0.0.1:9092"
    events_topic: Topic = "lynceus.events"
    dead_letters_topic: Topic = "lynceus.dead-letters"
    late_topic: Topic = "lynceus.late"
    inputs_topic: Topic = "lynceus.inputs"
    verdicts_topic: Topic = "lynceus.verdicts"
    partitions: Annotated[int, Field(ge=1, le=4096)] = 8
    replication: Annotated[int, Field(ge=1, le=7)] = 1
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    api_version: str | None = Field(
        None, description="for brokers that cannot negotiate it, e.g. 2.0", pattern=r"^[0-9]{1,2}(\.[0-9]{1,2})?$"
    )
    session_timeout_s: Seconds = 10.0
    connect_timeout_s: Seconds = 10.0
    security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    username: str | None = Field(None, validate_default=True)
    password: SecretStr | None = Field(None, validate_default=True)
    ca_file: Path | None = None

    # Each fault is told of the field that has it: one told of the group would show all its values.
    @field_validator("bootstrap")
    @classmethod
    def _names_brokers(cls, bootstrap: str) -> str:
        if not all(_ADDRESS.fullmatch(address.strip()) for address in bootstrap.split(",")):
            raise ValueError("brokers are host:port, separated by commas")
        return bootstrap

    @field_validator("dead_letters_topic", "late_topic")
    @classmethod
    def _is_set_apart(cls, topic: str, info: ValidationInfo) -> str:
        if topic == info.data.get("events_topic"):
            raise ValueError("this is the topic of the events: what is set apart there would be read again, for ever")
        return topic

    @field_validator("inputs_topic")
    @classmethod
    def _is_its_own(cls, topic: str, info: ValidationInfo) -> str:
        if topic in (info.data.get(name) for name in ("events_topic", "dead_letters_topic", "late_topic")):
            raise ValueError("this topic has a purpose already; inputs need one of their own, which is compacted")
        return topic

    @field_validator("verdicts_topic")
    @classmethod
    def _is_for_verdicts(cls, topic: str, info: ValidationInfo) -> str:
        taken = ("events_topic", "dead_letters_topic", "late_topic", "inputs_topic")
        if topic in (info.data.get(name) for name in taken):
            raise ValueError("this topic has a purpose already; verdicts need one of their own")
        return topic

    @field_validator("username", "password")
    @classmethod
    def _is_known_to_sasl(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and str(info.data.get("security", "")).startswith("SASL"):
            raise ValueError(f"{info.data['security']} needs it")
        return value

    @property
    def api_version_tuple(self) -> tuple[int, int] | None:
        """`api_version` as kafka-python wants it."""
        if self.api_version is None:
            return None
        major, _, minor = self.api_version.partition(".")
        return int(major), int(minor or 0)


class RedisSettings(_Group):
    """The state of record. The URL carries no credentials: it is printed."""

    url: str = "redis://127.0.0.1:6379/0"
    username: str | None = None
    password: SecretStr | None = None
    timeout_s: Seconds = 5.0

    @field_validator("url")
    @classmethod
    def _carries_no_credentials(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("a Redis URL begins with redis://, rediss:// or unix://")
        if parts.password or parts.username or {"username", "password"} & parse_qs(parts.query).keys():
            raise ValueError(
                "credentials do not belong into a URL, which is printed: use LYNCEUS_REDIS__USERNAME and "
                "LYNCEUS_REDIS__PASSWORD"
            )
        if parts.port == 0:  # a port that is no number is refused by asking for it
            raise ValueError("port 0 is no address")
        return url


class CountingSettings(_Group):
    """What changes the meaning of a count. A change here needs new state: it is part of the stored configuration.

    Except `families`: the others go on when one is added or left out.
    """

    families: str = Field("all", description="of metrics, separated by commas", pattern=r"^[a-z_]+(,[a-z_]+)*$")
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"
    click_window_s: Annotated[int, Field(ge=1, le=86_400)] = 600
    view_conversion_window_s: Annotated[int, Field(ge=1, le=28 * 86_400)] = 86_400
    click_conversion_window_s: Annotated[int, Field(ge=1, le=28 * 86_400)] = 7 * 86_400
    session_gap_s: Annotated[int, Field(ge=60, le=86_400)] = 1_800
    out_of_orderness_s: Annotated[int, Field(ge=0, le=3_600)] = 10
    lateness_s: Annotated[int, Field(ge=0, le=3_600)] = 300
    future_s: Annotated[int, Field(ge=0, le=3_600)] = 60
    max_slices: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    # Half of it, a generation, is what just fits into a dictionary of 2**17 places: one more would double it.
    max_remembered: Annotated[int, Field(ge=1_000, le=10_000_000)] = 174_000


class WorkerSettings(_Group):
    """The counting process."""

    flush_interval_s: Annotated[float, Field(ge=0.05, le=10)] = 0.5
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9101
    memory_mb: Annotated[int, Field(ge=64, le=1_048_576)] = 512


class ServerSettings(_Group):
    """The reading process: exporter, API and wall."""

    host: str = "127.0.0.1"
    port: Port = 8080
    refresh_interval_s: Annotated[float, Field(ge=0.1, le=10)] = 0.5
    title: str = Field("production", max_length=60)
    behind_proxy: bool = Field(False, description="allow a non-loopback bind; something in front authenticates")


class VerdictsSettings(_Group):
    """What is asked of the watch over personalization; all servers of an app must have the same."""

    budget_a_year: float = Field(1.0, gt=0, le=100_000, description="false alarms of drops, over all surfaces")
    notices_a_year: float = Field(12.0, gt=0, le=100_000, description="false findings of every other kind")
    margin: float = Field(0.05, ge=0, lt=1, description="how far the lift may breathe without an incident")
    shares: str = Field("", description="promised to the arms, e.g. personalized=0.9,holdout=0.1")
    srm_alpha: float = Field(0.001, gt=0, lt=1, description="chance a day of a mismatch where there is none")
    settle_s: int = Field(86_400, ge=0, le=28 * 86_400, description="nothing is said of a surface before")
    surfaces: int = Field(20, ge=1, le=100, description="that are watched: they share the budget")
    history: int = Field(500, ge=1, le=10_000, description="verdicts that are remembered")

    @field_validator("shares")
    @classmethod
    def _are_shares(cls, shares: str) -> str:
        parts = [part.partition("=") for part in _parts(shares)]
        try:
            amounts = [float(amount) for _, _, amount in parts]
        except ValueError:
            amounts = [-1.0]
        arms = [arm.strip() for arm, _, _ in parts]
        is_good = all(0 < amount <= 1 for amount in amounts) and all(arms) and len(set(arms)) == len(arms) != 1
        if not is_good or (amounts and abs(sum(amounts) - 1) > 1e-6):
            raise ValueError("shares are arm=share of two arms or more, separated by commas, and add up to 1")
        return shares

    @property
    def promised(self) -> Mapping[str, float]:
        """`shares`, by arm."""
        parts = (part.partition("=") for part in _parts(self.shares))
        return {arm.strip(): float(amount) for arm, _, amount in parts}


class CollectorSettings(_Group):
    """The HTTP door for events, and what the browser beacon talks to."""

    host: str = "127.0.0.1"
    port: Port = 8090
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 9102
    behind_proxy: bool = Field(False, description="something in front authenticates, and names the client")
    key_hashes: str = Field("", description="of keys for servers, `sha256:<hex>`, separated by commas")
    browser_key_hashes: str = Field("", description="of keys that pages show to everybody")
    origins: str = Field("", description="of the pages that may send, separated by commas")
    requests_per_s: Annotated[float, Field(ge=0.1, le=1e6)] = 50.0
    max_body_bytes: Annotated[int, Field(ge=1_024, le=16 * 1024 * 1024)] = 1_048_576
    in_flight_bytes: Annotated[int, Field(ge=1_048_576, le=4 * 1024**3)] = 64 * 1024 * 1024
    patience_s: Annotated[float, Field(ge=0.5, le=120)] = 5.0
    skew_s: Annotated[float, Field(ge=0.1, le=86_400)] = 10.0
    pseudonym_key: SecretStr | None = Field(None, description="under which ids in foreign records become pseudonyms")
    pseudonym_key_id: str = "k1"

    @field_validator("key_hashes", "browser_key_hashes")
    @classmethod
    def _are_hashes(cls, hashes: str) -> str:
        if not all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in _parts(hashes)):
            raise ValueError("a hash is sha256:<64 hex digits>, as `lynceus collect --new-key` prints it")
        return hashes

    @field_validator("origins")
    @classmethod
    def _are_origins(cls, origins: str) -> str:
        if not all(_ORIGIN.fullmatch(one) for one in _parts(origins)):
            raise ValueError("an origin is https://host or https://host:port, without a path and without wildcards")
        return origins

    @property
    def allowed_origins(self) -> frozenset[str]:
        """`origins`, one by one, as browsers write them."""
        return frozenset(one.lower() for one in _parts(self.origins))

    @property
    def key_digests(self) -> tuple[bytes, ...]:
        """`key_hashes`, as bytes."""
        return tuple(bytes.fromhex(one.removeprefix("sha256:")) for one in _parts(self.key_hashes))

    @property
    def browser_key_digests(self) -> tuple[bytes, ...]:
        """`browser_key_hashes`, as bytes."""
        return tuple(bytes.fromhex(one.removeprefix("sha256:")) for one in _parts(self.browser_key_hashes))


class DecisionsSettings(_Group):
    """What servers publish in Redis for `stream_app.decisions`."""

    publish: bool = True
    windows: str = Field("5m,1h,24h", description="separated by commas", pattern=r"^[0-9]+[mhd](,[0-9]+[mhd])*$")
    max_surfaces: Annotated[int, Field(ge=1, le=1_000)] = 50
    max_entities: Annotated[int, Field(ge=1, le=10_000)] = 200

    @property
    def published_windows(self) -> tuple[str, ...]:
        """`windows`, one by one."""
        return tuple(dict.fromkeys(_parts(self.windows)))


class Settings(BaseSettings):
    """All settings. Frozen: what a process started with is what it runs with."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, env_ignore_empty=True
    )

    app: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,40}$", description="names the group and the state")] = (
        "lynceus"
    )
    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    counting: CountingSettings = CountingSettings()
    worker: WorkerSettings = WorkerSettings()
    server: ServerSettings = ServerSettings()
    verdicts: VerdictsSettings = VerdictsSettings()
    collector: CollectorSettings = CollectorSettings()
    decisions: DecisionsSettings = DecisionsSettings()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing by itself: `load` passes the environment in, so a test can pass another."""
        return (init_settings,)


def is_loopback(host: str) -> bool:
    """Say whether a bind to `host` is reachable from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names() -> Iterator[str]:
    """Yield every environment variable that is a setting."""
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, _Group):
            for inner, inner_field in kind.model_fields.items():
                yield f"{PREFIX}{name}__{inner}".upper()
                if inner_field.annotation == SecretStr | None:
                    yield f"{PREFIX}{name}__{inner}_FILE".upper()
        else:
            yield f"{PREFIX}{name}".upper()


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Raises LynceusError that names the variable, the value and the remedy.
    """
    environ = os.environ if environ is None else environ
    known = set(names())
    tree: dict[str, Any] = {}
    for name, value in sorted(environ.items()):
        # LYNCEUS_TEST_* configures the tests, never the product.
        if not name.startswith(PREFIX) or name.startswith(f"{PREFIX}TEST_") or value == "":
            continue
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            remedy = f"Did you mean {near[0]}?" if near else "`lynceus config` lists the settings"
            raise LynceusError(f"unknown setting {name}", remedy)
        path = name.removeprefix(PREFIX).lower().split("__")
        if path[-1].endswith("_file") and name.removesuffix("_FILE") in known:
            if environ.get(name.removesuffix("_FILE")):
                raise LynceusError(f"{name} and {name.removesuffix('_FILE')} are both set", "Set one of them")
            value = _read_secret(name, value)
            path[-1] = path[-1].removesuffix("_file")
        branch = tree
        for step in path[:-1]:
            branch = branch.setdefault(step, {})
        branch[path[-1]] = value
    try:
        return Settings(**tree)
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + "__".join(str(step) for step in first["loc"]).upper()
        is_secret = name.endswith(_SECRETS) or "credentials" in first["msg"]
        value = "***" if is_secret else repr(first["input"])
        raise LynceusError(f"{name}={value}: {first['msg']}", "`lynceus config` shows every setting") from None


def shown(settings: Settings) -> dict[str, str]:
    """Return the settings in effect by their variables' names, secrets masked, unset ones empty."""
    secrets = {name for name in names() if name.endswith(_SECRETS)}
    values = environment(settings)
    return {
        name: "***" if name in secrets and name in values else values.get(name, "")
        for name in names()
        if not name.endswith("_FILE") or name.endswith("CA_FILE")
    }


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that make another process load exactly these settings."""
    flat: dict[str, str] = {}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        group = value if isinstance(value, _Group) else None
        for inner in type(group).model_fields if group else [""]:
            leaf = getattr(group, inner) if group else value
            if leaf is not None:
                key = f"{PREFIX}{name}__{inner}" if group else f"{PREFIX}{name}"
                flat[key.upper()] = leaf.get_secret_value() if isinstance(leaf, SecretStr) else str(leaf)
    return flat


def example() -> str:
    """Return every setting with its default as a file of variables: what `.env.example` holds. Empty = not set."""
    defaults = environment(Settings())
    lines = [
        "# Generated by `lynceus config --example`: every setting with its default; what is empty is not set.",
        "# Lynceus reads variables, not this file. A shell passes it on with: set -a; . ./.env; set +a",
    ]
    group = ""
    for name in names():
        first = name.removeprefix(PREFIX).lower().partition("__")[0]
        kind = Settings.model_fields[first].annotation
        if first != group and isinstance(kind, type) and issubclass(kind, _Group):
            lines += ["", f"# {first}: {(kind.__doc__ or '').splitlines()[0]}"]
        group = first
        lines.append(f"{name}={defaults.get(name, '')}")
    return "\n".join(lines) + "\n"


def _parts(listed: str) -> list[str]:
    return [part for one in listed.split(",") if (part := one.strip())]


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise LynceusError(f"{name}={path!r}: {error.strerror}", "Name a readable file with the secret") from None
