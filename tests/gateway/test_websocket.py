"""WebSockets on our own server: the handshake, framing, time, slow clients, stopping."""

import asyncio
import json
import socket

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Close, Frame, Opcode

from antiphon.drivers.simulator import Answer
from antiphon.settings import Key, Secret, Server
from e2e.samples import MODEL, frame, message_item, response, responses_frames
from e2e.scenes import play, read_rows
from gateway.talking import SocketTalk, code_of, id_of, talking, talks, types
from gateway.wire import GET, wire
from waiting import PATIENCE, eventually

HELLO = Answer(frames=responses_frames())
OFFER = {
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request, tmp_path):
    """Run a scenario on the loop that serves users, and on the one that libraries use."""

    def run(scenario, *answers, **changes):
        async def scene():
            async with asyncio.timeout(PATIENCE), talks(tmp_path, *answers, **changes) as there:
                await scenario(there)

        (uvloop.run if request.param == "uvloop" else asyncio.run)(scene())

    return run


def dashed(headers):
    return {name.replace("-", "_"): value for name, value in headers.items()}


async def handshake(client):
    """Shake hands by hand, without any extension."""
    client.get("/v1/responses", **dashed(OFFER))
    status, headers = await client.head()
    assert (status, headers["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    return headers


def masked(opcode, data=b"", *, fin=True):
    return Frame(opcode, data, fin).serialize(mask=True)


async def heard(client):
    """Read a frame of the server, which masks nothing: its opcode and data."""
    async with asyncio.timeout(PATIENCE):
        first, size = await client.reader.readexactly(2)
        assert first & 0x80
        if size == 126:
            size = int.from_bytes(await client.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await client.reader.readexactly(8), "big")
        return Opcode(first & 0x0F), await client.reader.readexactly(size)


async def close_heard(client):
    opcode, data = await heard(client)
    assert opcode is Opcode.CLOSE
    return Close.parse(data)


def created(**members):
    return json.dumps({"type": "response.create", "model": MODEL, "input": "Hi", **members}).encode()


# ------------------------------------------------------------------------------------------- handshake


def test_without_an_offer_the_method_is_not_allowed(run):
    """And with one, another path is what it was before."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            answer = await client.ask("GET", "/v1/responses")
            assert answer.error == (405, "method_not_allowed")
            answer = await client.ask("GET", "/v1/responses", Upgrade="websocket")
            assert answer.error == (405, "method_not_allowed")
            answer = await client.ask("GET", "/v1/responses", Connection="Upgrade", Upgrade="h2c")
            assert answer.error == (405, "method_not_allowed")
        for path, status in (("/healthz", 200), ("/v1/nothing", 404), ("/v1/chat/completions", 405)):
            async with wire(there.gateway.port) as client:
                assert (await client.ask("GET", path, **dashed(OFFER))).status == status

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Key": "short"}, 400),
        ({"Sec-WebSocket-Extensions": "=;,"}, 400),
    ],
)
def test_a_wrong_handshake_is_told_what_is_wrong(run, changes, status):
    """As an HTTP error, after which the connection ends."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            answer = await client.ask("GET", "/v1/responses", **dashed(OFFER | changes))
            assert answer.error == (status, "bad_request")
            assert answer.headers["connection"] == "close"
            assert answer.headers["x-request-id"].startswith("req_")
            if status == 426:
                assert answer.headers["sec-websocket-version"] == "13"
            assert await client.rest() == b""

    run(scenario)


def test_who_has_no_key_stays_outside(run):
    """With the same 401 as on any other route."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            answer = await client.ask("GET", "/v1/responses", **dashed(OFFER))
            assert answer.error == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"] == "Bearer"
        with pytest.raises(InvalidStatus) as refused:
            async with talking(there.gateway, additional_headers={"Authorization": "Bearer wrong"}):
                pass
        assert refused.value.response.status_code == 401
        origin = "https://example.com"
        async with talking(
            there.gateway, origin=origin, additional_headers={"Authorization": "Bearer key-a"}
        ) as talk:
            assert id_of(await talk.turn(input="Hi"))

    run(scenario, HELLO, keys=(Key(name="alice", key=Secret("key-a")),))


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://example.com", 403),
        ("null", 403),
        ("https://localhost.example.com", 403),
        ("http://[", 403),
        ("http://localhost:3000", 101),
        ("http://127.0.0.1", 101),
        ("http://[::1]:8080", 101),
    ],
)
def test_without_keys_pages_of_other_hosts_stay_outside(run, origin, status):
    """A browser would let any page spend its visitor's money."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            client.get("/v1/responses", **dashed(OFFER), Origin=origin)
            assert (await client.head())[0] == status

    run(scenario)


def test_a_connection_may_be_used_for_http_first(run):
    """Also when the offer is pipelined behind a request."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            client.send(GET)
            client.get("/v1/responses", **dashed(OFFER))
            assert (await client.answer()).status == 404
            assert (await client.head())[0] == 101
            client.send(masked(Opcode.TEXT, b"{}"))
            assert code_of(json.loads((await heard(client))[1])) == "invalid_value"

    run(scenario)


# --------------------------------------------------------------------------------------------- framing


def test_messages_may_come_in_pieces(run):
    """Cut into frames anywhere, with a ping between them, and each frame cut into bytes."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            text = created()
            client.send(masked(Opcode.TEXT, text[:10], fin=False))
            client.send(masked(Opcode.PING, b"there?"))
            assert await heard(client) == (Opcode.PONG, b"there?")
            client.send(masked(Opcode.CONT, b"", fin=False))
            for byte in masked(Opcode.CONT, text[10:]):
                client.send(bytes([byte]))
            events = [json.loads((await heard(client))[1]) for _ in responses_frames()]
            assert id_of(events)

    run(scenario, HELLO)


def test_compression_is_negotiated_and_used(run):
    """Those who offer it get it, in both directions."""

    async def scenario(there):
        async with talking(there.gateway) as talk:
            assert "permessage-deflate" in talk.connection.response.headers["Sec-WebSocket-Extensions"]
            assert id_of(await talk.turn(input="Hi" * 100_000))
            assert there.asked()["input"] == "Hi" * 100_000
        async with talking(there.gateway, compression=None) as talk:
            assert "Sec-WebSocket-Extensions" not in talk.connection.response.headers
            assert id_of(await talk.turn(input="Hi"))

    run(scenario, HELLO)


def test_large_frames_pass_in_both_directions(run):
    """No megabyte is too much."""
    text = "x" * 3_000_000

    async def scenario(there):
        async with talking(there.gateway, compression=None) as talk:
            (event,) = await talk.turn(input=text)
            assert event["response"]["output"][0]["content"][0]["text"] == text

    told = {"type": "response.completed", "sequence_number": 0, "response": response([message_item(text)])}
    run(scenario, Answer(frames=[frame(told, "response.completed")]))


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_message_over_the_limit_closes_the_connection(run, compression):
    """Also one that is small only while it is compressed; the code says why."""

    async def scenario(there):
        async with talking(there.gateway, compression=compression) as talk:
            await talk.send(b"x" * 5001)
            assert (await talk.closed())[0] == 1009
        assert there.gateway.server.connections <= 1

    run(scenario, server=Server(port=0, max_body_bytes=5000))


def test_fragments_are_counted_together(run):
    """A message is as large as all of its frames."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, b"x" * 3000, fin=False))
            client.send(masked(Opcode.CONT, b"x" * 3000, fin=False))
            assert (await close_heard(client)).code == 1009
            assert await client.rest() == b""

    run(scenario, server=Server(port=0, max_body_bytes=5000))


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x02{}",
        masked(Opcode.CONT, b"x"),
        bytes([0x83, 0x80, 0, 0, 0, 0]),
        bytes([0xC1, 0x80, 0, 0, 0, 0]),
        masked(Opcode.TEXT, b"x", fin=False) + masked(Opcode.TEXT, b"x"),
    ],
    ids=["unmasked", "no beginning", "unknown opcode", "reserved bit", "beginning twice"],
)
def test_who_breaks_the_protocol_is_closed_out(run, data):
    """With code 1002, and turns under way end."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, created()))
            await there.simulator.wait_for_calls(1)
            client.send(data)
            assert (await close_heard(client)).code == 1002
            async with asyncio.timeout(PATIENCE):
                await there.simulator.calls[0].over.wait()
            client.send(b"more" * 1000)
            assert await client.rest() == b""
        await eventually(lambda: there.gateway.server.connections == 0)

    run(scenario, Answer(frames=responses_frames(), gate=asyncio.Event()))


def test_a_client_says_goodbye(run):
    """Its code comes back, and its turns end."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, created()))
            await there.simulator.wait_for_calls(1)
            client.send(masked(Opcode.CLOSE, Close(1000, "bye").serialize()))
            assert await close_heard(client) == Close(1000, "bye")
            assert await client.rest() == b""
            async with asyncio.timeout(PATIENCE):
                await there.simulator.calls[0].over.wait()
            assert there.simulator.calls[0].aborted
        await eventually(lambda: there.gateway.server.connections == 0)

    run(scenario, Answer(frames=responses_frames(), gate=asyncio.Event()))


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_client_that_disappears_in_its_turn_ends_it(run, is_reset):
    """Without a word, by the end of its side or by a reset."""

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, created(stream_id="a")))
            await heard(client)
            if is_reset:
                sock = client.writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                client.writer.transport.abort()
            else:
                client.writer.write_eof()
            async with asyncio.timeout(PATIENCE):
                await there.simulator.calls[0].over.wait()
            assert there.simulator.calls[0].aborted

    run(scenario, Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3))


def test_turns_are_in_the_ledger(tmp_path):
    """One row each: a miss, a hit, one that the client did not stay for."""

    async def scenario():
        async with talks(tmp_path, HELLO) as there:
            async with talking(there.gateway) as talk:
                await talk.turn(input="Hi")
                await talk.turn(input="Hi")
                there.simulator.answer(Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3))
                await talk.create(input="Bye")
                await talk.next()
            await eventually(lambda: there.gateway.server.connections == 0)
            await there.simulator.calls[1].over.wait()
            await there.gateway.application.accounts.flush()
            rows = read_rows(tmp_path, "SELECT cache, status, total_tokens FROM usage ORDER BY rowid")
            assert [tuple(row.values()) for row in rows] == [
                ("miss", 200, 26),
                ("hit", 200, 26),
                ("miss", 499, 0),
            ]

    play(scenario())


# ------------------------------------------------------------------------------------------------ time


def test_a_silent_client_is_asked_and_then_given_up(run):
    """Whoever answers pings may stay as long as it likes."""

    async def scenario(there):
        async with wire(there.gateway.port) as client, talking(there.gateway) as talk:
            await handshake(client)
            assert await heard(client) == (Opcode.PING, b"")
            client.send(masked(Opcode.PONG))
            assert await heard(client) == (Opcode.PING, b"")
            assert await client.rest() == b""
            assert id_of(await talk.turn(input="still here"))
            assert there.gateway.server.connections == 1

    run(scenario, HELLO, server=Server(port=0, keep_alive_timeout=0.05))


def test_a_client_that_does_not_agree_to_close_is_cut_off(run, monkeypatch):
    """After a moment."""
    monkeypatch.setattr("antiphon.gateway.websocket._LINGER", 0.05)

    async def scenario(there):
        async with wire(there.gateway.port) as client:
            await handshake(client)
            opcode, data = await heard(client)
            assert code_of(json.loads(data)) == "websocket_connection_limit_reached"
            assert opcode is Opcode.TEXT
            assert (await close_heard(client)).code == 1001
            assert await client.rest() == b""
        await eventually(lambda: there.gateway.server.connections == 0)

    run(scenario, server=Server(port=0, websocket_lifetime=0.05))


# ----------------------------------------------------------------------------------------- slow clients


def many_frames(count=3000, size=2000):
    delta = {"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0, "content_index": 0}
    deltas = [frame({**delta, "sequence_number": number, "delta": "x" * size}) for number in range(count)]
    end = {"type": "response.completed", "sequence_number": count, "response": response([message_item("x")])}
    return [*deltas, frame(end, "response.completed")]


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_slow_client_fills_no_memory_and_gets_everything(run, is_cached):
    """While it does not read, its upstream is not read either; a replay waits for it too, and so do further turns."""

    async def scenario(there):
        if is_cached:
            async with talking(there.gateway) as talk:
                await talk.turn(input="Hi")
        async with wire(there.gateway.port, receive_buffer=8192) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, created(store=False)))
            client.send(masked(Opcode.TEXT, created(store=False, stream_id="b")))
            (connection,) = there.gateway.server._listening.connections
            await eventually(lambda: connection.congested)
            for _ in range(1000):
                client.send(masked(Opcode.TEXT, b"nonsense"))
            buffered = connection._transport.get_write_buffer_size
            for _ in range(20):
                await asyncio.sleep(0.005)
                assert buffered() < 1_000_000
            ended = []
            while len(ended) < 2:
                event = json.loads((await heard(client))[1])
                if event["type"] == "response.completed":
                    ended.append(event.get("stream_id"))
            assert sorted(ended, key=str) == [None, "b"]

    run(scenario, Answer(frames=many_frames()))


def test_a_client_that_stops_reading_is_given_up(run):
    """As on any other connection, and its turns end."""

    async def scenario(there):
        async with wire(there.gateway.port, receive_buffer=8192) as client:
            await handshake(client)
            client.send(masked(Opcode.TEXT, created(store=False)))
            await eventually(lambda: there.gateway.server.connections == 0)
            await there.simulator.calls[0].over.wait()
            assert there.simulator.calls[0].aborted

    run(scenario, Answer(frames=many_frames(30_000)), server=Server(port=0, keep_alive_timeout=0.3))


# -------------------------------------------------------------------------------------------- stopping


def test_a_stop_closes_idle_connections_and_lets_turns_finish(run):
    """Turns that were asked for are answered, new ones are not; then the code says: come again."""

    async def scenario(there):
        async with talking(there.gateway) as idle, talking(there.gateway) as busy:
            await busy.create(input="one")
            await busy.create(input="two")
            await there.simulator.wait_for_calls(1)
            stopping = asyncio.ensure_future(
                there.gateway.server.stop(asyncio.get_running_loop().time() + 10)
            )
            assert await idle.closed() == (1001, "shutting_down")
            assert await busy.code(input="three") == "shutting_down"
            assert not stopping.done()
            gate.set()
            assert id_of(await busy.rest())
            assert id_of(await busy.rest())
            assert await busy.closed() == (1001, "shutting_down")
            assert await stopping == 0

    gate = asyncio.Event()
    run(scenario, Answer(frames=responses_frames(), gate=gate))


def test_a_turn_that_outlives_the_stop_is_told(run):
    """It fails, the connection closes, and nothing is left."""

    async def scenario(there):
        async with talking(there.gateway) as talk:
            await talk.create(input="one")
            await talk.next()
            stopping = asyncio.ensure_future(there.gateway.stop(0.05))
            events = await talk.rest()
            assert types(events)[-1] == "response.failed"
            assert events[-1]["response"]["error"]["code"] == "shutting_down"
            assert (await talk.closed())[0] == 1001
            await stopping
            assert there.gateway.server.connections == 0

    run(scenario, Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3))


def test_websockets_count_among_the_connections(run):
    """Whoever comes when it is full is told so, and gets in when somebody has left."""

    async def scenario(there):
        url = f"ws://127.0.0.1:{there.gateway.port}/v1/responses"
        async with talking(there.gateway) as talk:
            assert there.gateway.server.connections == 1
            async with wire(there.gateway.port) as refused:
                assert (await refused.answer()).error == (503, "too_many_connections")
            assert id_of(await talk.turn(input="Hi"))
        await eventually(lambda: there.gateway.server.connections == 0)
        async with connect(url) as connection:
            assert id_of(await SocketTalk(connection).turn(input="Hi"))

    run(scenario, HELLO, server=Server(port=0, max_connections=1))
