"""HTTP/1.1 as clients speak it, well and badly."""

import asyncio
import itertools
import json
import socket

import pytest
import uvloop
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.wire import (
    GET,
    HEAD_OF_POST,
    JSON,
    Answer,
    Cable,
    Held,
    Watcher,
    answers_in,
    chunked,
    describing,
    listening,
    post,
    wire,
)
from waiting import eventually


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request):
    """Run a coroutine on the loop that serves users, and on the one that libraries use."""
    return uvloop.run if request.param == "uvloop" else asyncio.run


# Requests that are understood.


def test_a_body_with_a_length_reaches_the_handler():
    """Method, path, query, headers in lower case and the whole body are handed over."""
    cable = Cable()
    cable.receive(post(b'{"a":1}', b"/b/c?d=e&f", b"X-Mark: One", b"x-mark: two"))
    (answer,) = answers_in(cable.out)
    assert answer.json() == {
        "method": "POST",
        "path": "/b/c",
        "query": "d=e&f",
        "headers": {"host": "x", "content-length": "7", "x-mark": "One, two"},
        "body": '{"a":1}',
    }


def test_a_body_in_chunks_reaches_the_handler():
    """Chunks are joined; extensions and trailers are read over."""
    cable = Cable()
    cable.receive(
        HEAD_OF_POST + b"Transfer-Encoding: Chunked\r\n\r\n"
        b'2;name=value\r\nab\r\n0003\r\ncde\r\nA;q="x"\r\n0123456789\r\n0\r\nX-Trailer: y\r\n\r\n' + GET
    )
    first, second = answers_in(cable.out)
    assert first.json()["body"] == "abcde0123456789"
    assert "x-trailer" not in first.json()["headers"]
    assert second.json()["path"] == "/a"


def test_a_target_may_be_absolute():
    """The authority of an absolute target is not part of the path."""
    cable = Cable()
    cable.receive(b"GET http://gateway:8080/v1/models?x HTTP/1.1\r\nHost: gateway:8080\r\n\r\n")
    cable.receive(b"GET https://gateway HTTP/1.1\r\nHost: gateway\r\n\r\n")
    asked = [answer.json() for answer in answers_in(cable.out)]
    assert [(each["path"], each["query"]) for each in asked] == [("/v1/models", "x"), ("/", "")]


def test_empty_lines_before_a_request_are_skipped():
    """Some clients send a line end too many after a body."""
    cable = Cable()
    cable.receive(b"\r\n" + post(b"x") + b"\r\n\r\n" + GET)
    assert [answer.status for answer in answers_in(cable.out)] == [200, 200]


def test_a_connection_is_kept_for_the_next_request(run):
    """Several requests, one after the other, with and without body."""

    async def scenario():
        async with listening() as (server, port), wire(port) as client:
            for number in range(5):
                answer = await client.ask("POST", f"/{number}", {"n": number})
                assert f"/{number}" == answer.json()["path"]
                assert "connection" not in answer.headers
                assert "date" in answer.headers
            assert server.connections == 1

    run(scenario())


def test_a_connection_is_closed_when_the_client_says_so():
    """The answer repeats it, and nothing is read any more."""
    cable = Cable()
    cable.receive(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    (answer,) = answers_in(cable.out)
    assert answer.headers["connection"] == "close"
    assert cable.is_closed


def test_http_1_0_is_closed_unless_it_is_to_be_kept():
    """The old version needs no Host, and keeps a connection only on demand."""
    cable = Cable()
    cable.receive(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert not cable.is_closed
    cable.receive(b"GET /a HTTP/1.0\r\n\r\n")
    kept, closed = answers_in(cable.out)
    assert (kept.headers["connection"], closed.headers["connection"]) == ("keep-alive", "close")
    assert cable.is_closed


def streaming(_request, reply):
    reply.start(200, JSON)
    reply.write(b"one")
    reply.write(b"")
    reply.write(b"two")
    reply.end()


def test_a_stream_is_sent_in_chunks():
    """An answer of unknown length has its end in the framing, and the connection goes on."""
    cable = Cable(streaming)
    out = cable.receive(GET)
    assert out.endswith(b"transfer-encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not cable.is_closed


def test_a_stream_to_http_1_0_ends_with_the_connection():
    """The old version has no chunks."""
    cable = Cable(streaming)
    out = cable.receive(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert out.endswith(b"connection: close\r\n\r\nonetwo")
    assert cable.is_closed


def test_head_gets_no_body():
    """HEAD tells the length of what GET would get; the next answer is found at its place."""
    cable = Cable()
    cable.receive(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    head, _, rest = bytes(cable.out).partition(b"\r\n\r\n")
    (answer,) = answers_in(rest)
    assert b"content-length: %d" % (len(answer.body) + 1) in head
    assert answer.json()["method"] == "GET"


def test_head_of_a_stream_gets_no_body():
    """Not even the end of the framing."""
    cable = Cable(streaming)
    out = cable.receive(b"HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert out.endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert not cable.is_closed


def test_a_status_that_nobody_registered_is_passed_on():
    """Upstreams answer 529 when they are overloaded."""
    cable = Cable(lambda _request, reply: reply.send(529, JSON, b"{}"))
    cable.receive(GET)
    assert [answer.status for answer in answers_in(cable.out)] == [529]


def test_a_large_answer_is_sent_whole(run):
    """A body beyond all buffers arrives as it is."""
    body = bytes(range(256)) * 40_000

    async def scenario():
        async with (
            listening(lambda _request, reply: reply.send(200, JSON, body)) as (_, port),
            wire(port) as client,
        ):
            for _ in range(2):
                assert body == (await client.ask("GET", "/")).body

    run(scenario())


def test_bytes_may_come_one_by_one(run):
    """Over a socket that holds nothing back."""
    data = GET + post(b"abc") + chunked(b"de", b"f") + EXPECTING + b"ghi"

    async def scenario():
        async with listening() as (_, port), wire(port) as client:
            client.writer.transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
            )
            for at in range(len(data)):
                client.send(data[at : at + 1])
                await client.writer.drain()
                await asyncio.sleep(0)
            bodies = [(await client.answer()).json()["body"] for _ in range(3)]
            assert bodies == ["", "abc", "def"]
            assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
            assert (await client.answer()).json()["body"] == "ghi"

    run(scenario())


# Pipelining.


def test_many_requests_in_one_packet_are_answered_in_order(run):
    """As many as fit into a read, and more."""
    paths = [f"/{number}" for number in range(500)]

    async def scenario():
        async with listening() as (_, port), wire(port) as client:
            client.send(b"".join(post(b"x", path.encode()) for path in paths))
            assert paths == [(await client.answer()).json()["path"] for _ in paths]

    run(scenario())


def test_a_request_waits_for_the_answer_before_it():
    """The handler sees the next request when the one before was answered, so that order keeps itself."""
    held = Held()
    cable = Cable(held)
    cable.receive(post(b"1") + post(b"2") + post(b"3"))
    seen = []
    for body in (b"1", b"2", b"3"):
        seen.append([request.body for request in held.requests])
        held.replies[-1].send(200, JSON, body)
        cable.settle()
    assert seen == [[b"1"], [b"1", b"2"], [b"1", b"2", b"3"]]
    assert [answer.body for answer in answers_in(cable.out)] == [b"1", b"2", b"3"]
    assert held.heard == [("sent", 0), ("sent", 1), ("sent", 2)]


def test_requests_far_ahead_stay_with_the_kernel():
    """Whoever sends without reading fills no memory; when answers have gone out, reading goes on."""
    held = Held()
    cable = Cable(held)
    cable.receive(b"".join(post(b"x") for _ in range(20)))
    assert cable.is_paused
    for number in range(20):
        held.replies[number].send(200, JSON, b"")
        cable.settle()
    assert not cable.is_paused
    assert len(answers_in(cable.out)) == 20


def test_large_bodies_far_ahead_stay_with_the_kernel():
    """One large request is enough to stop reading."""
    held = Held()
    cable = Cable(held)
    cable.receive(post(b"first") + post(b"x" * 100_000))
    assert cable.is_paused
    held.replies[0].send(200, JSON, b"")
    cable.settle()
    assert not cable.is_paused


def test_a_handful_of_requests_ahead_does_not_stop_reading():
    """Who reads sees when the client leaves."""
    cable = Cable(Held())
    cable.receive(GET * 3)
    assert not cable.is_paused


def test_a_bad_request_is_refused_after_the_good_ones_before_it():
    """Good requests of the same packet get their answers; the refusal comes last and ends the connection."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET + post(b"x") + b"nonsense\r\n\r\n" + GET)
    assert cable.out == b""
    held.replies[0].send(200, JSON, b"first")
    cable.settle()
    held.replies[1].send(200, JSON, b"second")
    cable.settle()
    first, second, refusal = answers_in(cable.out)
    assert (first.body, second.body) == (b"first", b"second")
    assert refusal.error == (400, "bad_request")
    assert len(held.requests) == 2
    assert cable.is_half_closed


def test_nothing_is_answered_after_the_last_answer():
    """Requests after `Connection: close` are no requests."""
    cable = Cable()
    cable.receive(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + GET)
    assert len(answers_in(cable.out)) == 1
    assert len(answers_in(cable.pass_time(3))) == 1
    assert cable.is_closed


# Expect: 100-continue.

EXPECTING = HEAD_OF_POST + b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_a_client_that_asks_first_is_told_to_go_on(run):
    """The body is sent after the interim answer only."""

    async def scenario():
        async with listening() as (_, port), wire(port) as client:
            client.send(EXPECTING)
            assert await client.reader.readexactly(len(CONTINUE)) == CONTINUE
            client.send(b"abc")
            assert (await client.answer()).json()["body"] == "abc"

    run(scenario())


def test_continue_is_said_for_chunks_too():
    """The body's framing does not matter."""
    cable = Cable()
    assert (
        cable.receive(HEAD_OF_POST + b"Transfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n")
        == CONTINUE
    )
    cable.receive(b"1\r\nx\r\n0\r\n\r\n")
    assert [answer.status for answer in answers_in(cable.out)] == [100, 200]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: 101\r\nExpect: 100-continue", 413),
        (b"Content-Length: 3\r\nExpect: 200-maybe", 417),
        (b"Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue", 417),
        (b"Expect: something", 417),
        (b"Content-Length: 3\r\nExpect: 100-continue\r\nHost: y", 400),
        (b"Transfer-Encoding: gzip, chunked\r\nExpect: 100-continue", 400),
    ],
)
def test_continue_is_not_said_before_a_refusal(head, status):
    """Who is refused need not send the body."""
    cable = Cable(max_body_bytes=100)
    cable.receive(HEAD_OF_POST + head + b"\r\n\r\n")
    assert [status] == [answer.status for answer in answers_in(cable.out)]
    assert cable.is_half_closed


@pytest.mark.parametrize(
    "data",
    [
        b"POST /b HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
        b"GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        HEAD_OF_POST + b"Content-Length: 0\r\nExpect: 100-continue\r\n\r\n",
    ],
)
def test_continue_is_not_said_where_it_means_nothing(data):
    """HTTP/1.0 does not know it, and without a body there is nothing to go on with."""
    cable = Cable()
    cable.receive(data)
    assert [answer.status for answer in answers_in(cable.out)] == [200]


def test_continue_waits_for_the_answers_before_it():
    """An interim answer belongs to its request and keeps the order."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET + GET + EXPECTING)
    for number in range(2):
        assert CONTINUE not in cable.out
        held.replies[number].send(200, JSON, b"{}")
        cable.settle()
    assert cable.out.endswith(b"{}" + CONTINUE)
    cable.receive(b"abc")
    held.replies[2].send(200, JSON, b"{}")
    assert [answer.status for answer in answers_in(cable.out)] == [200, 200, 100, 200]


def test_continue_is_not_said_to_a_later_request():
    """A pipelining client that does not wait has what it needs; the next request is another one."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET + EXPECTING + b"abc" + HEAD_OF_POST + b"Content-Length: 3\r\n\r\nx")
    for number in range(2):
        held.replies[number].send(200, JSON, b"{}")
        cable.settle()
    assert [answer.status for answer in answers_in(cable.out)] == [200, 200]


# Upgrades.


def test_an_upgrade_is_answered_as_http():
    """WebSocket is not spoken here: the request is answered, and the connection ends with it."""
    cable = Cable()
    cable.receive(
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"\x81\x05hello"
    )
    (answer,) = answers_in(cable.out)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    cable.pass_time(3)
    assert cable.is_closed


UPGRADING = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 7\r\n\r\n" + b'{"a":1}',
        b"Transfer-Encoding: chunked\r\n\r\n" + b'2\r\n{"\r\n5\r\na":1}\r\n0\r\n\r\n',
    ],
)
@pytest.mark.parametrize("is_split", [False, True])
def test_a_body_after_an_offered_upgrade_is_read(rest, is_split):
    """Java's HTTP client offers h2c with every request that has a body."""
    data = HEAD_OF_POST + UPGRADING + rest
    cable = Cable()
    cable.receive(*[data[at : at + 1] for at in range(len(data))] if is_split else [data])
    (answer,) = answers_in(cable.out)
    assert tuple(answer.json()[name] for name in ("method", "path", "body")) == ("POST", "/b", '{"a":1}')
    assert answer.headers["connection"] == "close"
    assert cable.is_closed


def test_a_request_before_an_offered_upgrade_is_answered_as_ever():
    """The offer concerns the request that makes it."""
    cable = Cable()
    cable.receive(GET + HEAD_OF_POST + UPGRADING + b"Content-Length: 2\r\n\r\nab")
    first, second = answers_in(cable.out)
    assert "connection" not in first.headers
    assert second.json()["body"] == "ab"


def test_limits_hold_for_a_body_after_an_offered_upgrade():
    """Too large is too large, and malformed is malformed."""
    head = HEAD_OF_POST + UPGRADING
    for rest, status in (
        (b"Content-Length: 101\r\n\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101, 413),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    ):
        cable = Cable(max_body_bytes=100)
        cable.receive(head + rest)
        assert [status] == [answer.status for answer in answers_in(cable.out)]


def test_a_tunnel_is_not_made():
    """CONNECT is a request like others, and nothing after it is read."""
    cable = Cable()
    cable.receive(b"CONNECT other:443 HTTP/1.1\r\nHost: other\r\nContent-Length: 5\r\n\r\nhello")
    (answer,) = answers_in(cable.out)
    assert tuple(answer.json()[name] for name in ("method", "path", "body")) == ("CONNECT", "other:443", "")
    assert answer.headers["connection"] == "close"


# What is ambiguous or malformed.

AMBIGUOUS = {
    "both lengths": HEAD_OF_POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "both lengths, the other way": HEAD_OF_POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
    "two lengths": HEAD_OF_POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab",
    "the same length twice": HEAD_OF_POST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    "a list of lengths": HEAD_OF_POST + b"Content-Length: 2, 2\r\n\r\nab",
    "a signed length": HEAD_OF_POST + b"Content-Length: +2\r\n\r\nab",
    "a negative length": HEAD_OF_POST + b"Content-Length: -2\r\n\r\nab",
    "a hexadecimal length": HEAD_OF_POST + b"Content-Length: 0x2\r\n\r\nab",
    "an empty length": HEAD_OF_POST + b"Content-Length: \r\n\r\nab",
    "a length beyond all numbers": HEAD_OF_POST + b"Content-Length: 99999999999999999999999\r\n\r\nab",
    "an encoding before chunked": HEAD_OF_POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "an encoding after chunked": HEAD_OF_POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD_OF_POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "identity": HEAD_OF_POST + b"Transfer-Encoding: identity\r\n\r\n",
    "nearly chunked": HEAD_OF_POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked after a control character": HEAD_OF_POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /b HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is none": chunked()[:-5] + b"g\r\n",
    "a chunk size with prefix": chunked()[:-5] + b"0x2\r\nab\r\n",
    "a negative chunk size": chunked()[:-5] + b"-2\r\n",
    "an empty chunk size": chunked()[:-5] + b"\r\n",
    "a chunk size and a space": chunked()[:-5] + b"2 \r\nab\r\n",
    "a chunk size beyond all numbers": chunked()[:-5] + b"fffffffffffffffff\r\n",
    "a chunk longer than its size": chunked()[:-5] + b"2\r\nabc\r\n0\r\n\r\n",
    "a chunk size with a bare LF": chunked()[:-5] + b"2\nab\r\n0\r\n\r\n",
    "a chunk extension with a bare LF": chunked()[:-5] + b"2;a=\nb\r\nab\r\n0\r\n\r\n",
    "a length in the trailers": chunked()[:-2] + b"Content-Length: 3\r\n\r\n",
    "a folded header": b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n",
    "a folded first header": b"GET /a HTTP/1.1\r\n Host: x\r\n\r\n",
    "no Host": b"GET /a HTTP/1.1\r\nX-A: b\r\n\r\n",
    "an empty Host": b"GET /a HTTP/1.1\r\nHost:\r\n\r\n",
    "two Hosts": b"GET /a HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    "two Authorizations": b"GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nauthorization: b\r\n\r\n",
    "a bare LF after the request line": b"GET /a HTTP/1.1\nHost: x\r\n\r\n",
    "a bare LF after a header": b"GET /a HTTP/1.1\r\nHost: x\nX-A: b\r\n\r\n",
    "a bare LF after the head": b"GET /a HTTP/1.1\r\nHost: x\r\n\n",
    "a bare CR in a header": b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\rc\r\n\r\n",
    "a NUL in a header": b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\0c\r\n\r\n",
    "a NUL in the target": b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n",
    "a space before the colon": b"GET /a HTTP/1.1\r\nHost : x\r\n\r\n",
    "a header without name": b"GET /a HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
    "a header without colon": b"GET /a HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n",
    "a target that is no path": b"GET a/b HTTP/1.1\r\nHost: x\r\n\r\n",
    "bytes in the target": b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a method in lower case": b"get /a HTTP/1.1\r\nHost: x\r\n\r\n",
    "an unheard-of version": b"GET /a HTTP/1.7\r\nHost: x\r\n\r\n",
    "a space after the version": b"GET /a HTTP/1.1 \r\nHost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)),
    "another protocol": b"EHLO mail.example.org\r\n",
}


@pytest.mark.parametrize("data", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_is_ambiguous_is_refused(data):
    """The handler never sees it, the client is told in OpenAI's envelope, and the connection ends."""
    held = Held()
    cable = Cable(held)
    cable.receive(data)
    (answer,) = answers_in(cable.out)
    assert answer.error == (400, "bad_request")
    assert answer.headers["connection"] == "close"
    assert held.requests == []
    assert cable.is_half_closed
    cable.pass_time(3)
    assert cable.is_closed


@pytest.mark.parametrize("line", [b"GET /a HTTP/2.0", b"GET /a HTTP/0.9", b"GET /a"])
def test_other_versions_are_refused(line):
    """What is not 1.0 or 1.1 has its own status."""
    cable = Cable()
    cable.receive(line + b"\r\nHost: x\r\n\r\n")
    assert answers_in(cable.out)[0].error == (505, "http_version_not_supported")


# Limits.


def test_a_head_up_to_the_limit_is_read():
    """The bound is no lower than it says, in one read or in many."""
    data = b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 900 + b"\r\n\r\n"
    for pieces in ([data], [data[:500], data[500:]]):
        cable = Cable(max_header_bytes=1000)
        cable.receive(*pieces)
        assert [answer.status for answer in answers_in(cable.out)] == [200]


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
@pytest.mark.parametrize("size", [1, 700, 100_000])
def test_a_head_beyond_the_limit_is_refused(size, end):
    """Whether it comes at once or in pieces, ends or goes on: never much more than the limit is held."""
    data = b"GET /a HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 2100 + end
    cable = Cable(max_header_bytes=1000)
    cable.receive(*(data[at : at + size] for at in range(0, len(data), size)))
    if end or size < len(data):
        assert answers_in(cable.out)[0].error == (431, "headers_too_large")
        assert cable.is_half_closed
    else:
        # What a single read brings is there already: the next byte, or time, decides.
        cable.receive(b"a" * 1001)
        assert answers_in(cable.out)[0].error == (431, "headers_too_large")


def test_a_long_target_counts():
    """The request line is part of the head."""
    cable = Cable(max_header_bytes=1000)
    cable.receive(b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [answer.status for answer in answers_in(cable.out)] == [431]


@pytest.mark.parametrize("line", [b"X-%d: a\r\n", b"X-Same: %d\r\n"])
def test_too_many_headers_are_refused(line):
    """A name that is repeated counts each time."""
    for count, status in ((9, 200), (10, 431)):
        cable = Cable(max_headers=10)
        lines = b"".join(line % number for number in range(count))
        cable.receive(b"GET /a HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n")
        assert [status] == [answer.status for answer in answers_in(cable.out)]


def test_endless_trailers_are_refused():
    """A body's end may not be used to fill memory, nor may what stands between its chunks."""
    for filling in (b"0\r\nX-A: " + b"a" * 600, b"1;a=" + b"a" * 600, b"0\r\n" + b"X-A: b\r\n" * 100):
        cable = Cable(max_header_bytes=1000)
        cable.receive(chunked()[:-5], filling, b"a" * 600, b"a" * 600)
        assert answers_in(cable.out)[0].error == (431, "headers_too_large")


def test_a_body_up_to_the_limit_is_read():
    """The bound is no lower than it says."""
    for data in (post(b"x" * 1000), chunked(b"x" * 600, b"x" * 400)):
        cable = Cable(max_body_bytes=1000)
        cable.receive(data)
        assert [answer.status for answer in answers_in(cable.out)] == [200]


def test_a_body_with_too_large_a_length_is_refused_at_once():
    """Nobody need send what is not wanted."""
    cable = Cable(max_body_bytes=1000)
    cable.receive(HEAD_OF_POST + b"Content-Length: 1001\r\n\r\n")
    assert answers_in(cable.out)[0].error == (413, "request_too_large")


def test_a_body_of_too_many_chunks_is_refused():
    """As soon as the limit is passed."""
    cable = Cable(max_body_bytes=1000)
    cable.receive(chunked(b"x" * 600, b"x" * 401)[:-5])
    assert answers_in(cable.out)[0].error == (413, "request_too_large")


def test_tiny_chunks_take_no_more_memory_than_their_bytes():
    """The largest body in the smallest pieces comes through as one."""
    cable = Cable()
    cable.receive(chunked(*[b"ab"] * 10_000))
    assert answers_in(cable.out)[0].json()["body"] == "ab" * 10_000


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_client_that_goes_on_sending_can_read_why_not(run, framing):
    """The refusal is not lost in a reset, though the client sends its whole body first."""

    async def scenario():
        async with listening(max_body_bytes=1000) as (server, port), wire(port) as client:
            piece = b"x" * 100_000
            client.send(HEAD_OF_POST)
            if framing == "length":
                client.send(b"Content-Length: 5000000\r\n\r\n")
            else:
                client.send(b"Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n")
            for _ in range(50):
                client.send(piece)
                await client.writer.drain()
            answer = await client.answer()
            assert answer.error == (413, "request_too_large")
            assert await client.rest() == b""
            client.writer.close()
            await eventually(lambda: server.connections == 0)

    run(scenario())


# Time.


def test_a_head_that_drips_is_too_slow():
    """A byte now and then does not keep a connection; the client is told."""
    cable = Cable(header_timeout=10.0)
    for at in range(9):
        cable.receive(GET[at : at + 1])
        assert cable.pass_time(1) == b""
    cable.receive(GET[9:12])
    cable.pass_time(1)
    assert answers_in(cable.out)[0].error == (408, "request_timeout")
    assert cable.is_half_closed
    cable.pass_time(2)
    assert cable.is_closed


def test_a_body_that_drips_is_too_slow():
    """The body has its own time, from the end of the head."""
    cable = Cable(header_timeout=10.0, body_timeout=20.0)
    cable.receive(post(b"x" * 100)[:-90])
    for _ in range(19):
        cable.receive(b"x")
        assert cable.pass_time(1) == b""
    cable.pass_time(1)
    assert answers_in(cable.out)[0].error == (408, "request_timeout")


def test_a_connection_that_says_nothing_is_closed_silently():
    """Nothing was asked, so nothing is answered."""
    cable = Cable(header_timeout=10.0)
    cable.pass_time(9)
    assert not cable.is_closed
    assert cable.pass_time(1) == b""
    assert cable.is_closed


def test_an_idle_connection_is_closed_silently():
    """After an answer there is time for the next request, and then none; empty lines are no request."""
    cable = Cable(header_timeout=10.0, keep_alive_timeout=60.0)
    out = cable.receive(GET)
    cable.pass_time(59)
    cable.receive(b"\r\n")
    assert not cable.is_closed
    assert out == cable.pass_time(1)
    assert cable.is_closed


def test_the_next_request_has_its_own_time():
    """The time of a head starts with its first byte."""
    cable = Cable(header_timeout=10.0, keep_alive_timeout=60.0)
    cable.receive(GET)
    cable.pass_time(59)
    cable.receive(GET[:5])
    cable.pass_time(9)
    cable.receive(GET[5:])
    assert len(answers_in(cable.out)) == 2


def test_an_answer_may_take_its_time():
    """The limits are for clients: while the gateway works nothing runs out, not even for what comes after."""
    held = Held()
    cable = Cable(held, header_timeout=10.0, body_timeout=10.0, keep_alive_timeout=10.0)
    cable.receive(GET + GET[:10])
    cable.pass_time(1000)
    held.replies[0].send(200, JSON, b"{}")
    cable.pass_time(9)
    cable.receive(GET[10:])
    held.replies[1].send(200, JSON, b"{}")
    assert [answer.status for answer in answers_in(cable.out)] == [200, 200]


def test_a_pipelined_request_that_drips_is_too_slow():
    """Its time starts when it is its turn."""
    held = Held()
    cable = Cable(held, header_timeout=10.0)
    cable.receive(GET + GET[:10])
    held.replies[0].send(200, JSON, b"{}")
    cable.pass_time(10)
    assert [answer.status for answer in answers_in(cable.out)] == [200, 408]


def test_a_client_that_drips_is_closed(run):
    """The same with a clock on the wall."""

    async def scenario():
        async with (
            listening(header_timeout=0.05, body_timeout=0.05) as (server, port),
            wire(port) as in_head,
            wire(port) as in_body,
            wire(port) as silent,
        ):
            in_head.send(GET[:10])
            in_body.send(post(b"abc")[:-1])
            assert (await in_head.answer()).error == (408, "request_timeout")
            assert (await in_body.answer()).error == (408, "request_timeout")
            assert await silent.rest() == b""
            in_head.writer.close()
            in_body.writer.close()
            await eventually(lambda: server.connections == 0)

    run(scenario())


def test_a_refused_client_cannot_hold_the_connection_by_sending_on():
    """It has a moment to read, no more than a body's time, however much it sends."""
    cable = Cable(body_timeout=5.0)
    cable.receive(b"nonsense\r\n\r\n")
    for _ in range(4):
        cable.receive(b"x")
        cable.pass_time(1.5)
    assert cable.is_closed


def test_a_client_that_does_not_read_is_given_up():
    """An answer that nobody takes is held as long as an idle connection; some progress prolongs that."""
    held = Held()
    cable = Cable(held, keep_alive_timeout=60.0)
    cable.receive(GET)
    cable.connection.pause_writing()
    for unsent in (100_000, 50_000, 10_000):
        cable.unsent = unsent
        cable.pass_time(60)
        assert not cable.is_closed
    cable.pass_time(60)
    assert cable.is_closed
    assert held.heard == [("gone", 0)]


def test_an_ended_answer_that_is_not_read_is_given_up():
    """Closing does not wait for ever for the rest to be taken."""
    for request in (GET, b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"):
        cable = Cable(keep_alive_timeout=60.0)
        cable.unsent = 1000
        cable.receive(request)
        for _ in range(3):
            cable.pass_time(60)
        assert cable.is_closed


# What becomes of replies.


def test_a_reply_is_sent_once():
    """`on_sent` comes once, whatever happens afterwards."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET)
    held.replies[0].send(200, JSON, b"{}")
    held.replies[0].send(500, JSON, b"{}")
    held.replies[0].write(b"more")
    held.replies[0].end()
    held.replies[0].abort()
    cable.close()
    cable.settle()
    assert held.heard == [("sent", 0)]
    assert [answer.status for answer in answers_in(cable.out)] == [200]


def test_a_congested_reply_is_sent_when_the_client_has_read():
    """An answer that is still on its way is not sent yet, and the next request waits."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET + GET)
    cable.connection.pause_writing()
    assert held.replies[0].congested
    held.replies[0].send(200, JSON, b"{}")
    cable.settle()
    assert (held.heard, len(held.requests)) == ([], 1)
    cable.connection.resume_writing()
    cable.settle()
    assert (held.heard, len(held.requests)) == ([("sent", 0)], 2)


def test_a_congested_reply_hears_when_it_may_go_on():
    """`on_writable` comes as often as the client catches up."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET)
    held.replies[0].start(200, JSON)
    for _ in range(2):
        cable.connection.pause_writing()
        held.replies[0].write(b"x")
        cable.connection.resume_writing()
    held.replies[0].end()
    assert held.heard == [("writable", 0), ("writable", 0), ("sent", 0)]


@pytest.mark.parametrize("progress", ["nothing", "begun", "ended"])
def test_a_reply_hears_once_that_the_client_has_left(progress):
    """Before the head, in the body, or with the end still unread; writing is harmless then."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET)
    (reply,) = held.replies
    if progress != "nothing":
        reply.start(200, JSON)
        cable.connection.pause_writing()
    if progress == "ended":
        reply.end()
    cable.close()
    cable.settle()
    reply.start(200, JSON)
    reply.write(b"x")
    reply.end()
    reply.send(200, JSON, b"x")
    reply.abort()
    assert held.heard == [("gone", 0)]


def test_who_watches_after_the_client_has_left_hears_it_too():
    """Not before the watcher is finished with what it is doing."""
    replies, heard = [], []
    cable = Cable(lambda _request, reply: replies.append(reply))
    cable.receive(GET)
    cable.close()
    cable.settle()
    replies[0].watch(Watcher(heard, 0))
    replies[0].watch(Watcher(heard, 1))
    assert heard == []
    cable.settle()
    assert heard == [("gone", 1)]


def test_an_aborted_reply_ends_without_its_end():
    """The connection is cut, so that what was sent does not look whole."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET + GET)
    held.replies[0].start(200, JSON)
    held.replies[0].write(b"half")
    held.replies[0].abort()
    cable.settle()
    assert cable.is_closed
    assert cable.out.endswith(b"4\r\nhalf\r\n")
    assert (held.heard, len(held.requests)) == ([("gone", 0)], 1)


def test_what_was_begun_cannot_be_replaced():
    """A second head in the middle of a body would be taken for a part of it: the connection is cut instead."""
    held = Held()
    cable = Cable(held)
    cable.receive(GET)
    held.replies[0].start(200, JSON)
    held.replies[0].write(b"half")
    held.replies[0].send(500, JSON, b"{}")
    cable.settle()
    assert cable.is_closed
    assert cable.out.endswith(b"4\r\nhalf\r\n")


def test_a_client_that_leaves_is_heard_of(run):
    """While the gateway works, and in the middle of a stream; by closing, by half, or by a reset."""

    async def scenario(leave, begun):
        held = Held()
        async with listening(held) as (server, port), wire(port) as client:
            client.send(GET)
            await eventually(lambda: held.replies)
            if begun:
                held.replies[0].start(200, JSON)
                held.replies[0].write(b"x")
                await client.head()
            leave(client.writer)
            await eventually(lambda: held.heard)
            assert held.heard == [("gone", 0)]
            await eventually(lambda: server.connections == 0)

    for leave in (
        lambda writer: writer.close(),
        lambda writer: writer.write_eof(),
        lambda writer: writer.transport.abort(),
    ):
        for begun in (False, True):
            run(scenario(leave, begun))


def test_a_slow_reader_holds_its_own_answer_back(run):
    """A client that does not read congests its reply, memory stays bounded, and another one is not held up."""
    piece = b"x" * 65536

    class Endless:
        """Writes a hundred megabytes as fast as the client takes them."""

        def __init__(self, reply):
            self.left = 1600
            self.reply = reply
            self.heard = []
            reply.watch(self)
            reply.start(200, JSON)
            self.on_writable()

        def on_writable(self):
            while self.left and not self.reply.congested:
                self.left -= 1
                self.reply.write(piece)
            if not self.left:
                self.left = -1
                self.reply.end()

        def on_sent(self):
            self.heard.append("sent")

        def on_gone(self):
            self.heard.append("gone")

    answers = []

    def handler(request, reply):
        if request.path == b"/endless":
            answers.append(Endless(reply))
        else:
            describing(request, reply)

    async def scenario():
        answers.clear()
        async with (
            listening(handler) as (server, port),
            wire(port, receive_buffer=4096) as slow,
            wire(port) as quick,
        ):
            slow.get("/endless")
            await eventually(lambda: answers and answers[0].reply.congested)
            for _ in range(20):
                assert (await quick.ask("GET", "/")).status == 200
            (connection,) = [c for c in server._listening.connections if c.congested]
            assert connection._transport.get_write_buffer_size() < 1_000_000
            # What is gone is in the kernel, which has its own bound.
            assert answers[0].left > 1000
            status, headers = await slow.head()
            got = 0
            while got < 1600 * len(piece) and answers[0].left > 900:
                got += len(await slow.reader.read(1 << 20))
            assert status == 200
            assert headers["transfer-encoding"] == "chunked"
            slow.writer.transport.abort()
            await eventually(lambda: answers[0].heard)
            assert answers[0].heard == ["gone"]

    run(scenario())


# Properties.

paths = st.sampled_from([b"/a", b"/v1/responses", b"/x?y=z"])
bodies = st.binary(max_size=40)
requests = st.one_of(
    st.builds(lambda path: b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n", paths),
    st.builds(lambda body, path: post(body, path, b"X-A: b", b"x-a: c"), bodies, paths),
    st.builds(lambda body: post(body, b"/b", b"Expect: 100-continue"), bodies.filter(bool)),
    st.builds(
        lambda chunks, path: chunked(*filter(None, chunks), path=path), st.lists(bodies, max_size=4), paths
    ),
    st.just(b"POST /b HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab"),
)
lasts = st.sampled_from(
    [
        b"",
        b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        HEAD_OF_POST + UPGRADING + b"Content-Length: 4\r\n\r\nabcd",
        HEAD_OF_POST + UPGRADING + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        *AMBIGUOUS.values(),
    ]
)


def split(data, cuts):
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def meaning(out):
    """Answers but for the interim ones, which depend on who was faster; what was wrong may be seen elsewhere."""
    answers = [answer for answer in answers_in(out) if answer.status != 100]
    return [
        Answer(answer.status, answer.headers, answer.body)
        if answer.status == 200
        else (answer.status, json.loads(answer.body)["error"]["code"])
        for answer in answers
    ]


@given(st.lists(requests, max_size=5), lasts, st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
@settings(max_examples=150, deadline=None)
@example([], AMBIGUOUS["TLS"], list(range(60)), True)
def test_answers_do_not_depend_on_how_bytes_are_split(good, last, cuts, turns):
    """Any sequence of requests, cut anywhere, has the answers of the same sequence in one piece."""
    data = b"".join(good) + last
    whole, cut = Cable(), Cable()
    whole.receive(data)
    cut.receive(*split(data, cuts), turns=turns)
    cut.settle()
    assert meaning(whole.out) == meaning(cut.out)
    assert whole.is_closed == cut.is_closed
    assert whole.is_half_closed == cut.is_half_closed
    assert len(good) <= len(meaning(cut.out))


edits = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=4
)


def edited(data, changes):
    for at, removed, added in changes:
        place = at % (len(data) + 1)
        data = data[:place] + added + data[place + removed :]
    return data


@given(
    st.one_of(
        st.binary(max_size=200),
        st.builds(
            edited, st.builds(lambda good, last: b"".join(good) + last, st.lists(requests), lasts), edits
        ),
    ),
    st.lists(st.integers(0, 10_000), max_size=8),
    st.booleans(),
)
@settings(max_examples=250, deadline=None)
def test_garbage_ends_in_an_answer_or_a_close(data, cuts, answers_at_once):
    """Whatever comes, nothing is raised, what goes out is HTTP, and in the end the connection is gone."""
    held = Held()
    cable = Cable(
        describing if answers_at_once else held, max_header_bytes=200, max_body_bytes=100, max_headers=5
    )
    cable.receive(*split(data, cuts))
    done = 0
    while done < len(held.replies):
        held.replies[done].send(200, JSON, b"{}")
        done += 1
        cable.settle()
    for _ in range(4):
        cable.pass_time(100)
    assert cable.is_closed
    assert set() == cable.listening.connections
    assert cable.listening.lingering == 0
    assert {answer.status for answer in answers_in(cable.out)} <= {100, 200, 400, 408, 413, 417, 431, 505}
    assert [("sent", number) for number in range(done)] == held.heard
