"""The pool: reuse, waiting, sending again, deadlines, closing."""

import asyncio

import pytest

from antiphon.drivers.http import HttpUpstream, Limits, http_upstream
from antiphon.ports.upstream import UpstreamRequest
from antiphon.settings import Provider
from drivers.http.raw_upstream import ASK, OK, Heard, answers, ask, asked, soon

STARTED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"


async def echo_forever(line):
    while True:
        await line.request()
        line.send(OK)


async def never_answers(line):
    await line.request()
    await line.gone()


def test_connections_are_kept_and_used_again(run):
    """Requests one after the other share one connection."""

    async def main():
        async with asked(echo_forever) as (server, upstream):
            for _ in range(5):
                assert (await ask(upstream)).body == b"{}"
            assert len(server.lines) == 1

    run(main)


def test_a_sink_may_ask_again_from_its_end(run):
    """When `end` is called the connection is already free for the next request."""

    async def main():
        async with asked(echo_forever) as (server, upstream):
            second = Heard()
            first = Heard()
            first.end = lambda: upstream.send(ASK, second)
            upstream.send(ASK, first)
            assert (await second.finished()).body == b"{}"
            assert len(server.lines) == 1

    run(main)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n{}",
    ],
    ids=["close", "1.0", "1.0 keep-alive"],
)
def test_connections_that_are_to_close_are_not_used_again(run, answer):
    """An upstream that announces to close, or speaks HTTP/1.0, gets a new connection for each request."""

    async def main():
        async with asked(answers(answer, answer)) as (server, upstream):
            await ask(upstream)
            assert (await ask(upstream)).body == b"{}"
            assert len(server.lines) == 2

    run(main)


def test_the_idle_connection_used_last_is_used_first(run):
    """Connections are taken last in, first out, so that those not needed grow old."""

    async def main():
        served = []

        async def script(line):
            while True:
                await line.request()
                served.append(line.number)
                if len(served) == 2:
                    both.set()
                if len(served) <= 2:
                    await turns[line.number].wait()
                line.send(OK)

        both = asyncio.Event()
        turns = [asyncio.Event(), asyncio.Event()]
        async with asked(script) as (_, upstream):
            first, second = Heard(), Heard()
            upstream.send(ASK, first)
            upstream.send(ASK, second)
            await soon(both)
            turns[1].set()
            turns[0].set()
            await first.finished()
            await second.finished()
            await ask(upstream)
            await ask(upstream)
            assert served[2] == served[3]

    run(main)


def test_idle_connections_are_closed_after_a_while(run):
    """A connection that nobody needs is closed by us."""

    async def main():
        async with asked(echo_forever, limits=Limits(keep_alive=0.02)) as (server, upstream):
            await ask(upstream)
            await soon(server.a_line_closed)
            assert (await ask(upstream)).body == b"{}"

    run(main)


@pytest.mark.parametrize("then", ["close", "reset"])
def test_a_request_on_a_stale_connection_is_sent_again_once(run, then):
    """When a used connection dies without a byte of an answer, the request goes out on a new one, unnoticed."""

    async def main():
        requests = []

        async def script(line):
            requests.append(await line.request())
            line.send(OK)
            if line.number == 0:
                requests.append(await line.request())
                if then == "reset":
                    line.reset()
                return
            await line.gone()

        async with asked(script) as (server, upstream):
            await ask(upstream)
            heard = await ask(upstream)
            assert (heard.body, heard.fault, heard.ends) == (b"{}", None, 1)
            assert len(server.lines) == 2
            assert requests[0] == requests[1] == requests[2]

    run(main)


def test_a_request_is_not_sent_a_third_time(run):
    """The second connection's death is the answer."""

    async def main():
        async def script(line):
            await line.request()
            if line.number == 0:
                line.send(OK)
                await line.request()

        async with asked(script) as (server, upstream):
            await ask(upstream)
            assert (await ask(upstream)).code == "upstream_reset"
            assert len(server.lines) == 2

    run(main)


def test_a_request_is_not_sent_again_once_an_answer_began(run):
    """One byte of an answer, and the upstream may have done the work: no second try."""

    async def main():
        async with asked(answers(OK, b"H", then="close")) as (server, upstream):
            await ask(upstream)
            assert (await ask(upstream)).code == "upstream_reset"
            assert len(server.lines) == 1

    run(main)


def test_a_call_can_be_cancelled_while_it_is_sent_again(run):
    """A cancelled retry leaves a connection that others can use."""

    async def main():
        async def script(line):
            if line.number == 0:
                await line.request()
                line.send(OK)
                await line.request()
                again.set()
                return
            await echo_forever(line)

        again = asyncio.Event()
        async with asked(script) as (_, upstream):
            await ask(upstream)
            heard = Heard()
            call = upstream.send(ASK, heard)
            await soon(again)
            call.cancel()
            assert (await ask(upstream)).body == b"{}"
            assert not heard.began.is_set()

    run(main)


def test_requests_wait_for_a_free_connection_in_order(run):
    """No more connections than allowed; who waits longest is served first."""

    async def main():
        async with asked(echo_forever, limits=Limits(max_connections=2)) as (server, upstream):
            order = []
            everyone = [Heard() for _ in range(12)]
            for number, heard in enumerate(everyone):
                heard.head = lambda *_, number=number: order.append(number)
                heard.data = lambda _: None
                upstream.send(ASK, heard)
            for heard in everyone:
                await heard.finished()
            assert len(server.lines) <= 2
            assert sorted(order) == list(range(12))
            assert order[0] in {0, 1}
            assert order[-1] in {10, 11}

    run(main)


def test_a_full_queue_refuses_at_once_but_not_within_send(run):
    """The fault reaches the sink after `send` has returned, with 503 and a time to come back."""

    async def main():
        async with asked(never_answers, limits=Limits(max_connections=1, max_waiting=1)) as (_, upstream):
            heard = [Heard(), Heard(), Heard()]
            for each in heard:
                upstream.send(ASK, each)
            assert not heard[2].over.is_set()
            fault = (await heard[2].finished()).fault
            assert (fault.code, fault.status, fault.headers) == (
                "upstream_busy",
                503,
                ((b"retry-after", b"1"),),
            )
            assert not heard[1].over.is_set()

    run(main)


def test_waiting_too_long_is_busy(run):
    """A request that gets no connection within the connect timeout is refused."""

    async def main():
        limits = Limits(max_connections=1, connect_timeout=0.4)
        async with asked(never_answers, limits=limits) as (_, upstream):
            first, second = Heard(), Heard()
            upstream.send(ASK, first)
            upstream.send(ASK, second)
            assert (await second.finished()).code == "upstream_busy"
            assert not first.over.is_set()

    run(main)


def test_a_cancelled_request_leaves_the_queue_and_its_place(run):
    """Cancelling one that waits, then the one in front, lets the third through."""

    async def main():
        async def script(line):
            await line.request()
            if line.number == 0:
                asked_once.set()
                await line.gone()
            line.send(OK)
            await line.gone()

        asked_once = asyncio.Event()
        async with asked(script, limits=Limits(max_connections=1)) as (_, upstream):
            heard = [Heard(), Heard(), Heard()]
            calls = [upstream.send(ASK, each) for each in heard]
            await soon(asked_once)
            calls[1].cancel()
            calls[0].cancel()
            await heard[2].finished()
            assert heard[2].body == b"{}"
            assert not heard[0].over.is_set()
            assert not heard[1].over.is_set()

    run(main)


def test_an_upstream_that_does_not_start_its_answer(run):
    """Interim answers and half a head do not count as a first byte."""

    async def main():
        async def script(line):
            await line.request()
            line.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n")
            await line.gone()

        async with asked(script, limits=Limits(first_byte_timeout=0.03)) as (server, upstream):
            heard = await ask(upstream)
            assert (heard.code, heard.fault.status) == ("upstream_first_byte_timeout", 504)
            await soon(server.a_line_closed)

    run(main)


def test_an_answer_that_falls_silent(run):
    """Silence in the middle of an answer ends it with a fault of its own."""

    async def main():
        async with asked(answers(STARTED), limits=Limits(idle_timeout=0.03)) as (_, upstream):
            heard = await ask(upstream)
            assert (heard.body, heard.code, heard.fault.status) == (b"ab", "upstream_idle_timeout", 504)

    run(main)


def test_an_answer_that_takes_too_long_as_a_whole(run):
    """An answer that never falls silent still ends at the total timeout."""

    async def main():
        async def script(line):
            await line.request()
            line.send(STARTED)
            while not line.writer.is_closing():
                line.send(b"1\r\nx\r\n")
                await line.writer.drain()

        limits = Limits(total_timeout=0.05, idle_timeout=5)
        async with asked(script, limits=limits) as (_, upstream):
            heard = await ask(upstream)
            assert (heard.code, heard.fault.status) == ("upstream_total_timeout", 504)

    run(main)


def test_the_total_timeout_runs_while_waiting(run):
    """A request in the queue is not forgotten."""

    async def main():
        limits = Limits(max_connections=1, total_timeout=0.05)
        async with asked(never_answers, limits=limits) as (_, upstream):
            first, second = Heard(), Heard()
            upstream.send(ASK, first)
            upstream.send(ASK, second)
            assert (await second.finished()).code == "upstream_total_timeout"

    run(main)


def test_an_unused_upstream_has_no_timer(run):
    """When all connections are gone nothing ticks; the next request works as the first."""

    async def main():
        async with asked(echo_forever, limits=Limits(keep_alive=0.02)) as (server, upstream):
            await ask(upstream)
            await soon(server.a_line_closed)
            await server.lines[0].writer.wait_closed()
            upstream._sweep()
            assert upstream._sweeper is None
            assert (await ask(upstream)).ends == 1

    run(main)


def test_closing_breaks_what_is_under_way(run):
    """Live, waiting and later requests all hear that the gateway is going; nothing stays open."""

    async def main():
        async with asked(answers(STARTED), limits=Limits(max_connections=1)) as (server, upstream):
            live, waiting, late = Heard(), Heard(), Heard()
            upstream.send(ASK, live)
            upstream.send(ASK, waiting)
            await soon(live.got_data)
            await upstream.close()
            upstream.send(ASK, late)
            await late.finished()
            assert {live.code, waiting.code, late.code} == {"shutting_down"}
            await soon(server.a_line_closed)
            await upstream.close()

    run(main)


def test_closing_while_connecting(run):
    """A request whose connection is still being opened hears that the gateway is going."""

    async def main():
        async with asked(echo_forever) as (_, upstream):
            heard = Heard()
            upstream.send(ASK, heard)
            await upstream.close()
            assert heard.code == "shutting_down"

    run(main)


def test_a_head_that_must_not_be_sent_is_refused_by_send(run):
    """A line break in a path or a header never reaches the wire."""

    async def main():
        async with asked(echo_forever) as (server, upstream):
            with pytest.raises(ValueError, match="path"):
                upstream.send(UpstreamRequest("chat", "/x HTTP/1.1\r\nx: y"), Heard())
            with pytest.raises(ValueError, match="control character"):
                upstream.send(UpstreamRequest("chat", "/x", headers=((b"x", b"a\r\nb"),)), Heard())
            assert not server.lines

    run(main)


def test_a_provider_s_settings_make_its_upstream(run):
    """Limits, headers and the proxy come from the settings and the environment that was passed in."""

    async def main():
        seen = []

        async def script(line):
            seen.append(await line.request())
            line.send(OK)

        async with asked(script) as (server, _):
            upstream = http_upstream(
                Provider(type="openai-chat", headers={"X-Team": "search"}, max_connections=7),
                base_url="http://upstream.invalid/v1",
                headers=((b"authorization", b"Bearer k"),),
                environ={"http_proxy": f"http://127.0.0.1:{server.port}"},
            )
            assert isinstance(upstream, HttpUpstream)
            assert upstream._limits.max_connections == upstream._limits.max_waiting == 7
            await ask(upstream)
            await upstream.close()
            assert seen[0].startswith(b"POST http://upstream.invalid/v1/chat/completions HTTP/1.1\r\n")
            assert b"\r\nx-team: search\r\nauthorization: Bearer k\r\n" in seen[0]

    run(main)
