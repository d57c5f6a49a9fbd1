"""Settings: what is known is read, what is wrong is refused by its name, and no secret is ever shown."""

from pathlib import Path

import pydantic
import pytest

from stream_app.errors import LynceusError
from stream_app.settings import Settings, environment, load, names, shown

CANARY = "canary-5ac7e1"
OTHER = {
    "LYNCEUS_APP": "shop",
    "LYNCEUS_LOG_FORMAT": "json",
    "LYNCEUS_KAFKA__BOOTSTRAP": "one.example:9092,[::1]:9093",
    "LYNCEUS_KAFKA__PARTITIONS": "12",
    "LYNCEUS_KAFKA__ISOLATION": "read_uncommitted",
    "LYNCEUS_KAFKA__API_VERSION": "2.0",
    "LYNCEUS_KAFKA__SECURITY": "SASL_SSL",
    "LYNCEUS_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
    "LYNCEUS_KAFKA__USERNAME": "lynceus",
    "LYNCEUS_KAFKA__PASSWORD": CANARY,
    "LYNCEUS_KAFKA__CA_FILE": "/etc/ca.pem",
    "LYNCEUS_REDIS__URL": "rediss://redis.example:6380/3",
    "LYNCEUS_REDIS__PASSWORD": CANARY,
    "LYNCEUS_COUNTING__CURRENCY": "CHF",
    "LYNCEUS_WORKER__FLUSH_INTERVAL_S": "0.25",
    "LYNCEUS_SERVER__BEHIND_PROXY": "true",
}


def refusal(environ: dict[str, str]) -> str:
    """Return the line with which settings are refused."""
    with pytest.raises(LynceusError) as error:
        load(environ)
    return str(error.value)


def test_without_an_environment_there_are_defaults() -> None:
    """An empty variable is one that is not set, and so is one of the tests'."""
    nothing = dict.fromkeys(names(), "") | {"LYNCEUS_TEST_KAFKA": "127.0.0.1:9092", "PATH": "/bin", "lynceus_app": "x"}
    assert Settings() == load(nothing) == load({})


@pytest.mark.parametrize("environ", [{}, OTHER], ids=["defaults", "others"])
def test_an_environment_can_be_handed_on(environ: dict[str, str]) -> None:
    """What settings say as variables is read as the same settings, by us as by a child process."""
    settings = load(environ)
    assert settings == load(environment(settings))
    assert (
        environ.items()
        <= {name: value.replace("True", "true") for name, value in environment(settings).items()}.items()
    )


def test_every_name_is_read() -> None:
    """Each variable that is listed is one that `load` knows."""
    unknown = [name for name in names() if "unknown setting" in _said({name: "x"})]
    assert (True, []) == (len(list(names())) > 30, unknown)


def _said(environ: dict[str, str]) -> str:
    try:
        load(environ)
    except LynceusError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LYNCEUS_KAFKA__BOOTSTRP", "x", "Did you mean LYNCEUS_KAFKA__BOOTSTRAP?"),
        ("LYNCEUS_QUITE_ANOTHER_THING", "x", "unknown setting"),
        ("LYNCEUS_APP", "Bad Name", "'Bad Name'"),
        ("LYNCEUS_LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("LYNCEUS_KAFKA__BOOTSTRAP", "host:port", "host:port, separated by commas"),
        ("LYNCEUS_KAFKA__BOOTSTRAP", "kafka://host:9092", "host:port, separated by commas"),
        ("LYNCEUS_KAFKA__PARTITIONS", "0", "greater than or equal to 1"),
        ("LYNCEUS_KAFKA__PARTITIONS", "many", "valid integer"),
        ("LYNCEUS_KAFKA__API_VERSION", "two", "'two'"),
        ("LYNCEUS_KAFKA__SESSION_TIMEOUT_S", "nan", "less than or equal to 86400"),
        ("LYNCEUS_KAFKA__EVENTS_TOPIC", "a topic", "'a topic'"),
        ("LYNCEUS_KAFKA__DEAD_LETTERS_TOPIC", "lynceus.events", "would be read again"),
        ("LYNCEUS_KAFKA__LATE_TOPIC", "lynceus.events", "would be read again"),
        ("LYNCEUS_KAFKA__VERDICTS_TOPIC", "lynceus.inputs", "has a purpose already"),
        ("LYNCEUS_REDIS__URL", "http://127.0.0.1", "begins with redis://"),
        ("LYNCEUS_REDIS__URL", "redis://127.0.0.1:port/0", "Port could not be cast"),
        ("LYNCEUS_REDIS__PASSWORD_FILE", "/nowhere/secret", "No such file or directory"),
        ("LYNCEUS_COUNTING__CURRENCY", "euro", "'euro'"),
        ("LYNCEUS_WORKER__METRICS_PORT", "65536", "less than or equal to 65535"),
        ("LYNCEUS_VERDICTS__SHARES", "personalized=0.9,holdout=0.2", "add up to 1"),
        ("LYNCEUS_VERDICTS__SHARES", "personalized=1", "two arms or more"),
        ("LYNCEUS_VERDICTS__SHARES", "personalized=many,holdout=few", "arm=share"),
        ("LYNCEUS_VERDICTS__BUDGET_A_YEAR", "0", "greater than 0"),
        ("LYNCEUS_VERDICTS__MARGIN", "1", "less than 1"),
        ("LYNCEUS_SERVER__REFRESH_INTERVAL_S", "0", "greater than or equal to 0.1"),
        ("LYNCEUS_SERVER__BEHIND_PROXY", "perhaps", "valid boolean"),
    ],
)
def test_what_is_wrong_is_named(name: str, value: str, words: str) -> None:
    """A name that is unknown or a value that is no good: one line with the variable and what is wrong with it."""
    line = refusal({name: value})
    assert (1, True, True) == (len(line.splitlines()), name in line, words in line), line


def test_sasl_asks_for_both_names() -> None:
    """A listener with SASL cannot be reached without user name and password; the one that is missing is named."""
    sasl = {"LYNCEUS_KAFKA__SECURITY": "SASL_PLAINTEXT"}
    lines = [
        refusal(sasl | {"LYNCEUS_KAFKA__PASSWORD": CANARY}),
        refusal(sasl | {"LYNCEUS_KAFKA__USERNAME": "lynceus"}),
    ]
    assert ["LYNCEUS_KAFKA__USERNAME", "LYNCEUS_KAFKA__PASSWORD"] == [line.partition("=")[0] for line in lines]
    assert [True, True] == ["SASL_PLAINTEXT needs it" in line for line in lines]


def test_a_secret_can_be_in_a_file(tmp_path: Path) -> None:
    """The file's content without the line's end is the secret; a file and a value together are refused."""
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    in_file = {"LYNCEUS_REDIS__PASSWORD_FILE": str(file)}
    password = load(in_file).redis.password
    assert password is not None
    assert CANARY == password.get_secret_value()
    assert "are both set. Set one of them" in refusal(in_file | {"LYNCEUS_REDIS__PASSWORD": "another"})


def test_secrets_are_not_shown() -> None:
    """Neither the settings as text, nor those in effect, nor any refusal shows a secret."""
    settings = load(OTHER)
    said = [
        repr(settings),
        str(settings),
        str(shown(settings)),
        refusal(OTHER | {"LYNCEUS_REDIS__URL": f"redis://user:{CANARY}@127.0.0.1/0"}),
        refusal(OTHER | {"LYNCEUS_REDIS__URL": f"redis://127.0.0.1/0?password={CANARY}"}),
        refusal(OTHER | {"LYNCEUS_REDIS__URL": f"unix:///run/redis.sock?username=u&password={CANARY}"}),
        refusal(OTHER | {"LYNCEUS_REDIS__PASSWROD": CANARY}),
        refusal(OTHER | {"LYNCEUS_KAFKA__PARTITIONS": "many"}),
        refusal(OTHER | {"LYNCEUS_KAFKA__LATE_TOPIC": "lynceus.events"}),
    ]
    assert [] == [text for text in said if CANARY in text]
    assert ["***", "***"] == [shown(settings)[f"LYNCEUS_{group}__PASSWORD"] for group in ("KAFKA", "REDIS")]


def test_settings_do_not_change() -> None:
    """What a process started with is what it runs with."""
    settings = load({})
    for owner in (settings, settings.kafka):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            owner.__setattr__(next(iter(type(owner).model_fields)), "x")


def test_shares_are_read_by_arm() -> None:
    """What the arms were promised, and nothing where nothing was."""
    shares = "personalized=0.8, context_blind=0.1,holdout=0.1"
    promised = [load({"LYNCEUS_VERDICTS__SHARES": text}).verdicts.promised for text in (shares, "")]
    assert [{"personalized": 0.8, "context_blind": 0.1, "holdout": 0.1}, {}] == promised
