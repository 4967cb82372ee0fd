"""Listeners without sockets: what a client gets of a live recording, however slow it is, and how that is told."""

import json
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.dialect import Dialect
from antiphon.dialects.native import read_request
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.drivers.simulator import samples
from antiphon.engine.answers import Ending, LiveAnswer
from antiphon.engine.turn import ANYBODY, Ask, Asked, Turn
from antiphon.recording import Mode, Recording
from antiphon.routing.names import Target
from antiphon.turn.grammar import violations
from antiphon.wire.errors import GatewayError, UpstreamFault
from antiphon.wire.sse import DONE, FrameReader, parse_frame, write_frame
from engine.live_parts import JSON_HEAD, WHOLE, Stage, chunk, stage

OWN_ID = b"resp_" + b"0" * 48
STOPPING = GatewayError("The gateway is shutting down.", code="shutting_down", status=503)
RESET = UpstreamFault("The connection was reset.", code="upstream_truncated")
RESPONSE_FRAMES = samples.responses_frames(12)
USAGE_CHUNK = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}\n\n'


@dataclass
class Reply:
    """A client with `room` for so many bytes until it reads again."""

    room: float = float("inf")
    status: int | None = None
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    writes: int = 0
    is_whole: bool = False
    watcher: LiveAnswer | None = None

    @property
    def congested(self) -> bool:
        return self.room <= 0

    def watch(self, watcher: LiveAnswer) -> None:
        self.watcher = watcher

    def start(self, status, headers, length=None) -> None:
        assert self.status is None
        self.status, self.headers = status, dict(headers)

    def write(self, data: bytes) -> None:
        assert self.status is not None
        assert not self.is_whole
        self.body += data
        self.room -= len(data)
        self.writes += 1

    def end(self) -> None:
        assert not self.is_whole
        self.is_whole = True

    def send(self, status, headers, body) -> None:
        self.start(status, headers)
        self.write(body)
        self.end()

    def abort(self) -> None:
        raise AssertionError

    def read(self, room: float = float("inf")) -> None:
        """Make room, as a client does that reads."""
        self.room = room
        self.watcher.on_writable()


@dataclass
class Client:
    """One who asks, with the answer and what was told of it."""

    reply: Reply
    turn: Turn
    answer: LiveAnswer
    told: list[tuple[int, bool, str | None]]
    """Status, whether all was sent, and the error of each ending."""

    @property
    def error(self) -> dict[str, object]:
        return msgspec.json.decode(self.reply.body)["error"]

    @property
    def events(self) -> list[dict[str, object]]:
        frames = FrameReader(1 << 24).feed(self.reply.body)
        data = [parse_frame(frame).data for frame in frames]
        return [json.loads(each) for each in data if each != b"[DONE]"]


def client(
    at: Stage, dialect: Dialect = CHAT, mode: Mode = Mode.STREAM, room: float = float("inf"), **asked: object
):
    """Attach a client of `at` who asked in `mode`, with the members in `asked`."""
    request = read_request(
        dialect.name, msgspec.json.encode({"model": "m", "stream": mode is Mode.STREAM, **asked})
    )
    ask = Ask(ANYBODY, dialect, "/x", request, Target("up", "m", "m"), Asked(mode, request.include_usage))
    reply, told = Reply(room), []
    turn = Turn(ask, b"req", reply, 0.0, response_id=OWN_ID if dialect is RESPONSES else b"")

    def on_ending(_turn: Turn, _recording: Recording, ending: Ending) -> None:
        told.append((ending.status, ending.sent, ending.error))

    answer = LiveAnswer(turn, at.live, at.live.echo, lambda *_: ((b"x-extra", b"1"),), on_ending, at.clock)
    at.live.attach(answer)
    answer.on_frames()
    return Client(reply, turn, answer, told)


class TestStreams:
    @pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
    def test_bytes_pass_as_they_come(self, dialect):
        """Each frame is written when it comes, unchanged but for the response's id; the end is the upstream's."""
        frames = WHOLE if dialect is CHAT else RESPONSE_FRAMES
        at = stage(dialect)
        one = client(at, dialect)
        for count, frame in enumerate(frames, 1):
            at.live.data(frame)
            assert count == one.reply.writes
        assert not one.reply.is_whole
        at.live.end()
        one.answer.on_sent()

        assert b"".join(frames) == one.reply.body.replace(OWN_ID, b"resp_simulated")
        assert one.reply.headers[b"content-type"].startswith(b"text/event-stream")
        assert (one.reply.is_whole, one.told) == (True, [(200, True, None)])

    def test_nothing_is_begun_before_the_first_frame(self):
        """So that what goes wrong before it can still be told with a status."""
        at = stage()
        one = client(at)
        assert one.reply.status is None
        at.clock.now += 3
        at.live.data(WHOLE[0])

        assert (200, at.clock.now) == (one.reply.status, one.turn.first_byte_at)

    def test_each_listener_has_its_own_position(self):
        """Who comes late gets all from the start, and who is slow what is missing, each the same bytes."""
        at = stage()
        first, slow = client(at), client(at, room=1)
        at.live.data(WHOLE[0] + WHOLE[1])
        at.live.data(WHOLE[2])
        late = client(at)
        assert [b"".join(WHOLE[:3]), b"".join(WHOLE[:2])] == [first.reply.body, slow.reply.body]
        slow.reply.read()
        at.live.data(WHOLE[3])
        at.live.end()

        assert [b"".join(WHOLE)] * 3 == [one.reply.body for one in (first, slow, late)]
        assert all(one.reply.is_whole for one in (first, slow, late))

    def test_a_client_that_is_behind_is_written_no_more_to(self):
        """It is written to again when it has read, also when the upstream has ended meanwhile."""
        at = stage()
        one = client(at, room=1)
        for frame in WHOLE:
            at.live.data(frame)
        at.live.end()
        assert (WHOLE[0], False) == (one.reply.body, one.reply.is_whole)
        one.reply.read(room=1)
        assert (b"".join(WHOLE), True) == (one.reply.body, one.reply.is_whole)
        one.reply.read()

        assert one.reply.writes == 2

    def test_a_client_that_comes_late_is_not_flooded(self):
        """Large frames are written a quarter of a MiB at a time, until the client is behind."""
        at = stage()
        client(at)
        frame = chunk("x" * 100_000)
        for _ in range(30):
            at.live.data(frame)
        late = client(at, room=400_000)

        assert 4 * len(frame) == len(late.reply.body)
        late.reply.read()
        assert 30 * len(frame) == len(late.reply.body)

    def test_a_frame_larger_than_that_is_written_whole(self):
        """One frame is never held up by its size."""
        at = stage()
        client(at)
        frames = [chunk("x" * 300_000), chunk("y" * 300_000)]
        for frame in frames:
            at.live.data(frame)
        late = client(at)

        assert (2, b"".join(frames)) == (late.reply.writes, late.reply.body)

    def test_a_slow_client_lets_the_upstream_go_on_when_it_reads(self):
        """The upstream is held back for the only client, and read again when that has caught up."""
        at = stage()
        one = client(at, room=1)
        while not at.call.asked:
            at.live.data(chunk("x" * 1000))
        one.reply.read(room=600_000)
        assert at.call.asked == ["pause", "resume"]
        one.reply.read()

        assert at.recording.body() == one.reply.body

    @given(
        st.lists(
            st.one_of(
                st.integers(1, 300),  # so many bytes come
                st.sampled_from(["congest", "writable", "writable a little", "join"]),
            )
        ),
        st.sampled_from([CHAT, RESPONSES]),
        st.booleans(),
    )
    def test_any_course_of_events_gives_each_client_the_recorded_bytes(self, steps, dialect, clean):
        """However reads, slowness and late-comers follow each other: all bytes, in order, once, and one end."""
        at = stage(dialect)
        rest = b"".join(WHOLE if dialect is CHAT else RESPONSE_FRAMES)
        clients = [client(at, dialect)]
        for step in steps:
            if isinstance(step, int):
                if rest:
                    at.live.data(rest[:step])
                rest = rest[step:]
            elif step == "join":
                clients.append(client(at, dialect, room=10))
            elif step == "congest":
                clients[0].reply.room = 0
            else:
                clients[-1].reply.read(*([1] if step == "writable a little" else []))
        if rest:
            at.live.data(rest)
        at.live.end() if clean else at.live.broken(RESET)
        for one in clients:
            while not one.reply.is_whole:
                one.reply.read(room=1)

        assert {at.recording.body()} == {one.reply.body.replace(OWN_ID, b"resp_simulated") for one in clients}


class TestBreaking:
    def test_a_fault_before_the_first_frame_is_a_status(self):
        """Nothing was begun, so the client gets an error as every client library expects it."""
        at = stage(head=False)
        one = client(at)
        at.live.broken(UpstreamFault("Too slow.", code="upstream_first_byte_timeout", status=504))
        one.answer.on_sent()

        assert (one.reply.status, one.error["code"]) == (504, "upstream_first_byte_timeout")
        assert one.told == [(504, True, "upstream_first_byte_timeout")]

    def test_a_broken_chat_stream_ends_with_an_error(self):
        """A frame with `error`, and no `[DONE]`: nobody takes it for whole."""
        at = stage()
        one = client(at)
        at.live.data(WHOLE[0])
        at.live.broken(RESET)
        one.answer.on_sent()

        assert one.reply.body.startswith(WHOLE[0])
        assert b"[DONE]" not in one.reply.body
        assert one.events[-1]["error"]["code"] == "upstream_truncated"
        assert (one.reply.is_whole, one.told) == (True, [(200, True, "upstream_truncated")])

    @pytest.mark.parametrize("count", range(1, len(RESPONSE_FRAMES)))
    def test_a_broken_response_fails_by_the_grammar(self, count):
        """Wherever it breaks: `error`, then `response.failed`, under the id that the client knows."""
        at = stage(RESPONSES)
        one = client(at, RESPONSES)
        for frame in RESPONSE_FRAMES[:count]:
            at.live.data(frame)
        at.live.fail(STOPPING)

        assert violations(one.events) == []
        assert [event["type"] for event in one.events[-2:]] == ["error", "response.failed"]
        assert {OWN_ID.decode()} == {event["response"]["id"] for event in one.events if "response" in event}

    def test_a_response_that_was_never_named_gets_a_name(self):
        """After nothing but a comment the failed response has our id, and the time and model of the recording."""
        at = stage(RESPONSES)
        one = client(at, RESPONSES)
        at.live.data(b": ping\n\n")
        at.live.broken(RESET)

        one.reply.body = one.reply.body.removeprefix(b": ping\n\n")
        assert violations(one.events) == []
        response = one.events[-1]["response"]
        assert (OWN_ID.decode(), 1000, "gpt-test") == tuple(
            response[name] for name in ("id", "created_at", "model")
        )

    def test_an_error_that_the_upstream_has_told_is_not_told_twice(self):
        """Its own `response.failed` is the end; the ledger has its code."""
        failed = {
            "id": "resp_simulated",
            "object": "response",
            "status": "failed",
            "error": {"code": "server_error"},
        }
        frame = write_frame(
            msgspec.json.encode({"type": "response.failed", "response": failed}), "response.failed"
        )
        at = stage(RESPONSES)
        one = client(at, RESPONSES)
        at.live.data(RESPONSE_FRAMES[0] + frame)
        at.live.end()
        one.answer.on_sent()

        assert RESPONSE_FRAMES[0] + frame == one.reply.body.replace(OWN_ID, b"resp_simulated")
        assert one.told == [(200, True, "server_error")]

    def test_a_client_that_is_behind_hears_of_the_fault_after_the_frames(self):
        """First all that came, then the error, whenever it reads."""
        at = stage()
        one = client(at, room=1)
        for frame in WHOLE[:3]:
            at.live.data(frame)
        at.live.broken(UpstreamFault("Gone.", code="upstream_idle_timeout"))
        at.live.end()
        one.reply.read()

        assert one.reply.body.startswith(b"".join(WHOLE[:3]))
        assert one.events[-1]["error"]["code"] == "upstream_idle_timeout"

    def test_all_listeners_hear_the_same_fault(self):
        """The failure of one upstream call is that of all who share it, in the form each asked for."""
        at = stage()
        stream, whole = client(at), client(at, mode=Mode.JSON)
        at.live.data(WHOLE[0])
        at.live.broken(RESET)

        assert (stream.reply.status, whole.reply.status) == (200, 502)
        assert stream.events[-1]["error"]["code"] == whole.error["code"] == "upstream_truncated"

    @pytest.mark.parametrize("mode", Mode)
    def test_an_upstreams_error_reaches_each_form(self, mode):
        """Status, body and headers are the upstream's."""
        at = stage(mode=mode, head=False)
        one = client(at, mode=mode)
        body = b'{"error":{"message":"slow down"}}'
        at.live.head(429, (*JSON_HEAD, (b"retry-after", b"7")))
        at.live.data(body)
        at.live.end()
        one.answer.on_sent()

        assert (429, body) == (one.reply.status, one.reply.body)
        assert one.told == [(429, True, "upstream_error")]


class TestForms:
    def test_a_stream_is_folded_for_who_asked_for_json(self):
        """It gets what the frames hold, as one body, when they are whole."""
        at = stage()
        one = client(at, mode=Mode.JSON)
        for frame in WHOLE:
            at.live.data(frame)
        assert one.reply.status is None
        at.live.end()

        assert CHAT.fold(WHOLE) == one.reply.body
        assert one.reply.headers[b"content-type"] == b"application/json"

    def test_json_is_unfolded_for_who_asked_for_a_stream(self):
        """A stream that holds the same, and ends as a stream ends."""
        at = stage(head=False)
        one = client(at)
        at.live.head(200, JSON_HEAD)
        at.live.data(samples.chat_body(400))
        at.live.end()

        assert b"".join(CHAT.unfold(samples.chat_body(400), include_usage=False)) == one.reply.body
        assert one.reply.body.endswith(DONE)

    def test_json_passes_as_it_is(self):
        """Byte for byte, with the upstream's status and content type."""
        at = stage(mode=Mode.JSON, head=False)
        one = client(at, mode=Mode.JSON)
        at.live.head(201, ((b"content-type", b"application/json; charset=utf-8"),))
        at.live.data(samples.chat_body(400))
        at.live.end()

        assert (201, samples.chat_body(400)) == (one.reply.status, one.reply.body)
        assert one.reply.headers[b"content-type"] == b"application/json; charset=utf-8"

    @pytest.mark.parametrize("mode", Mode)
    def test_an_error_with_status_200_is_refused_in_each_form(self, mode):
        """The body is the upstream's, the status is not."""
        at = stage(mode=mode, head=False)
        one = client(at, mode=mode)
        at.live.head(200, JSON_HEAD)
        body = b'{"error":{"message":"Busy","code":503}}'
        at.live.data(body)
        at.live.end()

        assert (one.reply.status, one.reply.body) == (503, body)

    @pytest.mark.parametrize("recorded", Mode)
    def test_a_failed_response_is_no_answer_in_another_form(self, recorded):
        """It is passed as it is to who asked in its mode, and refused to others with its code."""
        other = Mode.JSON if recorded is Mode.STREAM else Mode.STREAM
        failed = b'{"id":"resp_simulated","object":"response","status":"failed","error":{"code":"boom"}}'
        at = stage(RESPONSES, recorded)
        same, different = client(at, RESPONSES, recorded), client(at, RESPONSES, other)
        body = (
            failed
            if recorded is Mode.JSON
            else write_frame(b'{"type":"response.failed","response":%b}' % failed)
        )
        at.live.data(body)
        at.live.end()

        assert (200, body) == (same.reply.status, same.reply.body.replace(OWN_ID, b"resp_simulated"))
        assert (different.reply.status, different.error["code"]) == (502, "boom")

    def test_what_cannot_be_put_into_another_form_is_a_fault(self):
        """Text that is no UTF-8 passes as it came, but no stream can be made of it."""
        body = b'{"choices":[{"message":{"content":"\xff"},"finish_reason":"stop"}]}'
        at = stage(mode=Mode.JSON)
        same, different = client(at, mode=Mode.JSON), client(at)
        at.live.data(body)
        at.live.end()

        assert (same.reply.status, same.reply.body) == (200, body)
        assert (different.reply.status, different.error["code"]) == (502, "upstream_invalid_json")

    @pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
    def test_usage_that_was_asked_for_on_behalf_of_the_client_is_not_shown(self, options):
        """The chunk is recorded for the ledger; only who asked for it sees it."""
        at = stage(usage_requested=True)
        one = client(at, **options)
        for frame in (*WHOLE[:3], USAGE_CHUNK, DONE):
            at.live.data(frame)
        at.live.end()

        assert (USAGE_CHUNK in one.reply.body) == bool(options)
        assert at.recording.outcome.usage.total_tokens == 3

    def test_what_a_response_only_echoes_is_that_of_each_who_asked(self):
        """Of two who share an upstream call each sees its own metadata, and the other members as they came."""
        at = stage(RESPONSES)
        first = client(at, RESPONSES, store=False)
        at.live.echo = first.turn.ask.request.echo
        second = client(at, RESPONSES, store=False, metadata={"who": "second"})
        for frame in RESPONSE_FRAMES:
            at.live.data(frame)
        at.live.end()

        assert b"".join(RESPONSE_FRAMES) == first.reply.body.replace(OWN_ID, b"resp_simulated")
        assert [event["response"]["metadata"] for event in second.events if "response" in event] == [
            {"who": "second"}
        ] * 3


class TestLeaving:
    def test_who_leaves_is_told_of_once(self):
        """The last one closes the upstream, and counts as closed by the client."""
        at = stage()
        one = client(at)
        at.live.data(WHOLE[0])
        one.answer.on_gone()
        at.live.data(WHOLE[1])

        assert (at.call.asked, one.told) == (["cancel"], [(499, False, "client_left")])
        assert WHOLE[0] == one.reply.body

    def test_who_leaves_while_it_is_behind_holds_nobody_up(self):
        """The upstream was held back for it; the other goes on, and gets everything."""
        at = stage()
        slow, other = client(at, room=1), client(at, room=1)
        while not at.call.asked:
            at.live.data(chunk("x" * 1000))
        other.reply.read()
        slow.answer.on_gone()
        at.live.data(b"".join(WHOLE[2:]))
        at.live.end()

        assert at.call.asked == ["pause", "resume"]
        assert (at.recording.body(), True) == (other.reply.body, other.reply.is_whole)

    def test_who_leaves_behind_the_end_changes_nothing(self):
        """The recording is complete; only this answer was not sent."""
        at = stage()
        one = client(at, room=1)
        for frame in WHOLE:
            at.live.data(frame)
        at.live.end()
        one.answer.on_gone()

        assert (at.verdict, at.call.asked) == (("completed", None, None), [])
        assert one.told == [(499, False, "client_left")]

    def test_who_had_everything_written_may_still_leave(self):
        """Written is not read: an answer that the network did not take was not sent."""
        at = stage(mode=Mode.JSON)
        one = client(at, mode=Mode.JSON)
        at.live.data(samples.chat_body(300))
        at.live.end()
        one.answer.on_gone()

        assert (at.verdict, one.told) == (("completed", None, None), [(499, False, "client_left")])
