"""Alive, ready, metrics, models: what those who run the gateway look at."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.gateway.keys import Keyring
from antiphon.gateway.operations import Operations
from antiphon.gateway.request import Request
from antiphon.settings import Admin, Key, Provider, Secret
from antiphon.wire.errors import ClientFault
from gateway.wire import wire
from serving import serving, settings_for

KEYS = (Key(name="alice", key=Secret("sk-alice")),)
CHAT = b'{"id":"chatcmpl-1","choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}'


def play(tmp_path, scenario, **changes):
    """Run a scenario with a client, the upstream and the gateway."""

    async def scene():
        async with (
            Simulator(Answer(body=CHAT)) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, **changes)) as gateway,
            wire(gateway.port) as client,
        ):
            await scenario(client, upstream, gateway)

    asyncio.run(scene())


def test_health_needs_no_key(tmp_path):
    """Whoever asks whether the gateway is alive has no key, and sees nothing else."""

    async def scenario(client, upstream, gateway):
        answer = await client.ask("GET", "/healthz")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})
        answer = await client.ask("GET", "/readyz")
        assert answer.status == 200
        assert answer.json() == {"status": "ok", "parts": {"storage": "ok", "cache": "ok"}}

    play(tmp_path, scenario, keys=KEYS, admin=Admin(key=Secret("admin")))


def test_the_gateway_is_not_ready_without_storage(tmp_path):
    """It is alive, and says what is missing."""

    async def scenario(client, upstream, gateway):
        # On the thread that reads: another one may be in the middle of a statement.
        await gateway.application.storage.database.read(lambda connection: connection.close())
        answer = await client.ask("GET", "/readyz")
        assert answer.status == 503
        parts = {"storage": "not available", "cache": "not available"}
        assert answer.json() == {"status": "unavailable", "parts": parts}
        assert (await client.ask("GET", "/healthz")).status == 200

    play(tmp_path, scenario)


def test_metrics_are_open_to_this_host(tmp_path):
    """Without an admin key, a scraper on the same machine needs none."""

    async def scenario(client, upstream, gateway):
        request = {"model": "up/gpt-test", "messages": []}
        for _ in range(2):
            await client.ask("POST", "/v1/chat/completions", request)
        answer = await client.ask("GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        counted = [line for line in answer.body.decode().splitlines() if "antiphon_requests_total{" in line]
        assert sorted("hit" if 'cache="hit"' in line else "miss" for line in counted) == ["hit", "miss"]
        assert all(line.endswith(" 1.0") for line in counted)

    play(tmp_path, scenario)


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
def test_metrics_are_closed_to_those_behind_a_proxy(tmp_path, name):
    """A proxy on this host does not make the network this host."""

    async def scenario(client, upstream, gateway):
        answer = await client.ask("GET", "/metrics", **{name: "203.0.113.7"})
        assert answer.error == (403, "forbidden")

    play(tmp_path, scenario)


def test_metrics_ask_for_the_admin_key_where_there_is_one(tmp_path):
    """From wherever; a client's key is not enough."""

    async def scenario(client, upstream, gateway):
        for headers in ({}, {"Authorization": "Bearer sk-alice"}, {"Authorization": "Bearer "}):
            answer = await client.ask("GET", "/metrics", **headers)
            assert answer.error == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        for headers in (
            {"Authorization": "Bearer admin"},
            {"X-Forwarded-For": "1.2.3.4", "x_api_key": "admin"},
        ):
            assert (await client.ask("GET", "/metrics", **headers)).status == 200

    play(tmp_path, scenario, keys=KEYS, admin=Admin(key=Secret("admin")))


@pytest.mark.parametrize("peer", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8::1", ""])
@pytest.mark.parametrize("admin_key", [None, ""])
def test_metrics_are_closed_to_other_hosts(peer, admin_key):
    """Without an admin key, and where nobody knows who asks; an empty key is none."""
    operations = Operations(
        catalogue=None,
        keyring=Keyring(()),
        admin_key=admin_key,
        tasks=None,
        readiness=None,
        metrics=None,
    )
    with pytest.raises(ClientFault) as refused:
        operations._serve_metrics(Request(b"GET", b"/metrics", b"", {}, b"", peer), b"req_1", None)
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_models_are_listed_from_configuration_and_upstreams(tmp_path):
    """Aliases first come as they are, what upstreams list under their provider's name; a dead one is left out."""

    async def scenario(client, upstream, gateway):
        upstream.answer(Answer(body=b'{"object":"list","data":[{"id":"gpt-a"},{"id":"org/gpt-b"}]}'))
        answer = await client.ask("GET", "/v1/models")
        listed = answer.json()
        assert (answer.status, listed["object"]) == (200, "list")
        assert {model["object"] for model in listed["data"]} == {"model"}
        names = [model["id"] for model in listed["data"]]
        assert {"up/gpt-a", "up/org/gpt-b"} <= set(names)
        assert len(names) == len(set(names))
        assert [call.path for call in upstream.calls] == ["/v1/models"]

    async def scene():
        async with Simulator() as upstream:
            settings = settings_for(
                tmp_path,
                upstream.base_url,
                providers={
                    "up": Provider(type="openai", base_url=upstream.base_url, api_key=Secret("sk-upstream")),
                    "dead": Provider(type="openai-chat", base_url="http://127.0.0.1:9/v1"),
                },
            )
            async with serving(settings) as gateway, wire(gateway.port) as client:
                await scenario(client, upstream, gateway)

    asyncio.run(scene())
