"""Who asks: keys, and what is kept apart by them."""

import asyncio
import hashlib

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.engine.turn import ANYBODY, Owner
from antiphon.gateway.keys import Keyring, is_admin, presented_key
from antiphon.settings import Key, Secret
from antiphon.wire.errors import ClientFault
from gateway.wire import wire
from serving import serving, settings_for

ALICE, BOB = "sk-alice", "sk-bob"
KEYS = (
    Key(name="alice", project="search", key=Secret(ALICE)),
    Key(name="bob", key_sha256=Secret(hashlib.sha256(BOB.encode()).hexdigest())),
)
CHAT = b'{"id":"chatcmpl-1","object":"chat.completion","choices":[]}'
ROUTES = (
    ("GET", "/v1/models"),
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/embeddings"),
    ("POST", "/v1/responses"),
    ("GET", "/v1/responses/resp_1"),
    ("DELETE", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
)


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer sk-alice"},
        {b"authorization": b"bearer  sk-alice "},
        {b"x-api-key": b"sk-alice"},
        {b"api-key": b"sk-alice"},
        {b"authorization": b"Bearer sk-alice", b"x-api-key": b"other"},
    ],
)
def test_a_key_is_found_where_clients_put_it(headers):
    """OpenAI's, Anthropic's and Azure's way; the bearer token counts first."""
    assert Keyring(KEYS).owner(headers) == Owner("alice", "search")


def test_a_key_may_be_configured_as_digest():
    """The configuration need not hold the secret."""
    assert Keyring(KEYS).owner({b"x-api-key": b"sk-bob"}) == Owner("bob", "default")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b"Bearer sk-mallory"},
        {b"authorization": b"Bearer "},
        {b"authorization": b"sk-mallory"},
        {b"authorization": b"Basic c2stYWxpY2U="},
        {b"authorization": b"Bearer sk-alice, Bearer sk-bob"},
        {b"x-api-key": b""},
        {b"x-api-key": b"\xff\xfe"},
        {b"x-api-key": hashlib.sha256(BOB.encode()).hexdigest().encode()},
    ],
)
def test_another_key_is_refused(headers):
    """None, a wrong one, or the digest of a right one: 401, without a word about the right ones."""
    with pytest.raises(ClientFault) as refused:
        Keyring(KEYS).owner(headers)
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    assert (b"www-authenticate", b"Bearer") in refused.value.headers


def test_without_keys_everybody_is_one_owner():
    """Whatever they present: clients cannot be started without some key."""
    assert Keyring(()).owner({b"authorization": b"Bearer anything"}) is ANYBODY


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({b"authorization": b"Bearer admin"}, True),
        ({b"x-api-key": b"admin"}, True),
        ({b"authorization": b"Bearer admin2"}, False),
        ({}, False),
    ],
)
def test_the_admin_key_is_compared_whole(headers, expected):
    """It is presented like any other key."""
    assert is_admin(headers, "admin") is expected
    assert presented_key({}) == b""


def test_every_route_of_the_api_needs_a_key(tmp_path):
    """Without one, and with a wrong one, nothing is answered but 401 in the envelope; the upstream hears nothing."""

    async def scenario():
        async with (
            Simulator(Answer(body=CHAT)) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, keys=KEYS)) as gateway,
            wire(gateway.port) as client,
        ):
            for method, path in ROUTES:
                for headers in ({}, {"Authorization": "Bearer sk-mallory"}):
                    answer = await client.ask(method, path, {"model": "up/gpt-test"}, **headers)
                    assert answer.error == (401, "invalid_api_key"), (method, path)
                    assert answer.headers["www-authenticate"] == "Bearer"
                    assert "mallory" not in answer.body.decode()
            assert upstream.calls == []
            assert (await client.ask("GET", "/healthz")).status == 200

    asyncio.run(scenario())


def test_a_key_opens_the_api_and_stays_here(tmp_path):
    """The upstream sees the provider's key, never the client's."""

    async def scenario():
        async with (
            Simulator(Answer(body=CHAT)) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, keys=KEYS)) as gateway,
            wire(gateway.port) as client,
        ):
            request = {"model": "up/gpt-test", "messages": []}
            for headers in ({"Authorization": f"Bearer {ALICE}"}, {"api_key": BOB}, {"x_api_key": BOB}):
                answer = await client.ask("POST", "/v1/chat/completions", request, **headers)
                assert answer.status == 200
            for call in upstream.calls:
                assert call.headers["authorization"] == "Bearer sk-upstream"
                assert not [value for value in call.headers.values() if value in (ALICE, BOB)]
                assert "x-api-key" not in call.headers

    asyncio.run(scenario())


def test_owners_share_no_cache_entries(tmp_path):
    """Each key has its own, unless a scope says otherwise."""

    async def scenario():
        async with (
            Simulator(Answer(body=CHAT.replace(b"[]", b'[{"index":0,"finish_reason":"stop"}]'))) as upstream,
            serving(settings_for(tmp_path, upstream.base_url, keys=KEYS)) as gateway,
            wire(gateway.port) as client,
        ):
            request = {"model": "up/gpt-test", "messages": []}
            calls = []
            for key in (ALICE, BOB, ALICE, BOB):
                await client.ask("POST", "/v1/chat/completions", request, Authorization=f"Bearer {key}")
                calls.append(len(upstream.calls))
            assert calls == [1, 2, 2, 2]

    asyncio.run(scenario())
