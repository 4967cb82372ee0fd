"""Rerankings and transcriptions over sockets: recorded ones, the official client, and everything that may break."""

import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon.dialects.transcriptions import TRANSCRIPTIONS
from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Cache, Server
from e2e.callers import CALLERS
from e2e.plain_client import Answer as Got
from e2e.plain_client import PlainClient, plain_client
from e2e.scenes import Scene, play, scene
from e2e.stage import Stage, played, stage
from forms import BOUNDARY, content_type, form
from official_library import events_of, frames_of
from recorded import Exchange, exchanges, needs_recordings
from waiting import eventually

AUDIO = "/v1/audio/transcriptions"
RERANK = "/v1/rerank"
RERANKINGS = exchanges("rerank", "plain", None)
PLAIN = exchanges("openai.audio.transcriptions", "plain", None)
STREAMS = exchanges("openai.audio.transcriptions", "stream", None)
NOT_CACHED = {
    "groq-openai-audio-transcriptions-p-04705100ac": "its recorder has put the text into JSON of its own"
}
"""Answers that are passed on and not kept."""

FILE = ("speech.mp3", b"ID3\r\n\x00\xff", "audio/mpeg")
MODEL = "up/gpt-test"
USAGE = {
    "type": "tokens",
    "input_tokens": 37,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 30},
    "output_tokens": 5,
    "total_tokens": 42,
}
TEXT = "Hello there"
SRT = "1\n00:00:00,000 --> 00:00:01,500\nHello there\n"
SEGMENT = {
    "type": "transcript.text.segment",
    "text": TEXT,
    "speaker": "A",
    "start": 0.0,
    "end": 1.5,
    "id": "seg_0",
}
WORD = {"word": "Hello", "start": 0.0, "end": 0.6}
VERBOSE = {"task": "transcribe", "language": "english", "duration": 1.5, "text": TEXT, "words": [WORD]}


def as_json(**members: Any) -> Answer:
    return Answer(body=json.dumps({"text": TEXT, "usage": USAGE} | members).encode())


def as_stream(*events: dict[str, Any], **how: Any) -> Answer:
    frames = [b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events]
    return Answer(frames=[*frames, b"data: [DONE]\r\n\r\n"], **how)


EVENTS = (
    {"type": "transcript.text.delta", "delta": "Hello"},
    {"type": "transcript.text.delta", "delta": " there"},
    {"type": "transcript.text.done", "text": TEXT, "usage": USAGE},
)


def listeners(there: Scene) -> int:
    return sum(len(live.listeners) for live in there.gateway.application.producing._live)


async def transcribe(client: PlainClient, *fields: Any, boundary: str = BOUNDARY, **headers: str) -> Got:
    """Send a form with a model and a file, unless other ones are given."""
    given = {name for name, *_ in fields}
    missing = [field for field in (("model", MODEL), ("file", FILE)) if field[0] not in given]
    body = form([*missing, *fields], boundary)
    return await client.post(AUDIO, body, Content_Type=content_type(boundary), **headers)


# ------------------------------------------------------------------------------------------- recordings


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("files"), Cache()) as set_stage:
        yield set_stage


def recorded_type(exchange: Exchange) -> str:
    return next(value for name, value in exchange.headers if name.lower() == "content-type")


@needs_recordings
@pytest.mark.parametrize("exchange", [*PLAIN, *STREAMS], ids=lambda exchange: exchange.id)
def test_a_recorded_transcription_is_passed_kept_and_served_in_both_modes(there: Stage, exchange: Exchange):
    """Byte for byte, the second time from the cache; in the other mode it is the fold or the unfold."""
    is_stream = exchange.mode == "stream"
    there.simulator.answer(played(exchange, exchange.body, recorded_type(exchange)))
    before = len(there.simulator.calls)

    def ask(*, stream: bool, boundary: str) -> Got:
        file = ("a.mp3", exchange.id.encode())
        fields = (("file", file), *([("stream", "true")] if stream else []))
        return there.run(transcribe(there.client, *fields, boundary=boundary))

    first, second = (ask(stream=is_stream, boundary=each) for each in ("one", "another"))
    is_cached = exchange.id not in NOT_CACHED
    assert (first.status, second.status) == (exchange.status, exchange.status)
    assert first.body == exchange.body
    assert second.body == exchange.body
    assert first.headers["content-type"] == second.headers["content-type"]
    assert (second.is_hit, len(there.simulator.calls) - before) == ((True, 1) if is_cached else (False, 2))
    if is_cached:
        other = ask(stream=not is_stream, boundary="third")
        stream, whole = (exchange.body, other.body) if is_stream else (other.body, exchange.body)
        assert (other.is_hit, len(there.simulator.calls) - before) == (True, 1)
        assert json.loads(whole) == json.loads(TRANSCRIPTIONS.fold(frames_of(stream)))


@needs_recordings
@pytest.mark.parametrize("exchange", RERANKINGS, ids=lambda exchange: exchange.id)
def test_a_recorded_ranking_is_passed_and_kept(there: Stage, exchange: Exchange):
    """Byte for byte; what it asks reaches the upstream with another model's name, and nothing else changed."""
    asked = exchange.request or {"query": "Who?", "documents": ["A", "B"]}
    model = asked.get("model", "rerank-v3.5")
    request = asked | {"model": f"up/{model}", "cache": {"namespace": exchange.id}}
    there.simulator.answer(played(exchange, exchange.body, recorded_type(exchange)))
    before = len(there.simulator.calls)
    first = there.run(there.client.post(RERANK, request))
    second = there.run(there.client.post("/v2/rerank", dict(reversed(request.items()))))
    (call,) = there.simulator.calls[before:]

    assert (first.status, first.body) == (exchange.status, exchange.body)
    assert (second.is_hit, second.body) == (True, exchange.body)
    assert (call.path, json.loads(call.body)) == ("/v1/rerank", asked | {"model": model})


# ------------------------------------------------------------------------------------------- the file

pieces = st.sampled_from([b"\r\n", b"\r", b"\n", b"--", BOUNDARY.encode(), b"--" + BOUNDARY.encode()])
contents = st.lists(pieces | st.binary(max_size=30), max_size=12).map(b"".join)


@settings(max_examples=40, deadline=None)
@given(contents.filter(lambda content: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + content))
def test_any_bytes_of_a_file_reach_the_upstream(there: Stage, content: bytes):
    """Half boundaries and bare line ends too; only the model's name is another."""
    there.simulator.answer(as_json())
    fields = [("model", MODEL), ("prompt", "up/gpt-test"), ("file", ("a.wav", content, "audio/wav"))]
    there.run(transcribe(there.client, *fields, Cache_Control="no-cache"))
    call = there.simulator.calls[-1]

    assert call.body == form([("model", "gpt-test"), *fields[1:]])
    assert (call.headers["content-type"], call.headers["accept"]) == (content_type(), "*/*")


def test_a_form_may_arrive_in_pieces(tmp_path: Path):
    """Cut anywhere: in a boundary, in a head, in the file; in chunks too."""
    chance = random.Random(7)
    body = form([("model", MODEL), ("file", ("a.wav", chance.randbytes(5_000)))])
    expected = body.replace(b"up/gpt-test", b"gpt-test")

    async def run() -> None:
        async with scene(tmp_path, as_json()) as there:
            for number in range(12):
                cuts = sorted(chance.sample(range(1, len(body)), number * 3))
                parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
                is_chunked = number % 2
                length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
                head = f"POST {AUDIO} HTTP/1.1\r\nHost: a\r\nContent-Type: {content_type()}\r\nCache-Control: no-cache"
                writer = there.client._writer
                writer.write(f"{head}\r\n{length}\r\n\r\n".encode())
                for part in parts:
                    writer.write(b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part)
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n" if is_chunked else b"")
                assert (await there.client.answer()).status == 200
            assert [call.body for call in there.simulator.calls] == [expected] * 12

    play(run())


def test_two_files_never_share_an_entry(tmp_path: Path):
    """Of equal length, equal name and equal type; the same file is a hit whatever it is called."""

    async def run() -> None:
        async with scene(tmp_path, as_json()) as there:
            first = await transcribe(there.client)
            other = await transcribe(there.client, ("file", (FILE[0], b"ID3\n\r\x00\xff", FILE[2])))
            same = await transcribe(
                there.client, ("file", ("x.mp3", *FILE[1:])), boundary="x", Cache_Control="max-age=9"
            )
            assert [first.is_hit, other.is_hit, same.is_hit, there.calls] == [False, False, True, 2]

    play(run())


def test_the_file_is_kept_nowhere(tmp_path: Path):
    """Neither memory nor the database holds it, after a miss and two hits."""
    content = random.Random(3).randbytes(300_000)

    async def run() -> None:
        async with scene(tmp_path, as_json()) as there:
            for _ in range(3):
                await transcribe(there.client, ("file", ("a.mp3", content)))
            await there.written()
            assert (there.calls, there.gateway.application.memory.size < 5_000) == (1, True)
        kept = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))  # noqa: ASYNC240 - all is over
        assert content[1000:1100] not in kept

    play(run())


def test_equal_forms_in_flight_share_one_call(tmp_path: Path):
    """Under boundaries of their own, in the mode of each."""

    async def run() -> None:
        gate = asyncio.Event()
        async with (
            scene(tmp_path, as_stream(*EVENTS, gate=gate, gate_at=1)) as there,
            plain_client(there.gateway.port) as second,
        ):
            body = form([("model", MODEL), ("file", FILE), ("stream", "true")])
            there.client.send("POST", AUDIO, body, Content_Type=content_type())
            await there.simulator.wait_for_calls(1)
            second.send(
                "POST", AUDIO, form([("model", MODEL), ("file", FILE)], "x"), Content_Type=content_type("x")
            )
            await eventually(lambda: listeners(there) == 2)
            gate.set()
            streamed, whole = await there.client.answer(), await second.answer()
        assert whole.cache_status == "antiphon; fwd=miss; collapsed"
        assert events_of(frames_of(streamed.body)) == list(EVENTS)
        assert whole.json() == {"text": TEXT, "usage": USAGE}

    play(run())


def test_a_form_over_the_limit_is_refused(tmp_path: Path):
    """As any other body."""

    async def run() -> None:
        async with scene(tmp_path, server=Server(port=0, max_body_bytes=100_000)) as there:
            refused = await transcribe(there.client, ("file", ("a", b"x" * 100_000)))
        assert (refused.status, there.calls) == (413, 0)

    play(run())


# ------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(
    ("response_format", "kind"),
    [
        ("text", "text/plain; charset=utf-8"),
        ("srt", "application/x-subrip"),
        ("vtt", "text/vtt; charset=utf-8"),
    ],
)
def test_a_text_is_passed_kept_and_found_again_in_storage(tmp_path: Path, response_format: str, kind: str):
    """Under its own type; a body like an event is a text all the same."""
    text = b"data: the new oil\n"

    async def run() -> None:
        async with scene(tmp_path, Answer(body=text, content_type=kind)) as there:
            answers = [await transcribe(there.client, ("response_format", response_format)) for _ in range(2)]
            await there.written()
            there.gateway.application.memory.clear()
            answers.append(await transcribe(there.client, ("response_format", response_format)))
            assert there.calls == 1
        assert [(each.body, each.headers["content-type"]) for each in answers] == [(text, kind)] * 3
        assert [each.is_hit for each in answers] == [False, True, True]

    play(run())


def test_a_text_and_its_stream_have_an_entry_each(tmp_path: Path):
    """Neither can be made from the other as the upstream would have written it."""

    async def run() -> None:
        async with scene(
            tmp_path, as_stream(*EVENTS), Answer(body=b"Hello", content_type="text/plain")
        ) as there:
            for is_hit in (False, True):
                streamed = await transcribe(there.client, ("response_format", "text"), ("stream", "True"))
                whole = await transcribe(there.client, ("response_format", "text"), ("stream", "False"))
                assert (streamed.is_hit, whole.is_hit) == (is_hit, is_hit)
                assert (events_of(frames_of(streamed.body)), whole.body) == (list(EVENTS), b"Hello")

    play(run())


def test_whoever_asks_for_a_stream_gets_one_from_an_upstream_that_has_none(tmp_path: Path):
    """Whisper ignores the wish and answers whole; subtitles stay whole."""

    async def run() -> None:
        async with scene(tmp_path, as_json(), Answer(body=SRT.encode(), content_type="text/plain")) as there:
            streamed = await transcribe(there.client, ("stream", "true"))
            subtitles = await transcribe(there.client, ("stream", "true"), ("response_format", "srt"))
        assert events_of(frames_of(streamed.body))[-1] == {
            "type": "transcript.text.done",
            "text": TEXT,
            "usage": USAGE,
        }
        assert (subtitles.body, subtitles.headers["content-type"]) == (SRT.encode(), "text/plain")

    play(run())


# ------------------------------------------------------------------------------------------- the official client


@pytest.fixture(params=CALLERS, ids=["async", "sync"])
def caller(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        ({}, as_json(), {"text": TEXT, "usage": USAGE}),
        (
            {"response_format": "verbose_json", "timestamp_granularities": ["word"]},
            Answer(body=json.dumps(VERBOSE).encode()),
            VERBOSE,
        ),
        (
            {"response_format": "diarized_json", "chunking_strategy": "auto"},
            as_json(task="transcribe", duration=1.5, segments=[SEGMENT]),
            {"text": TEXT, "task": "transcribe", "duration": 1.5, "segments": [SEGMENT], "usage": USAGE},
        ),
        ({"response_format": "text"}, Answer(body=TEXT.encode(), content_type="text/plain"), TEXT),
        ({"response_format": "srt"}, Answer(body=SRT.encode(), content_type="application/x-subrip"), SRT),
    ],
    ids=["json", "verbose", "diarized", "text", "srt"],
)
def test_the_official_client_reads_each_format(
    tmp_path: Path, caller: Any, options: dict[str, Any], answer: Answer, expected: Any
):
    """From the upstream, and from the cache."""

    async def run() -> None:
        async with scene(tmp_path, answer) as there:
            official = caller(there.base_url)
            for _ in range(2):
                got = await official.result(
                    lambda c: c.audio.transcriptions.create(model=MODEL, file=FILE, **options)
                )
                said = got if isinstance(got, str) else got.to_dict(mode="json")
                assert said == expected
            assert there.calls == 1

    play(run())


def test_the_official_client_streams(tmp_path: Path, caller: Any):
    """From the upstream, from the cache, and the same answer whole."""

    async def run() -> None:
        async with scene(tmp_path, as_stream(*EVENTS)) as there:
            official = caller(there.base_url)
            streams = [
                await official.listed(
                    lambda c: c.audio.transcriptions.create(model=MODEL, file=FILE, stream=True)
                )
                for _ in range(2)
            ]
            whole = await official.result(lambda c: c.audio.transcriptions.create(model=MODEL, file=FILE))
            assert there.calls == 1
        for stream in streams:
            assert [event.to_dict(mode="json") for event in stream] == list(EVENTS)
        assert whole.text == TEXT

    play(run())


def test_the_official_client_sends_our_controls_as_it_does_with_json(tmp_path: Path, caller: Any):
    """`extra_body` is written into the form, and taken out of it."""

    async def run() -> None:
        async with scene(tmp_path, as_json()) as there:
            official = caller(there.base_url)
            extra = {"cache": {"ttl": 60, "namespace": "n"}}
            answers = [
                await official.result(
                    lambda c: c.audio.transcriptions.with_raw_response.create(
                        model=MODEL, file=FILE, extra_body=extra
                    )
                )
                for _ in range(2)
            ]
            assert (there.calls, b"cache" in there.simulator.calls[0].body) == (1, False)
        assert (
            "hit; ttl=60;" in answers[1].headers["cache-status"]
            or "ttl=59;" in answers[1].headers["cache-status"]
        )

    play(run())


def test_the_official_client_raises_for_a_stream_that_broke_off(tmp_path: Path, caller: Any):
    """It is not kept either."""

    async def run() -> None:
        async with scene(tmp_path, as_stream(*EVENTS, fault=Fault.NO_TERMINAL_EVENT, at=2)) as there:
            official = caller(there.base_url)
            for _ in range(2):
                with pytest.raises(openai.APIError, match="ended before it was complete"):
                    await official.listed(
                        lambda c: c.audio.transcriptions.create(model=MODEL, file=FILE, stream=True)
                    )
            assert there.calls == 2

    play(run())


# ------------------------------------------------------------------------------------------- what may break


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (Answer(fault=Fault.RATE_LIMITED), 429, "Rate limit reached for requests"),
        (
            Answer(status=413, body=b"<html>", content_type="text/html"),
            413,
            "The upstream answered with status 413.",
        ),
        (Answer(status=400, body=b"No audio", content_type="text/plain"), 400, "No audio"),
        (Answer(body=b"<html>", content_type="text/html"), 502, "content type 'text/html'"),
        (Answer(body=b"{", content_type="application/json"), 502, "not valid JSON"),
        (Answer(body=b'{"error":{"message":"no"}}', content_type="text/plain"), 502, "no"),
        (Answer(body=b"Hello there", content_type="text/plain", fault=Fault.NO_LAST_CHUNK), 502, ""),
    ],
)
def test_an_error_of_the_upstream_is_told_and_not_kept(
    tmp_path: Path, answer: Answer, status: int, said: str
):
    """With its status; what is no transcription, or not all of one, is never passed off as one."""

    async def run() -> None:
        async with scene(tmp_path, answer) as there:
            for calls in (1, 2):
                got = await transcribe(there.client, ("response_format", "text"))
                assert (got.status, there.calls) == (status, calls)
                assert said in got.json()["error"]["message"]

    play(run())


@pytest.mark.parametrize(
    ("kind", "body", "said", "param"),
    [
        ("application/json", b"{}", "The request body must be a form: send it as multipart/form-data.", None),
        (
            "multipart/form-data",
            b"--x--",
            "The request body is not a valid form: its Content-Type names no boundary.",
            None,
        ),
        (
            content_type("x"),
            b"",
            "The request body is not a valid form: it ends (byte 0) without its closing boundary.",
            None,
        ),
        (
            content_type("x"),
            form([("file", FILE)], "x")[:-8],
            "The request body is not a valid form: it ends (byte 109) without its closing boundary.",
            None,
        ),
        (content_type("x"), form([("file", FILE)], "x"), "Missing required parameter: 'model'.", "model"),
        (content_type("x"), form([("model", MODEL)], "x"), "Missing required parameter: 'file'.", "file"),
    ],
)
def test_a_broken_form_is_refused_with_what_is_wrong(
    tmp_path: Path, kind: str, body: bytes, said: str, param: str | None
):
    """And the connection goes on."""

    async def run() -> None:
        async with scene(tmp_path, as_json()) as there:
            refused = await there.client.post(AUDIO, body, Content_Type=kind)
            assert (refused.status, there.calls) == (400, 0)
            assert (refused.json()["error"]["message"], refused.json()["error"]["param"]) == (said, param)
            assert (await transcribe(there.client)).status == 200

    play(run())


@pytest.mark.parametrize(
    ("changes", "param"),
    [({"query": ""}, "query"), ({"documents": "A"}, "documents"), ({"model": ""}, "model")],
)
def test_a_request_that_nobody_could_rank_is_refused(tmp_path: Path, changes: dict[str, Any], param: str):
    """Before anybody is asked."""

    async def run() -> None:
        async with scene(tmp_path) as there:
            request = {"model": MODEL, "query": "Who?", "documents": ["A"]} | changes
            refused = await there.client.post(RERANK, request)
            assert (refused.status, refused.json()["error"]["param"], there.calls) == (400, param, 0)

    play(run())


# ------------------------------------------------------------------------------------------- both forms, and the ledger

COHERE = {
    "id": "r",
    "results": [{"index": 0, "relevance_score": 0.9}],
    "meta": {"billed_units": {"search_units": 1}},
}
JINA = {
    "model": "jina",
    "usage": {"total_tokens": 15},
    "results": [{"index": 0, "relevance_score": 0.9, "document": {"text": "A"}}],
}


@pytest.mark.parametrize(
    ("request_members", "answer"),
    [
        ({"query": "Who?", "documents": ["A"], "top_n": 1, "max_tokens_per_doc": 64}, COHERE),
        ({"query": {"text": "Who?"}, "documents": [{"text": "A"}], "return_documents": True}, JINA),
    ],
    ids=["cohere", "jina"],
)
def test_both_forms_of_reranking_pass(
    tmp_path: Path, request_members: dict[str, Any], answer: dict[str, Any]
):
    """Whatever members they have; the second answer is a hit, and the ledger tells what was spent and saved."""

    async def run() -> None:
        async with scene(tmp_path, Answer(body=json.dumps(answer).encode())) as there:
            for is_hit in (False, True):
                got = await there.client.post(RERANK, {"model": MODEL, **request_members})
                assert (got.is_hit, got.json()) == (is_hit, answer)
            rows = await there.rows()
            assert json.loads(there.simulator.calls[0].body) == {"model": "gpt-test", **request_members}
        tokens = answer.get("usage", {}).get("total_tokens", 0)
        assert [(row["dialect"], row["route"], row["cache"]) for row in rows] == [
            ("rerank", "/rerank", "miss"),
            ("rerank", "/rerank", "hit"),
        ]
        assert [(row["input_tokens"], row["total_tokens"]) for row in rows] == [(tokens, tokens)] * 2

    play(run())


def test_a_transcription_has_its_row_in_the_ledger(tmp_path: Path):
    """With the tokens that were spoken."""

    async def run() -> None:
        async with scene(tmp_path, as_stream(*EVENTS)) as there:
            await transcribe(there.client, ("stream", "true"))
            await transcribe(there.client)
            rows = await there.rows()
        assert [(row["dialect"], row["route"], row["stream"], row["cache"]) for row in rows] == [
            ("transcriptions", "/audio/transcriptions", 1, "miss"),
            ("transcriptions", "/audio/transcriptions", 0, "hit"),
        ]
        for row in rows:
            counts = row["input_tokens"], row["audio_input_tokens"], row["output_tokens"], row["total_tokens"]
            assert counts == (37, 30, 5, 42)

    play(run())
