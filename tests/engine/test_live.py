"""A live recording without sockets: what is recorded, who hears of it, when the upstream is held back or left."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.embeddings import EMBEDDINGS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.drivers.simulator import samples
from antiphon.engine.live import passed_on
from antiphon.recording import Mode, State
from antiphon.wire.error_forms import OPENAI_ERRORS
from antiphon.wire.errors import GatewayError, UpstreamFault
from antiphon.wire.sse import DONE, write_frame
from engine.live_parts import JSON_HEAD, KEY, WHOLE, Stage, chunk, stage

RESET = UpstreamFault("The connection was reset.", code="upstream_truncated")
STOPPING = GatewayError("The gateway is shutting down.", code="shutting_down", status=503)
MIB = 1024 * 1024


class Hearer:
    """A listener that takes what it hears, unless it is slow."""

    def __init__(self, stage: Stage, *, slow: bool = False) -> None:
        self.stage = stage
        self.slow = slow
        self.consumed = 0
        self.heard: list[bytes] = []
        self.ends = 0
        stage.live.attach(self)

    def on_frames(self) -> bool:
        if not self.slow:
            self.read()
        return not self.slow

    def on_end(self) -> None:
        self.ends += 1

    def read(self, count: int | None = None) -> None:
        frames = self.stage.recording.frames[len(self.heard) :][:count]
        self.heard += frames
        self.consumed += sum(map(len, frames))


class TestRecording:
    def test_frames_are_heard_when_they_are_complete(self):
        """A listener hears each frame once, as soon as its last byte is there."""
        at = stage()
        hearer = Hearer(at)
        first, second, *_ = WHOLE

        at.live.data(first + second[:10])
        assert [first] == hearer.heard
        at.live.data(second[10:])

        assert [first, second] == hearer.heard == at.recording.frames

    def test_times_count_from_when_the_request_was_sent(self):
        """Each frame has the microseconds since the request was sent; frames of one read have the same."""
        at = stage()
        at.clock.now += 0.25
        at.live.data(WHOLE[0])
        at.clock.now += 0.5
        at.live.data(WHOLE[1] + WHOLE[2])

        assert at.recording.times == [250_000, 750_000, 750_000]

    def test_who_comes_late_finds_what_there_was(self):
        """A listener that attaches in the middle reads from position 0 and then hears the rest."""
        at = stage()
        at.live.data(WHOLE[0])
        late = Hearer(at)
        late.read()
        at.live.data(b"".join(WHOLE[1:]))

        assert list(WHOLE) == late.heard

    @given(st.lists(st.integers(1, 60)))
    def test_it_does_not_matter_how_the_bytes_are_split(self, sizes):
        """Whatever the reads were, the recording has the same frames and the same end."""
        at = stage()
        data = b"".join(WHOLE)
        for size in sizes:
            if data:
                at.live.data(data[:size])
                data = data[size:]
        if data:
            at.live.data(data)
        at.live.end()

        assert list(WHOLE) == at.recording.frames
        assert at.verdict == ("completed", None, None)

    def test_json_is_one_frame(self):
        """A JSON body becomes one frame when it is whole."""
        at = stage(mode=Mode.JSON)
        body = samples.chat_body(500)
        at.live.data(body[:100])
        assert at.recording.frames == []
        at.live.data(body[100:])
        at.live.end()

        assert [body] == at.recording.frames
        assert at.verdict == ("completed", None, None)

    def test_the_upstream_decides_how_it_answers(self):
        """Asked for a stream it may send JSON: the recording is what came."""
        at = stage(head=False)
        at.live.head(200, JSON_HEAD)
        at.live.data(samples.chat_body(500))
        at.live.end()

        assert (at.recording.mode, at.recording.outcome.state) == (Mode.JSON, State.COMPLETED)

    @pytest.mark.parametrize("space", [b"", b"\n"])
    @pytest.mark.parametrize("frames", [WHOLE, (b'event: x\ndata: {"choices":[]}\n\n', *WHOLE)])
    def test_events_under_the_name_of_json_are_a_stream(self, frames, space):
        """Some servers say that their streams are JSON: the first bytes tell what it is."""
        at = stage(head=False)
        at.live.head(200, JSON_HEAD)
        hearer = Hearer(at)
        at.live.data(space + frames[0])
        assert [space + frames[0]] == hearer.heard
        for frame in frames[1:]:
            at.live.data(frame)
        at.live.end()

        assert (at.recording.mode, at.recording.outcome.state) == (Mode.STREAM, State.COMPLETED)

    def test_a_last_frame_without_its_blank_line_belongs_to_it(self):
        """The terminal event counts, and is recorded, though the blank line behind it is missing."""
        at = stage()
        at.live.data(b"".join(WHOLE).removesuffix(b"\n"))
        at.live.end()

        assert b"".join(WHOLE).removesuffix(b"\n") == at.recording.body()
        assert at.verdict == ("completed", None, None)

    def test_half_a_frame_is_never_recorded(self):
        """What is left of a frame when the connection dies is no frame, even behind the terminal event."""
        at = stage()
        at.live.data(b"".join(WHOLE) + b"data: {")
        at.live.broken(RESET)

        assert list(WHOLE) == at.recording.frames
        assert at.verdict == ("completed", None, None)

    def test_the_upstreams_id_is_known_as_soon_as_it_was_seen(self):
        """The id of the first frame is there before the end, and stays."""
        at = stage(RESPONSES)
        assert at.live.response_id is None
        at.live.data(samples.responses_frames(12)[0])
        assert at.live.response_id == "resp_simulated"
        at.live.fail(STOPPING)

        assert at.live.response_id == "resp_simulated"


class TestEnding:
    def test_it_ends_once(self):
        """Whatever comes after the end changes nothing and is told to nobody."""
        at = stage()
        hearer = Hearer(at)
        at.live.data(b"".join(WHOLE))
        at.live.end()
        before = (at.verdict, at.recording.size, list(at.recording.frames))

        at.live.data(chunk("late"))
        at.live.end()
        at.live.broken(RESET)
        at.live.fail(STOPPING)
        at.live.detach(hearer)

        assert before == (at.verdict, at.recording.size, at.recording.frames)
        assert (1, [at.live]) == (hearer.ends, at.ended)

    def test_late_errors_change_nothing(self):
        """An answer that was given up stays what it is, whatever its status was."""
        at = stage(mode=Mode.JSON, head=False)
        at.live.head(500, JSON_HEAD)
        at.live.fail(STOPPING)
        at.live.data(b'{"error":{}}')
        at.live.end()

        assert at.verdict == ("failed", "shutting_down", "shutting_down")
        assert at.live.error_answer is None

    @pytest.mark.parametrize(
        ("frames", "clean", "verdict"),
        [
            (WHOLE, True, ("completed", None, None)),
            (WHOLE, False, ("completed", None, None)),
            (WHOLE[:3], True, ("completed", None, None)),
            (WHOLE[:3], False, ("failed", "no_terminal_event", "upstream_truncated")),
            (WHOLE[:2], True, ("failed", "no_terminal_event", "upstream_truncated")),
            (WHOLE[:0], True, ("failed", "no_terminal_event", "upstream_truncated")),
            ((chunk("A"), chunk("", "length"), DONE), True, ("incomplete", "max_output_tokens", None)),
            ((chunk("A"), chunk("", "content_filter"), DONE), True, ("incomplete", "content_filter", None)),
            ((chunk("A"), DONE), True, ("incomplete", "no_finish_reason", None)),
            ((chunk("A"), b'data: {"error":"no"}\n\n'), True, ("failed", "upstream_error", "upstream_error")),
            (
                (chunk("A"), b'error: {"error":1}\n\n', DONE),
                True,
                ("failed", "upstream_error", "upstream_error"),
            ),
            (
                (chunk("A"), b'data: {"cho\n\n', DONE),
                True,
                ("failed", "invalid_json", "upstream_invalid_json"),
            ),
        ],
    )
    def test_how_a_stream_ends(self, frames, clean, verdict):
        """Only what says itself that it is whole is complete; everything else has a fault that says why."""
        at = stage()
        for frame in frames:
            at.live.data(frame)
        at.live.end() if clean else at.live.broken(RESET)

        assert verdict == at.verdict

    @pytest.mark.parametrize(
        ("data", "verdict"),
        [
            (b'{"type":"error","code":"overloaded","message":"m"}', ("failed", "overloaded", "overloaded")),
            (
                b'{"type":"response.failed","response":{"id":"r","error":{"code":"server_error"}}}',
                ("failed", "server_error", "server_error"),
            ),
            (
                b'{"type":"response.output_text.delta","delta":"cu',
                ("failed", "invalid_json", "upstream_invalid_json"),
            ),
            (b'{"type":"response.incomplete","response":{"id":"r"}}', ("incomplete", None, None)),
        ],
    )
    def test_how_a_stream_of_the_responses_api_ends(self, data, verdict):
        """An upstream's own code is kept, so that the ledger and the client hear it."""
        at = stage(RESPONSES)
        at.live.data(write_frame(data, msgspec.json.decode(data + b'"}' if b"cu" in data else data)["type"]))
        at.live.end()

        assert verdict == at.verdict

    @pytest.mark.parametrize(
        ("dialect", "body", "verdict"),
        [
            (CHAT, samples.chat_body(300), ("completed", None, None)),
            (CHAT, b'{"choices":', ("failed", "invalid_json", "upstream_invalid_json")),
            (CHAT, b"", ("failed", "invalid_json", "upstream_invalid_json")),
            (CHAT, b"{}", ("failed", "no_choices", None)),
            (
                COMPLETIONS,
                b'{"choices":[{"finish_reason":"length"}]}',
                ("incomplete", "max_output_tokens", None),
            ),
            (RESPONSES, samples.responses_body(900), ("completed", None, None)),
            (RESPONSES, b'{"object":"response","status":"failed"}', ("failed", "upstream_error", None)),
            (EMBEDDINGS, samples.embeddings_body(), ("completed", None, None)),
        ],
    )
    def test_how_json_ends(self, dialect, body, verdict):
        """A body that cannot be read is a fault; one that can is passed on, and is complete if it is an answer."""
        at = stage(dialect, Mode.JSON)
        at.live.data(body)
        at.live.end()

        assert verdict == at.verdict
        assert at.live.error_answer is None

    def test_json_that_breaks_off_is_no_answer(self):
        """Even when what there is could be read."""
        at = stage(mode=Mode.JSON)
        at.live.data(samples.chat_body(300))
        at.live.broken(RESET)

        assert at.verdict == ("failed", "upstream_truncated", "upstream_truncated")

    @pytest.mark.parametrize("fault", [RESET, STOPPING])
    def test_no_answer_at_all(self, fault):
        """What kept the upstream from answering, or us from waiting, is the recording's fault."""
        at = stage(head=False)
        at.live.broken(fault) if fault is RESET else at.live.fail(fault)

        assert ("failed", fault.code, fault.code) == at.verdict
        assert ([] if fault is RESET else ["cancel"]) == at.call.asked

    @pytest.mark.parametrize(
        ("status", "content_type", "code"),
        [
            (302, b"text/html", "upstream_status"),
            (307, b"application/json", "upstream_status"),
            (304, b"", "upstream_status"),
            (200, b"text/html; charset=utf-8", "upstream_content_type"),
            (200, b"application/octet-stream", "upstream_content_type"),
        ],
    )
    def test_what_is_no_answer_of_a_model_is_given_up_at_its_head(self, status, content_type, code):
        """The upstream is closed at once, and nothing of the body is read."""
        at = stage(head=False)
        hearer = Hearer(at)
        at.live.head(status, ((b"content-type", content_type),) if content_type else ())

        assert ("failed", code, code) == at.verdict
        assert (at.call.asked, hearer.ends) == (["cancel"], 1)

    @pytest.mark.parametrize(
        ("content_type", "mode"),
        [
            (b"text/event-stream; charset=utf-8", Mode.STREAM),
            (b"Text/Event-Stream", Mode.STREAM),
            (b"application/json", Mode.JSON),
            (b"application/problem+json; v=1", Mode.JSON),
        ],
    )
    def test_the_content_type_says_how_a_body_is_read(self, content_type, mode):
        """Parameters and case do not matter."""
        for asked in Mode:
            at = stage(mode=asked, head=False)
            at.live.head(200, ((b"content-type", content_type),))

            assert mode is at.recording.mode


class TestLimits:
    def test_what_came_before_a_frame_that_is_too_large_is_heard(self):
        """Frames in front of it are passed on, whatever read they came with, and the upstream is closed."""
        at = stage(max_frame_bytes=500)
        hearer = Hearer(at)
        at.live.data(WHOLE[0] + chunk("x" * 600) + WHOLE[1])

        assert [WHOLE[0]] == hearer.heard
        assert at.verdict == ("failed", "upstream_frame_too_large", "upstream_frame_too_large")
        assert (at.call.asked, hearer.ends) == (["cancel"], 1)

    @pytest.mark.parametrize("mode", Mode)
    def test_an_answer_that_is_too_long_is_given_up(self, mode):
        """Memory is bounded whether the answer streams or not."""
        at = stage(mode=mode, max_answer_bytes=1000)
        for _ in range(20):
            at.live.data(chunk("x" * 50))

        assert at.verdict == ("failed", "upstream_answer_too_large", "upstream_answer_too_large")
        assert at.call.asked == ["cancel"]
        assert at.recording.size < 1200

    def test_an_event_that_is_no_json_is_held_back(self):
        """Client libraries choke on it: they hear an error in its place, and the upstream is closed."""
        at = stage()
        hearer = Hearer(at)
        at.live.data(WHOLE[0] + b'data: {"choices":[{"del\n\n' + WHOLE[1])

        assert [WHOLE[0]] == hearer.heard
        assert at.verdict == ("failed", "invalid_json", "upstream_invalid_json")
        assert (at.call.asked, hearer.ends) == (["cancel"], 1)


class TestErrors:
    def answered(self, status, body, content_type=b"application/json", *, broken=False, mode=Mode.JSON):
        at = stage(mode=mode, head=False)
        at.live.head(status, ((b"content-type", content_type), (b"retry-after", b"7"), (b"server", b"x")))
        at.live.data(body)
        at.live.broken(RESET) if broken else at.live.end()
        return at.live.error_answer

    @pytest.mark.parametrize("status", [400, 401, 429, 500, 529])
    def test_an_upstreams_error_is_passed_on(self, status):
        """With its status, its body, and the headers that are for clients."""
        body = b'{"error": {"message": "no", "odd": [1]}}'
        answer = self.answered(status, body)

        assert (status, body) == (answer.status, answer.body)
        assert answer.headers == ((b"retry-after", b"7"),)

    @pytest.mark.parametrize(
        ("body", "content_type", "message"),
        [
            (b"", b"application/json", "The upstream answered with status 503."),
            (b"<html>", b"text/html", "The upstream answered with status 503."),
            (b"[]", b"application/json", "The upstream answered with status 503."),
            (b"busy\n", b"text/plain; charset=utf-8", "busy"),
            (b"\xff", b"text/plain", "\N{REPLACEMENT CHARACTER}"),
        ],
    )
    def test_what_is_no_object_is_told_in_the_clients_form(self, body, content_type, message):
        """So that client libraries find a message where they look for one."""
        answer = self.answered(503, body, content_type)

        kind, told = answer.told(OPENAI_ERRORS, "req_1")
        error = {"message": message, "type": "server_error", "param": None, "code": "upstream_error"}
        assert {"error": error} == msgspec.json.decode(told)
        assert (answer.status, kind) == (503, b"application/json")

    def test_an_error_whose_body_breaks_off_keeps_its_status(self):
        """429 says more than that the rest of it is missing."""
        answer = self.answered(429, b'{"error":{"mess', broken=True)

        assert (answer.status, answer.headers) == (429, ((b"retry-after", b"7"),))
        _, told = answer.told(OPENAI_ERRORS, "req_1")
        assert msgspec.json.decode(told)["error"]["type"] == "invalid_request_error"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"error":{"message":"no"}}', 502),
            (b'{"error":"no"}', 502),
            (b'{"error":{"code":429}}', 429),
            (b'{"error":{"code":200}}', 502),
            (b'{"error":{"code":"429"}}', 502),
            (b'{"object":"error","message":"no","code":400}', 400),
        ],
    )
    def test_an_error_with_status_200_is_none_of_the_answers(self, body, status):
        """It gets the status that it names, or that of a bad gateway, so that client libraries raise."""
        answer = self.answered(200, body)

        assert (status, body) == (answer.status, answer.body)

    def test_our_key_is_redacted(self):
        """Wherever the upstream echoes it: in its errors, and in answers and streams that failed."""
        error = b'{"error":{"message":"%b is wrong"}}' % KEY
        redacted = error.replace(KEY, b"[redacted]")
        assert redacted == self.answered(401, error).body
        assert redacted == self.answered(200, error).body

        failed = b'{"object":"response","status":"failed","error":{"message":"%b"}}' % KEY
        at = stage(RESPONSES, Mode.JSON)
        at.live.data(failed)
        at.live.end()
        assert failed.replace(KEY, b"[redacted]") == at.recording.body()

        for frame in (
            write_frame(error),
            b"event: error\ndata: " + error + b"\n\n",
            b"error: " + error + b"\n\n",
        ):
            at = stage()
            at.live.data(WHOLE[0] + frame)
            assert WHOLE[0] + frame.replace(KEY, b"[redacted]") == at.recording.body()

    def test_what_a_model_says_is_not_redacted(self):
        """Answers pass byte for byte: a key that is a word of everyday use may stand in one."""
        at = stage()
        at.live.data(chunk(KEY.decode()) + b"".join(WHOLE[2:]))
        at.live.end()

        assert chunk(KEY.decode()) == at.recording.frames[0]

    def test_an_error_that_is_too_long_is_given_up(self):
        """Memory is bounded for errors too."""
        at = stage(head=False)
        at.live.head(500, JSON_HEAD)
        at.live.data(b" " * (MIB + 1))

        assert at.verdict == ("failed", "upstream_answer_too_large", "upstream_answer_too_large")

    def test_only_headers_for_clients_are_passed_on(self):
        """Those about retrying, rate limits and the request; cookies and servers are nobody's business."""
        headers = [(b"x-request-id", b"r"), (b"set-cookie", b"s"), (b"x-ratelimit-limit-requests", b"9")]

        assert (headers[0], headers[2]) == passed_on(headers)


class TestHoldingBack:
    def test_the_upstream_is_held_back_when_all_are_behind(self):
        """More than a MiB that nobody has taken: no more is read until half of it is."""
        at = stage()
        hearer = Hearer(at, slow=True)
        frame = chunk("x" * 1000)
        while not at.call.asked:
            at.live.data(frame)
        assert MIB < at.recording.size <= MIB + len(frame)
        assert at.call.asked == ["pause"]

        at.live.data(frame)  # what was read before is still recorded
        hearer.read(400)
        at.live.caught_up()
        assert at.call.asked == ["pause"]
        hearer.read(100)
        at.live.caught_up()
        assert at.call.asked == ["pause", "resume"]

        while at.call.asked[-1] == "resume":
            at.live.data(frame)
        assert at.call.asked == ["pause", "resume", "pause"]

    def test_one_slow_listener_holds_nobody_up(self):
        """As long as one keeps up, everything is read."""
        at = stage()
        Hearer(at, slow=True)
        quick = Hearer(at)
        for _ in range(30):
            at.live.data(chunk("x" * 100_000))

        assert (at.call.asked, len(quick.heard)) == ([], 30)

    def test_when_the_quick_one_leaves_the_slow_one_sets_the_pace(self):
        """And the other way round: when the slow one leaves, reading goes on."""
        at = stage()
        slow = Hearer(at, slow=True)
        quick = Hearer(at)
        at.live.data(chunk("x" * 2 * MIB))
        at.live.detach(quick)
        at.live.data(chunk("y"))
        assert at.call.asked == ["pause"]

        quick = Hearer(at)
        quick.read()
        at.live.detach(slow)
        assert at.call.asked == ["pause", "resume"]

    def test_the_upstream_is_left_when_the_last_listener_leaves(self):
        """One of two may go; with the second the call is cancelled and the recording ends, once."""
        at = stage()
        first, second = Hearer(at), Hearer(at)
        at.live.data(WHOLE[0])
        at.live.detach(first)
        assert (at.call.asked, at.recording.is_live) == ([], True)

        at.live.detach(second)
        at.live.detach(second)
        assert (["cancel"], [at.live]) == (at.call.asked, at.ended)
        assert at.verdict == ("cancelled", "client_left", None)
        assert (first.ends, second.ends) == (0, 0)

    def test_nobody_need_listen_for_it_to_be_recorded(self):
        """A recording without listeners is not held back: only leaving ends it."""
        at = stage()
        at.live.data(chunk("x" * 3 * MIB) + b"".join(WHOLE[2:]))
        at.live.end()

        assert (at.call.asked, at.recording.outcome.state) == ([], State.COMPLETED)
