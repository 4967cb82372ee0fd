"""Kept responses: each owner retrieves and deletes what is theirs."""

import asyncio
import json
import sqlite3

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.drivers.simulator.samples import responses_body, responses_frames
from antiphon.settings import Key, Provider, Secret, Server
from gateway.wire import wire
from serving import Clock, serving, settings_for
from waiting import eventually

PATH = "/v1/responses"
REQUEST = {"model": "up/gpt-test", "input": "Hi"}
KEYS = (Key(name="alice", key=Secret("sk-alice")), Key(name="bob", key=Secret("sk-bob")))
ALICE, BOB = {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer sk-bob"}


def play(tmp_path, scenario, *, clock=None, stream=False, **changes):
    """Run a scenario with a client, and with the upstream."""

    async def scene():
        answer = Answer(frames=responses_frames(12)) if stream else Answer(body=responses_body(900))
        async with (
            Simulator(answer) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, **changes), clock) as gateway,
            wire(gateway.port) as client,
        ):
            await scenario(client, upstream, gateway)

    asyncio.run(scene())


async def create(client, request=REQUEST, **headers):
    answer = await client.ask("POST", PATH, request, **headers)
    assert answer.status == 200, answer.body
    if answer.headers["content-type"].startswith("text/event-stream"):
        *_, last = (frame for frame in answer.body.decode().split("\n\n") if "response.completed" in frame)
        return json.loads(last.partition("data: ")[2])["response"]
    return answer.json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_response_can_be_retrieved(tmp_path, stream):
    """What was answered, streamed or not, is what is kept, under the same id."""

    async def scenario(client, upstream, gateway):
        created = await create(client, {**REQUEST, "stream": stream})
        retrieved = await client.ask("GET", f"{PATH}/{created['id']}")
        assert (retrieved.status, retrieved.json()) == (200, created)
        assert retrieved.headers["x-request-id"].startswith("req_")
        assert created["id"] != "resp_simulated"
        assert b"resp_simulated" not in retrieved.body
        head = await client.ask("HEAD", f"{PATH}/{created['id']}")
        assert (head.status, head.headers["content-length"]) == (200, str(len(retrieved.body)))
        assert len(upstream.calls) == 1

    play(tmp_path, scenario, stream=stream)


def test_a_response_outlives_a_restart(tmp_path):
    """It is in the database."""
    ids = []

    async def create_one(client, upstream, gateway):
        ids.append((await create(client))["id"])

    async def retrieve(client, upstream, gateway):
        assert (await client.ask("GET", f"{PATH}/{ids[0]}")).json()["id"] == ids[0]

    play(tmp_path, create_one)
    play(tmp_path, retrieve)


def test_what_is_kept_echoes_its_own_request(tmp_path):
    """A hit is kept with the metadata of the request that it answered."""

    async def scenario(client, upstream, gateway):
        for number in range(2):
            metadata = {"number": str(number)}
            created = await create(client, {**REQUEST, "metadata": metadata})
            retrieved = (await client.ask("GET", f"{PATH}/{created['id']}")).json()
            assert created["metadata"] == metadata or number == 0
            assert retrieved == created
        assert len(upstream.calls) == 1

    play(tmp_path, scenario)


def test_the_id_of_a_hit_can_be_retrieved(tmp_path):
    """Each answer has its own id, and each is kept."""

    async def scenario(client, upstream, gateway):
        created = [await create(client, {**REQUEST, "stream": stream}) for stream in (False, True, False)]
        assert len({each["id"] for each in created}) == 3
        for each in created:
            assert (await client.ask("GET", f"{PATH}/{each['id']}")).json() == each
        assert len(upstream.calls) == 1

    play(tmp_path, scenario)


def test_a_deleted_response_is_gone(tmp_path):
    """Deleting says so, once."""

    async def scenario(client, upstream, gateway):
        path = f"{PATH}/{(await create(client))['id']}"
        deleted = await client.ask("DELETE", path)
        assert deleted.status == 200
        assert deleted.json() == {"id": path.rpartition("/")[2], "object": "response", "deleted": True}
        for method in ("GET", "DELETE"):
            assert (await client.ask(method, path)).status == 404
        assert (await client.ask("POST", f"{path}/cancel")).status == 404

    play(tmp_path, scenario)


def test_deleting_a_response_removes_the_cache_entry_that_holds_it(tmp_path):
    """The next equal request is a miss, in memory and in storage; other responses of the recording stay."""

    async def scenario(client, upstream, gateway):
        first, hit = await create(client), await create(client)
        assert len(upstream.calls) == 1
        await client.ask("DELETE", f"{PATH}/{first['id']}")
        again = await client.ask("POST", PATH, REQUEST)
        assert "hit" not in again.headers["cache-status"]
        assert len(upstream.calls) == 2
        assert (await client.ask("GET", f"{PATH}/{hit['id']}")).json() == hit
        await client.ask("DELETE", f"{PATH}/{again.json()['id']}")
        gateway.application.memory.clear()
        await create(client)
        assert len(upstream.calls) == 3

    play(tmp_path, scenario)


def test_deleting_through_a_hit_removes_the_entry_too(tmp_path):
    """Whichever of the responses is deleted, its words are no longer served to anybody."""

    async def scenario(client, upstream, gateway):
        await create(client)
        hit = await create(client)
        await client.ask("DELETE", f"{PATH}/{hit['id']}")
        await create(client)
        assert len(upstream.calls) == 2

    play(tmp_path, scenario)


def test_a_response_that_was_not_to_be_stored_is_not_found(tmp_path):
    """`store: false` is honoured on a miss and on a hit."""

    async def scenario(client, upstream, gateway):
        for _ in range(2):
            created = await create(client, {**REQUEST, "store": False})
            assert (await client.ask("GET", f"{PATH}/{created['id']}")).status == 404
        stored = await create(client)
        assert (await client.ask("GET", f"{PATH}/{stored['id']}")).status == 200
        assert len(upstream.calls) == 1

    play(tmp_path, scenario)
    with sqlite3.connect(tmp_path / "antiphon.db") as database:
        assert database.execute("SELECT count(*) FROM responses").fetchone() == (1,)
    database.close()


def test_a_failed_answer_is_not_kept(tmp_path):
    """There is nothing to retrieve."""

    async def scenario(client, upstream, gateway):
        upstream.answer(Answer(frames=responses_frames(12)[:5]))
        answer = await client.ask("POST", PATH, {**REQUEST, "stream": True})
        (response_id,) = {
            part.partition(b'"')[0] for part in answer.body.split(b'"id":"')[1:] if part.startswith(b"resp_")
        }
        assert (await client.ask("GET", f"{PATH}/{response_id.decode()}")).status == 404

    play(tmp_path, scenario, stream=True)


def test_a_finished_response_cannot_be_cancelled(tmp_path):
    """It says why."""

    async def scenario(client, upstream, gateway):
        created = await create(client)
        answer = await client.ask("POST", f"{PATH}/{created['id']}/cancel")
        assert answer.status == 400
        assert answer.json()["error"]["message"] == "Cannot cancel a synchronous response."

    play(tmp_path, scenario)


def test_a_finished_response_can_be_streamed_again(tmp_path):
    """From the event that the client names."""

    async def scenario(client, upstream, gateway):
        created = await create(client)
        for query, first in (("", "response.created"), ("&starting_after=0", "response.in_progress")):
            answer = await client.ask("GET", f"{PATH}/{created['id']}?stream=true{query}")
            assert answer.status == 200
            assert answer.body.startswith(f"event: {first}\n".encode())
            assert answer.body.endswith(b"data: [DONE]\n\n")

    play(tmp_path, scenario)


def test_another_owners_response_is_like_none(tmp_path):
    """Reading, cancelling and deleting it answers the same bytes as for an unknown id, and changes nothing."""

    async def scenario(client, upstream, gateway):
        created = await create(client, **ALICE)
        own, unknown = created["id"], "resp_" + "0" * 48
        assert len(own) == len(unknown)
        for method, end in (("GET", ""), ("GET", "?stream=true"), ("DELETE", ""), ("POST", "/cancel")):
            answers = [
                await client.ask(method, f"{PATH}/{response_id}{end}", **BOB)
                for response_id in (own, unknown)
            ]
            assert [answer.status for answer in answers] == [404, 404]
            assert answers[0].body.replace(own.encode(), unknown.encode()) == answers[1].body
            fields = [{**answer.headers, "x-request-id": "", "date": ""} for answer in answers]
            assert fields[0] == fields[1]
        assert (await client.ask("GET", f"{PATH}/{own}", **ALICE)).json() == created

    play(tmp_path, scenario, keys=KEYS)


def test_an_expired_response_is_gone(tmp_path):
    """Retention is a promise in both directions."""
    clock = Clock()

    async def scenario(client, upstream, gateway):
        created = await create(client)
        clock.now += 29 * 86400
        assert (await client.ask("GET", f"{PATH}/{created['id']}")).status == 200
        clock.now += 2 * 86400
        assert (await client.ask("GET", f"{PATH}/{created['id']}")).status == 404
        assert (await client.ask("DELETE", f"{PATH}/{created['id']}")).status == 404

    play(tmp_path, scenario, clock=clock)


@pytest.mark.parametrize(
    "response_id", ["resp_1", "%00", "%ff%fe", "a" * 5000, "%F0%9F%8E%B5", "resp_1'--", "%22%3E"]
)
def test_any_id_can_be_asked_for(tmp_path, response_id):
    """Unknown ones are 404 in the envelope, whatever is in them, and not repeated without end."""

    async def scenario(client, upstream, gateway):
        for method in ("GET", "DELETE"):
            answer = await client.ask(method, f"{PATH}/{response_id}")
            assert answer.status == 404
            assert answer.json()["error"]["type"] == "invalid_request_error"
            assert len(answer.body) < 1000

    play(tmp_path, scenario)


def test_storage_that_is_gone_is_a_503(tmp_path):
    """What needs it says when to come back; the connection goes on."""

    async def scenario(client, upstream, gateway):
        await create(client)
        await gateway.application.storage.database.written(
            lambda connection: connection.execute("DROP TABLE responses")
        )
        for method in ("GET", "DELETE"):
            answer = await client.ask(method, f"{PATH}/resp_1")
            assert answer.error == (503, "storage_unavailable")
            assert int(answer.headers["retry-after"]) > 0

    play(tmp_path, scenario)


# Where the provider keeps them.


def keeping(received):
    """An upstream that keeps one response."""
    if received.method == "POST" and received.path == "/v1/responses":
        return Answer(body=responses_body(900))
    if received.path.startswith("/v1/responses/resp_simulated"):
        return Answer(
            body=json.dumps([received.method, received.path]).encode(), headers=(("x-secret", "s"),)
        )
    return Answer(status=404, body=b'{"error":{"message":"not here"}}')


def play_upstream(tmp_path, scenario, **changes):
    async def scene():
        async with Simulator(keeping) as upstream:
            provider = Provider(
                type="openai", base_url=upstream.base_url, models=("gpt-test",), state="upstream"
            )
            settings = settings_for(tmp_path, upstream.base_url, providers={"up": provider}, **changes)
            async with serving(settings) as gateway, wire(gateway.port) as client:
                await scenario(client, upstream)

    asyncio.run(scene())


def test_a_response_that_a_provider_keeps_is_asked_for_there(tmp_path):
    """Retrieving, cancelling and deleting are passed on as they are, query included; so is the answer."""

    async def scenario(client, upstream):
        created = await create(client)
        assert created["id"] == "resp_simulated"
        path = f"{PATH}/resp_simulated"
        for method, end, passed in (
            ("GET", "", ["GET", path]),
            ("GET", "?include=a&x=%20#b", ["GET", f"{path}?include=a&x=%20%23b"]),
            ("POST", "/cancel", ["POST", f"{path}/cancel"]),
            ("DELETE", "", ["DELETE", path]),
        ):
            answer = await client.ask(method, path + end)
            assert (answer.status, answer.json()) == (200, passed)
            assert answer.headers["x-request-id"].startswith("req_")
            assert "x-secret" not in answer.headers
        head = await client.ask("HEAD", path)
        assert head.status == 200
        assert upstream.calls[-1].method == "GET"

    play_upstream(tmp_path, scenario)


def test_only_its_owner_is_passed_on_to_the_provider(tmp_path):
    """The provider's key would open everybody's responses: what was not created here is not asked for there."""

    async def scenario(client, upstream):
        await create(client, **ALICE)
        asked = len(upstream.calls)
        for headers, response_id in (
            (BOB, "resp_simulated"),
            (ALICE, "resp_simulated2"),
            (ALICE, "resp%2Fx"),
        ):
            for method, end in (("GET", ""), ("DELETE", ""), ("POST", "/cancel")):
                answer = await client.ask(method, f"{PATH}/{response_id}{end}", **headers)
                assert answer.status == 404
        assert len(upstream.calls) == asked
        assert (await client.ask("GET", f"{PATH}/resp_simulated", **ALICE)).status == 200

    play_upstream(tmp_path, scenario, keys=KEYS)


def test_a_provider_that_is_gone_is_a_502(tmp_path):
    """What it keeps is not lost, only out of reach."""

    async def scenario(client, upstream):
        await create(client)
        await upstream.stop()
        assert (await client.ask("GET", f"{PATH}/resp_simulated")).status == 502

    play_upstream(tmp_path, scenario)


def test_a_response_deleted_at_one_worker_is_not_replayed_by_another(tmp_path):
    """Each worker has a memory of its own, and hears of what the others delete."""

    async def scene():
        async with Simulator(Answer(body=responses_body(900))) as upstream:
            settings = settings_for(tmp_path, upstream.base_url, server=Server(port=0, workers=2))
            async with (
                serving(settings) as one,
                serving(settings) as other,
                wire(one.port) as client,
                wire(other.port) as client_of_other,
            ):
                created = await create(client)
                await eventually(lambda: one.application.storage.database.queued == 0)
                found = await client_of_other.ask("POST", PATH, REQUEST)
                assert found.headers["x-cache"] == "HIT (exact)"
                await client.ask("DELETE", f"{PATH}/{created['id']}")
                await eventually(lambda: len(other.application.memory) == 0)
                calls = len(upstream.calls)
                again = await client_of_other.ask("POST", PATH, REQUEST)
                assert ("x-cache" in again.headers, len(upstream.calls)) == (False, calls + 1)

    asyncio.run(scene())
