import asyncio
import functools
import signal
import subprocess
import sys

import pytest
import uvloop

from antiphon.drivers.simulator import Answer, Fault, Simulator, refused_base_url
from antiphon.drivers.simulator.answers import HUGE_FRAME_BYTES
from drivers.wire_client import ask, connected
from forms import form
from waiting import PATIENCE

FRAMES = [b'data: {"n":1}\n\n', b'data: {"n":2}\n\n', b"data: [DONE]\n\n"]
STREAM = Answer(frames=FRAMES)
SOUND = ("file", ("a.wav", b"x" * 200_000))


def on_both_loops(test):
    """Run an async test under asyncio's own loop and under uvloop."""

    @pytest.mark.parametrize(
        "factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
    )
    @functools.wraps(test)
    def run(factory, **arguments):
        async def within_reason():
            async with asyncio.timeout(PATIENCE):
                await test(**arguments)

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(within_reason())

    run.__signature__ = _signature_with_factory(test)
    return run


def _signature_with_factory(test):
    import inspect

    signature = inspect.signature(test)
    factory = inspect.Parameter("factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return signature.replace(parameters=[factory, *signature.parameters.values()])


@on_both_loops
async def test_answers_with_json_and_remembers_what_was_asked():
    """A body goes out with its length; the request is kept as it came."""
    async with Simulator(Answer(body=b'{"a":1}', headers=(("x-request-id", "r1"),))) as simulator:
        got = await ask(simulator.base_url, b'{"model":"m"}')
        received = simulator.calls[0]
    assert (got.status, got.body) == (200, b'{"a":1}')
    assert b"x-request-id: r1" in got.head
    assert (
        received.method,
        received.path,
        received.body,
    ) == ("POST", "/v1/chat/completions", b'{"model":"m"}')
    assert received.headers["x-mark"] == "Here"
    assert not received.aborted
    assert received.over.is_set()


@on_both_loops
async def test_streams_frames_in_chunks_or_with_a_length():
    """Frames are chunked unless a content length is asked for."""
    async with Simulator([STREAM, Answer(frames=FRAMES, chunked=False)]) as simulator:
        chunked, sized = await ask(simulator.base_url), await ask(simulator.base_url)
    assert b"".join(FRAMES) == chunked.body == sized.body
    assert b"content-type: text/event-stream" in chunked.head
    assert b"transfer-encoding: chunked" in chunked.head
    assert b"content-length: 44" in sized.head


@on_both_loops
async def test_gives_answers_in_order_and_repeats_the_last():
    """`answer` replaces what was planned."""
    async with Simulator([Answer(body=b"1"), Answer(body=b"2")]) as simulator:
        bodies = [(await ask(simulator.base_url)).body for _ in range(3)]
        simulator.answer(Answer(body=b"3"))
        bodies.append((await ask(simulator.base_url)).body)
    assert bodies == [b"1", b"2", b"2", b"3"]


@on_both_loops
async def test_a_callable_chooses_the_answer_by_the_request():
    """The callable sees the request and returns the answer."""
    async with Simulator(lambda received: Answer(body=received.body[::-1])) as simulator:
        got = await ask(simulator.base_url, b"abc")
    assert got.body == b"cba"


@on_both_loops
async def test_nothing_planned_is_not_found():
    """A simulator without answers says so."""
    async with Simulator() as simulator:
        got = await ask(simulator.base_url)
    assert got.status == 404


@on_both_loops
async def test_a_connection_is_kept_and_pipelined_requests_are_answered_in_order():
    """Two requests sent at once on one connection get two answers in order."""
    async with Simulator(lambda received: Answer(frames=[received.body], gaps=0.001)) as simulator:
        async with connected(simulator.base_url) as client:
            client.send(b"one")
            client.send(b"two")
            first = await client.until(b"0\r\n\r\n")
            second = await client.until(b"0\r\n\r\n")
        assert b"one" in first
        assert b"two" in second
        assert simulator.connections == 1
        assert [received.connection for received in simulator.calls] == [1, 1]


@on_both_loops
async def test_a_gate_holds_the_answer_until_it_is_opened():
    """Nothing from the gated frame on is sent before the gate opens."""
    gate = asyncio.Event()
    async with (
        Simulator(Answer(frames=FRAMES, gate=gate, gate_at=1)) as simulator,
        connected(simulator.base_url) as client,
    ):
        client.send()
        await client.until(FRAMES[0] + b"\r\n")
        await simulator.wait_for_calls(1)
        assert simulator.calls[0].parts_sent == 1
        gate.set()
        assert (await client.until(b"0\r\n\r\n")).endswith(FRAMES[2] + b"\r\n0\r\n\r\n")
        await simulator.calls[0].over.wait()
        assert simulator.calls[0].parts_sent == 3


@on_both_loops
async def test_a_peer_that_leaves_early_is_noted():
    """`aborted` is set when the peer closes before the answer was finished."""
    async with Simulator(Answer(frames=FRAMES, gate=asyncio.Event(), gate_at=1)) as simulator:
        async with connected(simulator.base_url) as client:
            client.send()
            await client.until(FRAMES[0])
        await simulator.calls[0].over.wait()
        assert simulator.calls[0].aborted


@on_both_loops
async def test_a_slow_reader_holds_the_simulator_back():
    """Frames beyond what the sockets hold are not sent while nobody reads."""
    async with Simulator(Answer(frames=[b"x" * 1_000_000] * 100)) as simulator:
        async with connected(simulator.base_url) as client:
            client.send()
            await client.until(b"\r\n\r\n")
            for _ in range(100):
                await asyncio.sleep(0)
            assert simulator.calls[0].parts_sent < 100
        await simulator.calls[0].over.wait()
        assert simulator.calls[0].aborted


@on_both_loops
async def test_a_pooled_connection_can_die_idle():
    """After the chosen number of answers the connection closes, unannounced."""
    async with Simulator(Answer(body=b"{}")) as simulator:
        simulator.close_idle_after(2)
        async with connected(simulator.base_url) as client:
            for _ in range(2):
                client.send()
                answer = await client.until(b"\r\n\r\n{}")
                assert b"connection" not in answer.lower()
            assert await client.reader.read() == b""


@on_both_loops
async def test_nobody_listens_at_a_refused_url():
    """Connecting is refused at once."""
    with refused_base_url() as base_url, pytest.raises(ConnectionRefusedError):
        await ask(base_url)


@on_both_loops
async def test_reset_before_the_head():
    """The connection is reset and nothing was sent."""
    got = await _broken(Fault.RESET_BEFORE_HEAD)
    assert got.raw == b""
    assert isinstance(got.error, ConnectionResetError)


@on_both_loops
async def test_reset_in_the_head():
    """Some of the head comes, then a reset."""
    got = await _broken(Fault.RESET_IN_HEAD)
    assert STREAM.head().startswith(got.raw)
    assert isinstance(got.error, ConnectionResetError)


@on_both_loops
async def test_reset_between_frames():
    """The frames before the fault come whole, then a reset."""
    got = await _broken(Fault.RESET_BETWEEN_FRAMES, at=2)
    assert b"".join(FRAMES[:2]) == got.body
    assert isinstance(got.error, ConnectionResetError)


@on_both_loops
async def test_reset_inside_a_frame():
    """The last frame comes in part, then a reset."""
    got = await _broken(Fault.RESET_INSIDE_FRAME, at=1)
    assert got.body.startswith(FRAMES[0] + b"data")
    assert FRAMES[0] + FRAMES[1] not in got.body
    assert isinstance(got.error, ConnectionResetError)


@on_both_loops
async def test_stall():
    """The frames before the fault come, then nothing, and the connection stays open."""
    async with Simulator(Answer(frames=FRAMES, fault=Fault.STALL, at=1)) as simulator:
        async with connected(simulator.base_url) as client:
            client.send()
            await client.until(FRAMES[0])
            await asyncio.sleep(0)
            assert simulator.open_connections == 1
            assert not simulator.calls[0].over.is_set()
        await simulator.calls[0].over.wait()


@on_both_loops
async def test_drip():
    """The whole answer comes, a byte at a time."""
    got = await _broken(Fault.DRIP)
    assert b"".join(FRAMES) == got.body
    assert got.is_whole


@on_both_loops
async def test_no_terminal_event():
    """The answer is whole for HTTP, but its last frames are missing."""
    got = await _broken(Fault.NO_TERMINAL_EVENT, at=2)
    assert b"".join(FRAMES[:2]) == got.body
    assert got.is_whole


@pytest.mark.parametrize("chunked", [True, False])
@on_both_loops
async def test_no_last_chunk(chunked):
    """The connection closes in order, but earlier than HTTP says."""
    got = await _broken(Fault.NO_LAST_CHUNK, chunked=chunked)
    assert not got.is_whole
    assert b"".join(FRAMES).startswith(got.body)
    assert got.error is None


@on_both_loops
async def test_rate_limited():
    """Status 429, with Retry-After and an error body."""
    got = await _broken(Fault.RATE_LIMITED)
    assert got.status == 429
    assert b"retry-after: 7" in got.head
    assert b"rate_limit_exceeded" in got.body


@on_both_loops
async def test_server_error():
    """Status 503 with an error body."""
    got = await _broken(Fault.SERVER_ERROR)
    assert got.status == 503
    assert b"overloaded" in got.body


@on_both_loops
async def test_wrong_content_type():
    """Status 200 and a page of HTML."""
    got = await _broken(Fault.WRONG_CONTENT_TYPE)
    assert got.status == 200
    assert b"content-type: text/html" in got.head


@on_both_loops
async def test_invalid_json():
    """Half of the frame's data, or half of the body, with its framing intact."""
    got = await _broken(Fault.INVALID_JSON, at=1)
    assert FRAMES[0] + b"data: {\n\n" + FRAMES[2] == got.body
    async with Simulator(Answer(body=b'{"a":1}', fault=Fault.INVALID_JSON)) as simulator:
        assert (await ask(simulator.base_url)).body == b'{"a'


@on_both_loops
async def test_huge_frame():
    """One frame of ten megabytes among the others."""
    got = await _broken(Fault.HUGE_FRAME, at=1)
    assert len(got.body) > HUGE_FRAME_BYTES
    assert got.body.endswith(FRAMES[2])


def test_as_a_program_it_prints_its_port_and_streams_until_it_is_terminated():
    """`python -m` serves JSON and streams of the chosen size, to forms too, and ends on SIGTERM."""
    command = [sys.executable, "-m", "antiphon.drivers.simulator", "--frames", "20", "--json-bytes", "1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            base_url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
            body = asyncio.run(ask(base_url)).body
            stream = asyncio.run(ask(base_url, b'{"stream":true}')).body
            ranking = asyncio.run(ask(base_url, path="/v1/rerank")).body
            texts = [
                asyncio.run(ask(base_url, form(fields), "/v1/audio/transcriptions")).body
                for fields in ([SOUND], [SOUND, ("stream", "true")])
            ]
        finally:
            process.send_signal(signal.SIGTERM)
    assert len(body) == 1000
    assert stream.count(b"\n\n") == 20
    assert stream.endswith(b"data: [DONE]\n\n")
    assert b'"results":[' in ranking
    assert (len(texts[0]), texts[1].count(b"\n\n")) == (1000, 20)
    assert process.returncode == 0


def test_as_a_program_it_speaks_every_dialect_of_upstreams():
    """Each dialect is answered on its own path, as JSON of the chosen size and as a stream of so many frames."""
    command = [sys.executable, "-m", "antiphon.drivers.simulator", "--frames", "20", "--json-bytes", "1000"]
    gemini = "/v1beta/models/m:%s"
    paths = {
        "/v1/chat/completions": ("/v1/chat/completions", b"\n\n"),
        "/v1/responses": ("/v1/responses", b"\n\n"),
        "/v1/messages": ("/v1/messages", b"\n\n"),
        "/api/chat": ("/api/chat", b"}\n"),
        gemini % "generateContent": (gemini % "streamGenerateContent?alt=sse", b"\r\n\r\n"),
    }
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            base_url = f"http://127.0.0.1:{int(process.stdout.readline())}"
            for path, (streamed, frame_end) in paths.items():
                whole = asyncio.run(ask(base_url, b"{}", path)).body
                stream = asyncio.run(ask(base_url, b'{"stream":true}', streamed)).body
                assert (path, len(whole), stream.count(frame_end)) == (path, 1000, 20)
            counted = asyncio.run(
                ask(base_url, b'{"stream":true,"stream_options":{"include_usage":true}}')
            ).body
        finally:
            process.send_signal(signal.SIGTERM)
    assert (counted.count(b"\n\n"), counted.count(b'"usage"')) == (20, 1)


async def _broken(fault, at=1, chunked=None):
    async with Simulator(Answer(frames=FRAMES, fault=fault, at=at, chunked=chunked)) as simulator:
        return await ask(simulator.base_url)
