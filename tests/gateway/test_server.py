"""Listening, sweeping and stopping."""

import asyncio
import socket

import pytest
import uvloop

from antiphon.gateway.server import HttpServer, listening_socket
from antiphon.settings import Server
from gateway.wire import GET, JSON, Held, listening, post, wire
from waiting import eventually


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request):
    """Run a coroutine on the loop that serves users, and on the one that libraries use."""
    return uvloop.run if request.param == "uvloop" else asyncio.run


def soon():
    return asyncio.get_running_loop().time() + 10


def test_a_stop_closes_what_is_idle_and_lets_live_answers_finish(run):
    """Nobody new gets in; connections without a request end; a stream goes on to its end, and then ends too."""

    async def scenario():
        held = Held()
        async with (
            listening(held) as (server, port),
            wire(port) as idle,
            wire(port) as fresh,
            wire(port) as live,
        ):
            idle.send(GET)
            await eventually(lambda: held.replies)
            held.replies[0].send(200, JSON, b"{}")
            await idle.answer()
            live.send(GET)
            await eventually(lambda: len(held.replies) == 2)
            stream = held.replies[1]
            stream.start(200, JSON)
            _, headers = await live.head()
            stopping = asyncio.ensure_future(server.stop(soon()))
            assert await idle.rest() == b""
            assert await fresh.rest() == b""
            assert server.stopping
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)
            assert not stopping.done()
            stream.write(b"last words")
            stream.end()
            assert await live.body(headers) == b"last words"
            assert await live.rest() == b""
            assert await stopping == 0

    run(scenario())


def test_a_request_that_has_begun_is_answered_during_a_stop(run):
    """Whoever was heard is answered, and told that the connection ends."""

    async def scenario():
        async with listening() as (server, port), wire(port) as in_head, wire(port) as in_body:
            in_head.send(GET[:10])
            in_body.send(post(b"abc")[:-1])
            await eventually(
                lambda: {c._reader.part for c in server._listening.connections} == {"head", "body"}
            )
            stopping = asyncio.ensure_future(server.stop(soon()))
            await eventually(lambda: server.stopping)
            in_head.send(GET[10:])
            in_body.send(b"c")
            for client in (in_head, in_body):
                answer = await client.answer()
                assert (answer.status, answer.headers["connection"]) == (200, "close")
                assert await client.rest() == b""
            assert await stopping == 0

    run(scenario())


def test_pipelined_requests_are_answered_during_a_stop(run):
    """They were received before it."""

    async def scenario():
        held = Held()
        async with listening(held) as (server, port), wire(port) as client:
            client.send(GET + GET)
            await eventually(lambda: held.replies)
            held.replies[0].start(200, JSON)
            stopping = asyncio.ensure_future(server.stop(soon()))
            await eventually(lambda: server.stopping)
            held.replies[0].end()
            await eventually(lambda: len(held.replies) == 2)
            held.replies[1].send(200, JSON, b"{}")
            first, second = await client.answer(), await client.answer()
            assert ("connection" in first.headers, second.headers["connection"]) == (False, "close")
            assert await stopping == 0

    run(scenario())


def test_a_stop_says_what_it_could_not_wait_for(run):
    """At the deadline the answers under way are still open, and counted; then they are cut."""

    async def scenario():
        held = Held()
        async with listening(held) as (server, port), wire(port) as client:
            client.send(GET)
            await eventually(lambda: held.replies)
            assert await server.stop(asyncio.get_running_loop().time() + 0.01) == 1
            assert held.heard == []
            server.abort()
            assert await server.drain(soon()) == 0
            assert held.heard == [("gone", 0)]
            assert await client.rest() == b""

    run(scenario())


def test_clients_beyond_the_limit_are_told_so(run):
    """Who is in stays in; who is not wanted gets an error that can be read, and comes in when there is room."""

    async def scenario():
        held = Held()
        async with listening(held, max_connections=2) as (server, port):
            async with wire(port) as one, wire(port) as two, wire(port) as three:
                one.send(GET)
                two.send(GET)
                await eventually(lambda: len(held.replies) == 2)
                three.send(post(b"x" * 100_000))
                answer = await three.answer()
                assert answer.error == (503, "too_many_connections")
                assert answer.headers["retry-after"] == "1"
                for reply in held.replies:
                    reply.send(200, JSON, b"{}")
                assert [(await client.answer()).status for client in (one, two)] == [200, 200]
            await eventually(lambda: server.connections == 0)
            async with wire(port) as client:
                client.send(GET)
                await eventually(lambda: len(held.replies) == 3)

    run(scenario())


def test_lingering_clients_take_nobodys_place(run):
    """A refused client that does not go away is not counted among those that are served."""

    async def scenario():
        async with listening(max_connections=1) as (server, port), wire(port) as refused:
            refused.send(b"nonsense\r\n\r\n")
            assert (await refused.answer()).error == (400, "bad_request")
            assert server.connections == 1
            async with wire(port) as client:
                assert (await client.ask("GET", "/")).status == 200

    run(scenario())


def test_idle_clients_are_swept_out(run):
    """Connections that nobody uses end by themselves, silently."""

    async def scenario():
        async with listening(keep_alive_timeout=0.01) as (_, port), wire(port) as client:
            assert (await client.ask("GET", "/")).status == 200
            assert await client.rest() == b""

    run(scenario())


def test_a_port_is_not_taken_twice():
    """Without sharing the second one fails, whether the first one shares or not."""
    for shared in (False, True):
        with listening_socket("127.0.0.1", 0, shared=shared) as first:
            first.listen()
            with pytest.raises(OSError, match="in use"):
                listening_socket("127.0.0.1", first.getsockname()[1], shared=False)


def test_a_port_can_be_shared():
    """Several workers bind the same port."""
    with listening_socket("127.0.0.1", 0, shared=True) as first:
        port = first.getsockname()[1]
        with listening_socket("127.0.0.1", port, shared=True) as second:
            assert second.getsockname() == first.getsockname()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_every_way_to_name_this_host_can_be_bound(host):
    """Names and both versions of addresses."""
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    with listening_socket(host, 0, shared=False) as sock:
        assert sock.getsockname()[1] > 0


def test_an_address_of_another_host_cannot_be_bound():
    """The error is the system's."""
    with pytest.raises(OSError, match=r"assign|known|resolution"):
        listening_socket("192.0.2.1", 0, shared=False)


def test_the_date_is_that_of_the_answer(run):
    """As HTTP writes it."""

    async def scenario():
        server = HttpServer(Server(), lambda request, reply: None)
        server._sweep()
        assert server._listening.date.startswith(b"date: ")
        assert server._listening.date.endswith(b" GMT\r\n")
        server.abort()

    run(scenario())
