"""The collector over librdkafka's mock cluster: who may send what, and how it is answered."""

import asyncio
import base64
import gzip
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from producers.collect_api import Api
from producers.collect_delivery import Delivery
from producers.collector import BEACON
from producers.pseudonyms import Pseudonyms
from stream_app.core.events import PageView
from stream_app.embedded import KAFKA_API_VERSION, MockKafka
from stream_app.errors import LynceusError
from stream_app.ports import free_port
from stream_app.settings import CollectorSettings, KafkaSettings
from tests.collecting import SHOP, Collector, collecting, examples, keys, now_ms, page_view
from tests.foreign import records
from tests.producers import landed

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kafka() -> AsyncIterator[KafkaSettings]:
    with MockKafka({"lynceus.events": 8}) as cluster:
        yield KafkaSettings(bootstrap=cluster.bootstrap, api_version=KAFKA_API_VERSION)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_to_all(kafka: KafkaSettings) -> AsyncIterator[Collector]:
    """Yield a collector without keys, for pages of one origin."""
    async with collecting(kafka, origins=SHOP, requests_per_s=1e6) as running:
        yield running


async def test_every_event_has_its_answer(open_to_all: Collector) -> None:
    """A mixed batch is 207: the good ones are in Kafka, the bad one is told its field and its reason."""
    good, bad = page_view(1), page_view(2, ts=1_700_000_000)
    answer = await open_to_all.post([good, bad, page_view(3)])
    detail = "Expected `int` >= 946684800000 - at `$.ts`"
    assert (207, [
        {"status": "accepted", "id": "p-1"},
        {"status": "rejected", "reason": "timestamp_unit", "field": "ts", "detail": detail},
        {"status": "accepted", "id": "p-3"},
    ]) == (answer.status, answer.body["events"])  # fmt: skip
    assert [2, 1, 0] == [answer.body[name] for name in ("accepted", "rejected", "unavailable")]


@pytest.mark.parametrize(
    ("body", "options", "status"),
    [
        (page_view(), {}, 200),
        ([], {}, 200),
        (page_view(page=""), {}, 207),
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"7", {}, 400),
        (gzip.compress(json.dumps(page_view()).encode()), {"headers": {"Content-Encoding": "gzip"}}, 200),
        (b"this is no gzip", {"headers": {"Content-Encoding": "gzip"}}, 400),
        (page_view(), {"headers": {"Content-Encoding": "br"}}, 415),
        (gzip.compress(b"[]")[:-1], {"headers": {"Content-Encoding": "gzip"}}, 400),
        (gzip.compress(b" " * 20_000_000), {"headers": {"Content-Encoding": "gzip"}}, 413),
        (b" " * 2_000_000, {}, 413),
        ([1] * 1_001, {}, 413),
        (page_view(), {"params": {"sent_at": "yesterday"}}, 400),
        (page_view(), {"headers": {"Lynceus-Sent-At": "1763769600"}}, 400),
        (page_view(), {"params": {"long": "x" * 3_000}}, 414),
        (page_view(), {"path": "/v1/nothing"}, 404),
        (page_view(), {"path": "/livez"}, 405),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",  # bodies carry the time: no name for a test
)
async def test_the_status_says_what_happened(
    body: Any, options: dict[str, Any], status: int, open_to_all: Collector
) -> None:
    """200 all taken, 207 some refused, 400 unreadable, 413 too much; and JSON always."""
    answer = await open_to_all.post(body, **options)
    assert (status, "application/json") == (answer.status, answer.headers["Content-Type"])


async def test_lines_are_events(open_to_all: Collector) -> None:
    """NDJSON: each line is judged by itself."""
    lines = json.dumps(page_view(1)).encode() + b"\n{\n\n" + json.dumps(page_view(2)).encode() + b"\n"
    answer = await open_to_all.post(lines, headers={"Content-Type": "application/x-ndjson"})
    assert ["accepted", "rejected", "accepted"] == [event["status"] for event in answer.body["events"]]


@pytest.mark.parametrize("where", ["envelope", "header", "address"])
async def test_a_wrong_clock_is_corrected_and_told(where: str, open_to_all: Collector) -> None:
    """A sender that is an hour ahead, and says when it sent, is put right; the answer says by how much."""
    ahead = now_ms() + 3_600_000
    event = page_view(ts=ahead - 500)
    body = {"events": [event], "sent_at": ahead} if where == "envelope" else event
    options: dict[str, Any] = {"header": {"headers": {"Lynceus-Sent-At": str(ahead)}}}.get(where, {})
    options |= {"address": {"params": {"sent_at": str(ahead)}}}.get(where, {})
    corrected, as_it_is = await open_to_all.post(body, **options), await open_to_all.post(event)
    assert (200, 207) == (corrected.status, as_it_is.status)
    assert -3_600_000 <= corrected.body["corrected_ms"] <= -3_590_000
    assert "future" == as_it_is.body["events"][0]["reason"]


async def test_a_slow_upload_is_no_slow_clock(kafka: KafkaSettings) -> None:
    """The time of arrival is when the request began: a body that takes a minute moves nothing."""
    now, begun = [now_ms()], asyncio.Event()

    def clock() -> int:
        begun.set()
        return now[0]

    async def slowly(body: bytes) -> AsyncIterator[bytes]:
        yield body[:10]
        await begun.wait()
        now[0] += 60_000
        yield body[10:]

    delivery = await asyncio.to_thread(Delivery, kafka, 1_048_576, 5.0)
    api = Api(CollectorSettings(), 60_000, delivery, b"", clock_ms=clock)
    body = json.dumps(page_view(ts=now[0])).encode()
    try:
        async with TestClient(TestServer(api.application())) as client:
            answer = await client.post(f"/v1/events?sent_at={now[0]}", data=slowly(body))
            assert (200, 0) == (answer.status, (await answer.json())["corrected_ms"])
    finally:
        await delivery.close(1.0)


async def test_only_pages_of_the_list_may_send(open_to_all: Collector) -> None:
    """A browser is told for pages of the allowed origin that they may send and read; all others are refused."""
    url = f"{open_to_all.url}/v1/events"
    found = []
    for origin in (SHOP, "https://evil.example", "null", f"{SHOP}.evil.example"):
        async with open_to_all.session.options(url, headers={"Origin": origin}) as preflight:
            allowed = preflight.headers.get("Access-Control-Allow-Origin")
        sent = await open_to_all.post(page_view(), headers={"Origin": origin})
        found.append((preflight.status, allowed, sent.status, sent.headers.get("Access-Control-Allow-Origin")))
    assert [(204, SHOP, 200, SHOP), *[(403, None, 403, None)] * 3] == found


async def test_keys_open_the_door(kafka: KafkaSettings) -> None:
    """A server's key counts in the header only; a page's key anywhere, but only with the page's origin."""
    made = keys()
    page = {"Origin": SHOP}
    async with collecting(kafka, origins=SHOP, **made.settings) as running:

        async def status(key_in_body: str | None = None, **options: Any) -> int:
            body = {"events": [page_view()]} | ({"key": key_in_body} if key_in_body else {})
            return (await running.post(body, **options)).status

        basic = "Basic " + base64.b64encode(f"{made.server}:".encode()).decode()
        found = {
            "none": await status(),
            "wrong": await status(headers={"Authorization": "Bearer nonsense"}),
            "no base64": await status(headers={"Authorization": "Basic %"}),
            "server": await status(headers={"Authorization": f"Bearer {made.server}"}),
            "server, basic": await status(headers={"Authorization": basic}),
            "server in the address": await status(params={"key": made.server}, headers=page),
            "server in the body": await status(made.server, headers=page),
            "page in the address": await status(params={"key": made.browser}, headers=page),
            "page in the body": await status(made.browser, headers=page),
            "page's key without a page": await status(made.browser),
            "page without a key": await status(headers=page),
        }
    assert {
        "none": 401,
        "wrong": 401,
        "no base64": 401,
        "server": 200,
        "server, basic": 200,
        "server in the address": 401,
        "server in the body": 401,
        "page in the address": 200,
        "page in the body": 200,
        "page's key without a page": 403,
        "page without a key": 401,
    } == found


async def test_who_comes_too_often_is_told_when_to_come_again(kafka: KafkaSettings) -> None:
    """Beyond the burst the answer is 429 with Retry-After; behind a proxy, clients are told apart by its word."""
    async with collecting(kafka, requests_per_s=1, behind_proxy=True) as running:

        async def of(address: str) -> tuple[int, str | None]:
            answer = await running.post([], headers={"X-Forwarded-For": f"spoofed, {address}"})
            return answer.status, answer.headers.get("Retry-After")

        found = [await of("192.0.2.1") for _ in range(3)] + [await of("192.0.2.2")]
    assert [(200, None), (200, None), (429, "1"), (200, None)] == found


async def test_the_beacon_is_served_to_pages(open_to_all: Collector) -> None:
    """The script comes as JavaScript, small enough, for any page, and is not sent again when it has not changed."""
    async with open_to_all.session.get(f"{open_to_all.url}/beacon.js") as first:
        body, kind, tag = await first.read(), first.headers["Content-Type"], first.headers["ETag"]
        policy = first.headers["Cross-Origin-Resource-Policy"]
    async with open_to_all.session.get(f"{open_to_all.url}/beacon.js", headers={"If-None-Match": tag}) as again:
        status = again.status
    assert (BEACON.read_bytes(), "text/javascript; charset=utf-8", "cross-origin", 304) == (body, kind, policy, status)
    assert len(gzip.compress(body, mtime=0)) < 4_096


async def test_the_collector_counts_what_it_answers(kafka: KafkaSettings) -> None:
    """Events by type and reason, requests by status, the corrected ones, and Kafka's state are exported."""
    async with collecting(kafka) as running:
        await running.post([page_view(1), page_view(2), {"type": "nope"}])
        await running.post({"events": [page_view(3, ts=now_ms() - 60_000)], "sent_at": now_ms() - 60_000})
        await running.post(b"{")
        found = await running.metrics()
        ready = [await running.status(path) for path in ("/livez", "/readyz", "/metrics")]
    counted = {k.removeprefix("lynceus_collector_"): v for k, v in found.items() if "seconds" not in k}
    assert {
        'accepted_events_total{event="page_view"}': 3,
        'rejected_events_total{reason="unknown_type"}': 1,
        'requests_total{status="200"}': 1,
        'requests_total{status="207"}': 1,
        'requests_total{status="400"}': 1,
        "corrected_events_total": 1,
        "kafka_up": 1,
    } == {name: value for name, value in counted.items() if not name.startswith("lynceus_build")}
    assert 3 == found["lynceus_collector_request_seconds_count"]
    assert [200, 200, 404] == ready  # what is counted is seen inside only


async def test_an_adapter_has_an_address_of_its_own(kafka: KafkaSettings) -> None:
    """Records of another system come to their own path; what they become is delivered, what they do not is told."""

    def from_hits(record: object) -> tuple[list[Any], list[tuple[str, str]]]:
        if not isinstance(record, dict) or "page" not in record:
            return [], [("page", "a hit is of a page")]
        return [PageView(id=record["hit"], ts=now_ms(), user="u-1", page=record["page"])], []

    delivery = await asyncio.to_thread(Delivery, kafka, 1_048_576, 5.0)
    api = Api(CollectorSettings(), 60_000, delivery, b"", {"hits": from_hits})
    try:
        async with TestClient(TestServer(api.application())) as client:
            hits = [{"hit": "h-1", "page": "/"}, {"hit": "h-2"}]
            one = await client.post("/v1/hits", json={"hit": "h-3", "page": "/", "events": []})
            both = await client.post("/v1/hits", json=hits)
            found = [(one.status, (await one.json())["accepted"]), (both.status, (await both.json())["events"])]
    finally:
        await delivery.close(1.0)
    refused = {"status": "rejected", "reason": "foreign", "field": "page", "detail": "a hit is of a page"}
    assert [(200, 1), (207, [{"status": "accepted", "id": "h-1"}, refused])] == found


async def test_a_segment_webhook_sends_pseudonyms(kafka: KafkaSettings) -> None:
    """What Segment posts arrives as events, under the pseudonyms of the SDK, and addresses never do."""
    key = "a secret of sixteen bytes and more"
    call = records("segment")["page"] | {"userId": "jane@example.com"}
    async with collecting(kafka, pseudonym_key=key, pseudonym_key_id="k7") as running:
        answer = await running.post(call, "/v1/segment")
    pseudonym = Pseudonyms({"k7": key.encode()}, "k7").of("jane@example.com")
    keys_landed = [user for user, _ in await asyncio.to_thread(landed.records, kafka)]
    assert (200, 1, 1) == (answer.status, answer.body["accepted"], keys_landed.count(pseudonym.encode()))


async def test_nobody_listens_to_the_world_by_mistake(kafka: KafkaSettings) -> None:
    """A bind beyond loopback needs a key or a word that something in front authenticates."""
    with pytest.raises(LynceusError, match=r"LYNCEUS_COLLECTOR__HOST=0\.0\.0\.0 .*--new-key"):
        async with collecting(kafka, host="0.0.0.0"):
            pass
    async with collecting(kafka, host="0.0.0.0", key_hashes=keys().settings["key_hashes"]) as running:
        port = running.url.rpartition(":")[2]
        async with running.session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert 200 == answer.status


async def test_a_port_in_use_is_one_clear_line(kafka: KafkaSettings) -> None:
    """The port and the setting are named, for both doors."""
    port = free_port()
    async with collecting(kafka, port=port):
        with pytest.raises(LynceusError, match=rf"port {port} on 127.0.0.1 is in use.*LYNCEUS_COLLECTOR__PORT"):
            async with collecting(kafka, port=port):
                pass
        with pytest.raises(LynceusError, match=r"in use.*LYNCEUS_COLLECTOR__METRICS_PORT"):
            async with collecting(kafka, metrics_port=port):
                pass


SEED = 20_260_701
TOKENS = [
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"null", b"-", b"1e999", b"\\u0000", b"\\ud800", b"\xff", b"\n", b"NaN",
    b'"ts":', b'"events":', b'"sent_at":', b"99999999999999999999", b'"type":"order"', b"\xef\xbb\xbf",
]  # fmt: skip
TYPES = ["application/json", "text/plain", "application/x-ndjson", "", "multipart/form-data", "x; charset="]


def mutated(chance: random.Random, corpus: list[bytes]) -> bytes:
    """Return one of the bodies, changed in some places: bytes flipped, parts cut, doubled, or put in."""
    body = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
        start = chance.randrange(len(body) + 1)
        end = min(len(body), start + chance.choice((0, 1, 1, 8, 64)))
        match chance.randrange(4):
            case 0:
                del body[start:end]
            case 1:
                body[start:end] = chance.choice(TOKENS)
            case 2:
                body[start:start] = body[start:end] * chance.choice((1, 1, 40))
            case _:
                body[start:end] = chance.randbytes(end - start)
    return bytes(body)


async def test_ten_thousand_odd_bodies_are_all_answered(open_to_all: Collector) -> None:
    """Whatever comes is answered by 200, 207 or a 4xx: never by a fault of ours, and the collector stays ready."""
    print(f"seed {SEED}")  # noqa: T201  # a failing run shows how to repeat it
    chance = random.Random(SEED)
    events = [json.dumps(one).encode() for one in examples()]
    corpus = [*events, b"[" + b",".join(events[:5]) + b"]", b"\n".join(events[:5])]
    corpus += [b'{"events":[' + events[0] + b'],"sent_at":' + str(now_ms()).encode() + b',"key":"k"}']
    corpus += [gzip.compress(corpus[0])]
    statuses: Counter[int] = Counter()

    async def client() -> None:
        while (left := 10_000 - sum(statuses.values()) - in_work[0]) > 0 and left:
            in_work[0] += 1
            headers = {"Content-Type": chance.choice(TYPES)}
            if chance.random() < 0.05:
                headers["Content-Encoding"] = chance.choice(("gzip", "deflate", "nonsense"))
            if chance.random() < 0.05:
                headers["Lynceus-Sent-At"] = chance.choice(("0", "-1", "x" * 50, str(now_ms()), "٣"))
            answer = await open_to_all.post(mutated(chance, corpus), headers=headers)
            statuses[answer.status] += 1
            in_work[0] -= 1

    in_work = [0]
    await asyncio.gather(*(client() for _ in range(64)))
    assert (10_000, set()) == (statuses.total(), set(statuses) - {200, 207, 400, 413, 415})
    assert min(statuses[200], statuses[207], statuses[400]) > 500
    assert 200 == await open_to_all.status("/readyz")
