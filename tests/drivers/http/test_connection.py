"""What one connection makes of the bytes that an upstream sends."""

import asyncio

import pytest

from antiphon.drivers.http import Limits
from antiphon.ports.upstream import UpstreamRequest
from drivers.http.raw_upstream import ASK, OK, Heard, answers, ask, asked, soon

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"


def one_answer(run, *raw, then="wait", limits=None):
    """Ask once and return what was heard."""

    async def main():
        async with asked(answers(*raw, then=then), limits=limits) as (_, upstream):
            return await ask(upstream)

    return run(main)


def test_an_answer_reaches_the_sink_whole_with_lower_case_names(run):
    """Head, body and end arrive once each; header names are in lower case, values untouched."""
    heard = one_answer(run, HEAD + b"X-Thing: Some Value\r\nContent-Length: 5\r\n\r\nhello")
    assert (heard.status, heard.body, heard.ends, heard.fault) == (200, b"hello", 1, None)
    assert (b"x-thing", b"Some Value") in heard.headers


def test_chunks_of_one_read_are_one_piece(run):
    """The chunks that one network read brought are handed over together, without their framing."""
    heard = one_answer(run, CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n1\r\nf\r\n0\r\n\r\n")
    assert heard.pieces == [b"abcdef"]
    assert heard.ends == 1


def test_pieces_arrive_as_they_are_sent(run):
    """A streamed piece reaches the sink before the next one is sent."""

    async def main():
        go_on = asyncio.Event()

        async def script(line):
            await line.request()
            line.send(CHUNKED + b"3\r\none\r\n")
            await go_on.wait()
            line.send(b"3\r\ntwo\r\n0\r\n\r\n")
            await line.gone()

        async with asked(script) as (_, upstream):
            heard = Heard()
            upstream.send(ASK, heard)
            await soon(heard.got_data)
            assert heard.pieces == [b"one"]
            go_on.set()
            await heard.finished()
            assert heard.pieces == [b"one", b"two"]

    run(main)


def test_interim_answers_are_skipped(run):
    """The sink hears only of the final status."""
    heard = one_answer(
        run, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK
    )
    assert (heard.status, heard.body) == (200, b"{}")
    assert not any(name == b"link" for name, _ in heard.headers)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified\r\ncontent-length: 10"])
def test_bodiless_statuses_end_with_their_head(run, status):
    """204 and 304 have no body, whatever their headers say."""
    heard = one_answer(run, b"HTTP/1.1 " + status + b"\r\n\r\n")
    assert (heard.body, heard.ends) == (b"", 1)


def test_redirects_are_not_followed(run):
    """A redirect reaches the sink as any other status."""
    heard = one_answer(run, b"HTTP/1.1 302 Found\r\nlocation: http://x/\r\ncontent-length: 0\r\n\r\n")
    assert (heard.status, heard.ends) == (302, 1)


def test_a_body_may_end_with_its_connection(run):
    """Without a length or chunks the body ends where the connection does."""
    heard = one_answer(run, HEAD + b"\r\nall of it", then="close")
    assert (heard.body, heard.ends) == (b"all of it", 1)


@pytest.mark.parametrize(
    "raw",
    [HEAD + b"content-length: 10\r\n\r\nhalf", CHUNKED + b"4\r\nhalf\r\n", CHUNKED + b"9\r\nhalf"],
    ids=["length", "between chunks", "in a chunk"],
)
@pytest.mark.parametrize("then", ["close", "reset"])
def test_an_unfinished_body_is_truncated(run, raw, then):
    """A body that stops before its framing says so is never ended cleanly."""
    heard = one_answer(run, raw, then=then)
    assert (heard.code, heard.ends) == ("upstream_truncated", 0)


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nconte"], ids=["nothing", "half a head"])
@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_connection_lost_before_the_head_is_a_reset(run, raw, then):
    """No head, no answer: the fault says that the connection was closed."""
    heard = one_answer(run, raw, then=then)
    assert (heard.code, heard.status) == ("upstream_reset", 0)
    assert heard.fault is not None
    assert heard.fault.status == 502


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nbad header line\r\n\r\n",
        HEAD + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
        HEAD + b"content-length: 2, 3\r\n\r\n{} ",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"x: " + b"y" * 70_000 + b"\r\n\r\n",
        HEAD + b"x: y\r\n" * 201 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 4000,
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
    ],
    ids=[
        "another protocol", "bad header", "length and chunks", "chunks and length", "two lengths", "a list of lengths",
        "coded transfer", "gzip", "huge head", "many headers", "upgrade", "endless interim", "status 99",
    ],
)  # fmt: skip
def test_what_is_not_trustworthy_http_is_a_protocol_error(run, raw):
    """Garbage, ambiguous framing and oversized heads are refused before the sink hears a head."""
    heard = one_answer(run, raw)
    assert (heard.code, heard.status) == ("upstream_protocol_error", 0)


def test_garbage_between_chunks_comes_after_what_was_good(run):
    """Pieces before the garbage are handed over, then the answer is broken."""
    heard = one_answer(run, CHUNKED + b"2\r\nab\r\nzz\r\n")
    assert (heard.body, heard.code) == (b"ab", "upstream_protocol_error")


def test_an_endless_trailer_is_refused(run):
    """Trailers are bounded: nothing may pile up behind the body."""

    async def main():
        async def script(line):
            await line.request()
            line.send(CHUNKED + b"2\r\nab\r\n0\r\n")
            while True:
                line.send(b"x-trailer: " + b"y" * 8000 + b"\r\n")
                await line.writer.drain()

        async with asked(script) as (_, upstream):
            heard = await ask(upstream)
            assert heard.code == "upstream_protocol_error"

    run(main)


def test_trailers_are_dropped(run):
    """Trailers end the answer like no trailers, and do not change the headers that were told."""
    heard = one_answer(run, CHUNKED + b"2\r\nab\r\n0\r\nx-late: 1\r\n\r\n")
    assert (heard.body, heard.ends) == (b"ab", 1)
    assert len(heard.headers) == 2


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b"garbage", b"H"])
def test_bytes_behind_the_answer_cost_the_connection(run, surplus):
    """The answer counts, and its connection is closed: the next request gets a new one."""

    async def main():
        async with asked(answers(OK + surplus, OK)) as (server, upstream):
            first = await ask(upstream)
            second = await ask(upstream)
            assert (first.body, second.body) == (b"{}", b"{}")
            assert len(server.lines) == 2

    run(main)


def test_bytes_on_an_idle_connection_cost_the_connection(run):
    """What nobody asked for never becomes the answer to the next request."""

    async def main():
        poison = asyncio.Event()

        async def script(line):
            await line.request()
            line.send(OK)
            if line.number == 0:
                await poison.wait()
                line.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
            await line.gone()

        async with asked(script) as (server, upstream):
            await ask(upstream)
            poison.set()
            await soon(server.a_line_closed)
            assert (await ask(upstream)).body == b"{}"
            assert len(server.lines) == 2

    run(main)


def test_cancelling_closes_the_connection_and_silences_the_sink(run):
    """After cancel the upstream sees the connection close, and the sink hears nothing more."""

    async def main():
        async def script(line):
            await line.request()
            line.send(CHUNKED + b"3\r\none\r\n")
            await line.gone()

        async with asked(script) as (server, upstream):
            heard = Heard()
            call = upstream.send(ASK, heard)
            await soon(heard.got_data)
            call.cancel()
            call.cancel()
            await soon(server.a_line_closed)
            assert (heard.pieces, heard.over.is_set()) == ([b"one"], False)

    run(main)


@pytest.mark.parametrize("moment", ["head", "data"])
def test_a_sink_may_cancel_from_within(run, moment):
    """A sink that cancels in `head` or `data` hears nothing of the rest of that read."""

    async def main():
        async with asked(answers(OK)) as (server, upstream):
            heard = Heard()
            told = []

            def cancel_after(method):
                def wrapped(*args):
                    method(*args)
                    told.append(method.__name__)
                    call.cancel()

                return wrapped

            setattr(heard, moment, cancel_after(getattr(heard, moment)))
            call = upstream.send(ASK, heard)
            await soon(server.a_line_closed)
            assert told == [moment]
            assert not heard.over.is_set()

    run(main)


def test_a_paused_call_is_read_again_after_resume(run):
    """While paused a call does not run into the idle timeout that a later, unpaused call runs into."""

    async def main():
        async def script(line):
            await line.request()
            line.send(CHUNKED + b"3\r\none\r\n")
            if line.number == 0:
                await paused.wait()
                line.send(b"3\r\ntwo\r\n0\r\n\r\n")
            await line.gone()

        paused = asyncio.Event()
        async with asked(script, limits=Limits(idle_timeout=0.2)) as (_, upstream):
            heard = Heard()
            heard_data = heard.data

            def pause_at_once(data):
                heard_data(data)
                if not paused.is_set():
                    call.pause()
                    call.pause()
                    paused.set()

            heard.data = pause_at_once
            call = upstream.send(ASK, heard)
            await soon(paused)
            assert (await ask(upstream)).code == "upstream_idle_timeout"
            assert (heard.pieces, heard.fault) == ([b"one"], None)
            call.resume()
            call.resume()
            await heard.finished()
            assert (heard.body, heard.ends) == (b"onetwo", 1)

    run(main)


def test_a_call_that_ends_paused_leaves_a_connection_that_reads(run):
    """The next call on the same connection is not paused."""

    async def main():
        async with asked(answers(OK, OK)) as (server, upstream):
            heard = Heard()
            heard.head = lambda *_: call.pause()
            heard.data = lambda _: None
            call = upstream.send(ASK, heard)
            await heard.finished()
            assert (await ask(upstream)).ends == 1
            assert len(server.lines) == 1

    run(main)


def test_a_large_request_body_arrives_whole(run):
    """A body larger than one write goes out behind its head."""

    async def main():
        bodies = []

        async def script(line):
            bodies.append((await line.request()).partition(b"\r\n\r\n")[2])
            line.send(OK)
            await line.gone()

        async with asked(script) as (_, upstream):
            await ask(upstream, UpstreamRequest("chat", "/x", b"z" * 3_000_000))
            assert bodies == [b"z" * 3_000_000]

    run(main)


def test_an_answer_that_overtakes_its_request_costs_the_connection(run):
    """A connection that still carries the rest of a refused request is not used again."""

    async def main():
        async def script(line):
            await line.reader.readuntil(b"\r\n\r\n")
            line.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
            await over.wait()
            await line.gone()

        over = asyncio.Event()
        async with asked(script) as (server, upstream):
            heard = await ask(upstream, UpstreamRequest("chat", "/x", b"z" * 30_000_000))
            over.set()
            assert heard.status == 413
            await ask(upstream)
            assert len(server.lines) == 2

    run(main)
