"""Receivers are told of ended background answers: signed, again if they fail, and whoever dies."""

import asyncio
import contextlib
import hashlib
import hmac
import json
from base64 import b64decode, b64encode

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.settings import Key, Secret, Webhook
from e2e.samples import answer_of, responses_frames
from e2e.scenes import play, read_rows, scene
from e2e.test_background import ASKED, PATH, ended
from e2e.test_seeds_c import ended_by
from serving import Clock, serving
from waiting import eventually

SECRET = Secret("whsec_" + b64encode(bytes(range(32))).decode())
OTHER = Secret("whsec_" + b64encode(bytes(range(40, 72))).decode())
STREAM = answer_of("responses", stream=True)
HEARD = Answer(status=204)


@contextlib.asynccontextmanager
async def receiving(folder, *answers, said=(STREAM,), events=(), **changes):
    """A gateway that tells a receiver."""
    async with Simulator(answers or [HEARD]) as receiver:
        url = Secret(receiver.base_url.removesuffix("/v1") + "/hooks/a?b=c")
        hooks = (Webhook(url=url, secret=SECRET, events=events),)
        async with scene(folder, *said, p="openai", webhooks=hooks, **changes) as at:
            yield at, receiver


def notices(folder):
    return read_rows(folder, "SELECT * FROM webhook_notices")


def told(call, secret=SECRET):
    """Check who has signed, and return what was told."""
    headers = call.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + call.body
    expected = hmac.new(b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + b64encode(expected).decode()
    assert headers["content-type"] == "application/json"
    event = json.loads(call.body)
    assert event["id"] == headers["webhook-id"]
    return event


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_a_receiver_is_told_how_an_answer_has_ended(tmp_path, status):
    """Signed with the secret that it shares."""

    async def run():
        clock = Clock()
        said = Answer(frames=ended_by(f"response.{status}", status=status))
        async with receiving(tmp_path, said=(said,), clock=clock) as (at, receiver):
            queued = (await at.client.post(PATH, ASKED)).json()
            await eventually(lambda: receiver.calls)
            (call,) = receiver.calls
            assert (call.method, call.path) == ("POST", "/hooks/a?b=c")
            assert call.headers["webhook-timestamp"] == str(int(clock.now))
            event = told(call)
            assert event == {
                "object": "event",
                "id": event["id"],
                "type": f"response.{status}",
                "created_at": int(clock.now),
                "data": {"id": queued["id"]},
            }
            assert event["id"].startswith("evt_")
            await at.written(0, "webhook_notices")

    play(run())


def test_a_receiver_that_fails_is_told_again(tmp_path):
    """Later and later, under the same id."""

    async def run():
        clock = Clock()
        async with receiving(tmp_path, Answer(status=500), Answer(status=302), HEARD, clock=clock) as (
            at,
            receiver,
        ):
            await at.client.post(PATH, ASKED)
            for number, pause in enumerate((5, 300, None), 1):
                await eventually(lambda number=number: len(receiver.calls) == number)
                if pause is not None:
                    due = clock.now + pause
                    await eventually(lambda due=due: notices(tmp_path)[0]["due_at"] == due)
                    clock.now += pause
            await at.written(0, "webhook_notices")
            assert len({told(call)["id"] for call in receiver.calls}) == 1
            assert [told(call)["created_at"] for call in receiver.calls] == [int(Clock().now)] * 3

    play(run())


def test_a_receiver_that_never_answers_well_is_given_up(tmp_path):
    """After so many attempts."""

    async def run():
        clock = Clock()
        async with receiving(tmp_path, Answer(status=500), clock=clock) as (at, receiver):
            await at.client.post(PATH, ASKED)
            for number in range(1, 11):
                await eventually(lambda number=number: len(receiver.calls) == number)
                await eventually(lambda: 60 not in {row["due_at"] - clock.now for row in notices(tmp_path)})
                clock.now += 100_000
            await at.written(0, "webhook_notices")

    play(run())


def test_what_a_dead_process_had_not_told_is_told_by_another(tmp_path):
    """The end was committed, the receiver has not answered."""
    gate = asyncio.Event()

    async def run():
        clock = Clock()
        async with Simulator([Answer(body=b"{}", gate=gate), HEARD]) as receiver:
            url = Secret(receiver.base_url.removesuffix("/v1") + "/hooks")
            hooks = (Webhook(url=url, secret=SECRET),)
            async with scene(tmp_path, STREAM, p="openai", webhooks=hooks, clock=clock) as at:
                settings = at.gateway.application.settings
                queued = (await at.client.post(PATH, ASKED)).json()
                await eventually(lambda: receiver.calls)
            assert len(notices(tmp_path)) == 1
            clock.now += 61
            async with serving(settings, clock):
                await eventually(lambda: len(receiver.calls) == 2)
                first, second = map(told, receiver.calls)
                assert first == second
                assert second["data"] == {"id": queued["id"]}
                await eventually(lambda: not notices(tmp_path))

    play(run())


def test_a_key_has_receivers_of_its_own(tmp_path):
    """And each secret signs what is told to its receiver alone."""

    async def run():
        async with Simulator([HEARD]) as own:
            hook = Webhook(url=Secret(own.base_url), secret=OTHER)
            keys = (
                Key(name="alice", key=Secret("sk-alice"), webhooks=(hook,)),
                Key(name="bob", key=Secret("sk-bob")),
            )
            async with receiving(tmp_path, said=(STREAM, STREAM), keys=keys) as (at, receiver):
                ids = {}
                for name in ("alice", "bob"):
                    got = await at.client.post(PATH, ASKED, Authorization=f"Bearer sk-{name}")
                    ids[name] = got.json()["id"]
                await eventually(lambda: len(receiver.calls) == 2 and own.calls)
                assert {told(call)["data"]["id"] for call in receiver.calls} == set(ids.values())
                assert [told(call, OTHER)["data"]["id"] for call in own.calls] == [ids["alice"]]

    play(run())


def test_only_what_a_receiver_wants_is_told(tmp_path):
    """A cancelled answer is an event too; a deleted one is none."""
    gate = asyncio.Event()

    async def run():
        said = [Answer(frames=responses_frames(), gate=gate)] * 3
        async with receiving(tmp_path, said=said, events=("response.cancelled",)) as (at, receiver):
            ids = [(await at.client.post(PATH, ASKED | {"input": f"{i}"})).json()["id"] for i in range(3)]
            assert (await at.client.delete(f"{PATH}/{ids[0]}")).status == 200
            await at.client.post(f"{PATH}/{ids[1]}/cancel", {})
            gate.set()
            assert (await ended(at, ids[2]))["status"] == "completed"
            await at.written(0, "webhook_notices")
            assert [told(call)["data"]["id"] for call in receiver.calls] == [ids[1]]
            assert told(receiver.calls[0])["type"] == "response.cancelled"

    play(run())
