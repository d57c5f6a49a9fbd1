"""The checkpoint holds under every simulated schedule, and stops holding when any one of its rules is taken away."""

from random import Random

import pytest
import redis

from stream_app.worker import scripts
from tests.faults.memory_redis import MemoryRedis
from tests.faults.mutants import MUTANTS
from tests.faults.simulation import KINDS, Outcome, simulate

SCENARIOS = {
    "crashes and zombies": ("kill", "stop", "rebalance", "late_command", "lost_reply"),
    "a slow and lossy network": ("late_command", "lost_request", "lost_reply", "rebalance"),
    "Redis goes back in time": ("roll_back", "kill", "rebalance", "offsets_reset"),
    "Redis is down or full": ("redis_down", "full", "rebalance"),
    "the state is lost": ("wipe", "stop", "rebalance", "kill"),
    "the broker is down": ("broker_down", "kafka_error", "lost_fetch", "rebalance"),
    "retention is faster": ("retention", "stop", "kill", "rebalance"),
    "topics are created anew": ("recreate", "kill", "rebalance"),
    "topics are created anew and fetches lost": ("recreate", "lost_fetch"),
    "nothing comes for a while": ("idle", "offsets_reset", "rebalance"),
}
SEEDS = 25
"""Schedules of each scenario. `python -m tests.faults.simulation 0 5000` tries thousands."""


def violations(outcomes: list[Outcome]) -> str:
    """Return the whole story of the first violation, and the seeds of the others."""
    bad = [outcome for outcome in outcomes if outcome.violation]
    return f"{bad[0]}\nalso the seeds {[outcome.seed for outcome in bad[1:]]}" if bad else ""


TOMBSTONES = (366,)
"""Schedules in which the last record that was counted is the same in the other log: none at all."""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whatever_happens_every_record_is_counted_once(scenario: str) -> None:
    """Under every schedule of a scenario what is stored is the log below `@off`, and in the end all of it."""
    outcomes = [simulate(seed, kinds=SCENARIOS[scenario]) for seed in range(SEEDS)]
    assert violations(outcomes) == ""
    assert set(SCENARIOS[scenario]) == {kind for outcome in outcomes for kind in outcome.faults}


def test_a_tombstone_does_not_tell_one_log_from_another() -> None:
    """A topic that is created anew is noticed, whatever its records say at the offset that was counted last."""
    outcomes = [simulate(seed, kinds=("recreate",)) for seed in TOMBSTONES]
    assert violations(outcomes) == ""


def test_any_mixture_of_faults_is_survived() -> None:
    """Each seed draws its own mixture; together they draw every kind."""
    outcomes = [simulate(seed) for seed in range(3 * SEEDS)]
    assert violations(outcomes) == ""
    assert set(KINDS) == {kind for outcome in outcomes for kind in outcome.faults}


def test_a_worker_killed_at_every_step_costs_nothing() -> None:
    """W1: before a script is sent, when Redis has run it, when its answer is there: always exactly once."""
    steps = simulate(1, kinds=()).steps
    outcomes = [simulate(1, kinds=(), kill_at=step) for step in range(1, steps + 1)]
    assert violations(outcomes) == ""


def test_a_reader_is_told_of_every_change() -> None:
    """A field never changes under one sequence number, also when Redis went back and it was written anew."""
    reused = [reused for seed in range(SEEDS) for reused in simulate(seed, kinds=("roll_back",)).reused]
    assert reused == []


MIXTURES = {
    "nonce not compared": ("stop", "wipe", "retention"),
    "last record not compared": ("recreate",),
    "starts at the group's offset": ("offsets_reset", "rebalance"),
    "unknown reply ignored": ("lost_request",),
    "holes not noticed": ("lost_fetch",),
}
"""Where a missing rule shows soonest; the others show when Redis goes back in time."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_no_rule_may_be_missing(mutant: str) -> None:
    """M1: without the rule some schedule ends in a violation that the whole protocol does not have."""
    kinds = MIXTURES.get(mutant, ("roll_back", "late_command"))
    seeds = (seed for seed in range(400) if simulate(seed, MUTANTS[mutant], kinds).violation)
    assert any(not simulate(seed, kinds=kinds).violation for seed in seeds)


def test_the_simulation_is_deterministic() -> None:
    """The same seed tells the same story, word by word."""
    assert simulate(11) == simulate(11)


def test_the_stand_in_runs_the_scripts_as_redis_does(redis_url: str) -> None:
    """Every script gives the same reply and leaves the same hash, in memory and in a real Redis."""
    chance = Random(5)
    memory = MemoryRedis(lambda key, names: None)
    names = [b"@off", b"@tok", b"@cfg", b"@log", b"@alive", b"p:1"]
    values = [b"0", b"1", b"2", b"a"]
    texts = [scripts.CLAIM, scripts.CREATE, scripts.FLUSH, scripts.SWEEP]
    with redis.Redis.from_url(redis_url) as client:
        for _ in range(3_000):
            key = chance.choice([b"{k}1", b"{k}2"])
            if chance.random() < 0.02:
                client.delete(key)
                memory.hashes.pop(key, None)
            begin = [chance.choice(values) for _ in range(chance.randrange(4))]
            pairs = [part for name in chance.sample(names, 3) for part in (name, chance.choice(values))]
            text, arguments = chance.choice(texts), begin + pairs
            assert _outcome(client.eval, text, 1, key, *arguments) == _outcome(memory.eval, text, [key], arguments)
            assert client.hgetall(key) == memory.hashes.get(key, {})


def _outcome(run, *arguments):  # whatever Redis replies, or that it refuses
    try:
        reply = run(*arguments)
    except redis.ResponseError:
        return "refused"
    if isinstance(reply, list) and reply[0] == b"ok":  # the order of a hash's fields is nobody's promise
        return dict(zip(reply[1::2], reply[2::2], strict=True))
    return reply
