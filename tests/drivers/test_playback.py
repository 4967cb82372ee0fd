import asyncio
import hashlib
import heapq
import itertools
import stat

import msgspec
import pytest

from antiphon.dialects.chat.dialect import CHAT
from antiphon.dialects.completions.dialect import COMPLETIONS
from antiphon.dialects.embeddings import EMBEDDINGS
from antiphon.dialects.responses.dialect import RESPONSES
from antiphon.drivers.cassette_files import exchange_name, order_of, read_cassette, write_file
from antiphon.drivers.playback import Playback, playback
from antiphon.ports.upstream import UpstreamRequest
from antiphon.recording import Head, Mode, Outcome, Recording, State
from antiphon.recording.cassette import Exchange, UnreadableCassetteError, to_json
from antiphon.recording.pace import INSTANT, RECORDED, parse_pace
from antiphon.settings import Provider
from antiphon.wire.errors import ClientFault
from drivers.make_demo_cassette import FOLDER, TEXT, THOUGHT, demo_files
from forms import content_type, form
from waiting import PATIENCE

DIALECTS = {"chat": CHAT, "completions": COMPLETIONS, "embeddings": EMBEDDINGS, "responses": RESPONSES}
SSE = b"text/event-stream"


class ScriptedLoop:
    """A loop whose time passes only when nothing else is left to do."""

    def __init__(self):
        self.now = 100.0
        self._queue = []
        self._order = itertools.count()

    def time(self):
        return self.now

    def call_later(self, delay, callback):
        handle = asyncio.Handle(callback, (), _Quiet)
        heapq.heappush(self._queue, (self.now + delay, next(self._order), handle))
        return handle

    def call_soon(self, callback):
        return self.call_later(0, callback)

    def run(self, until=float("inf")):
        while self._queue and self._queue[0][0] <= until:
            self.now, _, handle = heapq.heappop(self._queue)
            if not handle.cancelled():
                handle._callback()


class _Quiet:
    @staticmethod
    def get_debug():
        return False


class Sink:
    """Notes what it hears, with the seconds since the start."""

    def __init__(self, loop):
        self.loop = loop
        self.heard = []
        self.on_data = lambda: None

    def _note(self, *what):
        self.heard.append((round(self.loop.now - 100, 6), *what))

    def head(self, status, headers):
        self._note("head", status, dict(headers)[b"content-type"])

    def data(self, data):
        self._note("data", data)
        self.on_data()

    def end(self):
        self._note("end")

    def broken(self, fault):
        self._note("broken", fault.code)

    @property
    def body(self):
        return b"".join(entry[2] for entry in self.heard if entry[1] == "data")

    @property
    def status(self):
        return next(entry[2] for entry in self.heard if entry[1] == "head")


def taped(body, *frames, mode=Mode.STREAM, dialect="chat", outcome=State.COMPLETED, reason=None):
    content_type = SSE if mode is Mode.STREAM else b"application/json"
    recording = Recording("r", dialect, mode, "p", body.get("model", "m"), 1.0, head=Head(200, content_type))
    for index, frame in enumerate(frames):
        recording.extend([frame], 500_000 + index * 100_000)
    recording.outcome = Outcome(outcome, reason)
    return Exchange("/chat/completions", body, recording)


def request(body, *, stream=True, dialect="chat"):
    return UpstreamRequest(dialect, "/chat/completions", msgspec.json.encode(body), stream=stream)


HELLO = taped({"model": "m", "messages": "hello"}, b"h1\n\n", b"h2\n\n", b"h3\n\n")
BYE = taped({"model": "m", "messages": "bye"}, b"b1\n\n")


def play(cassette, asked, *, pace=INSTANT, strict=False):
    loop = ScriptedLoop()
    sink = Sink(loop)
    player = Playback(
        {f"{n}.json": exchange for n, exchange in enumerate(cassette)}, pace=pace, strict=strict, loop=loop
    )
    player.send(asked, sink)
    assert sink.heard == []
    loop.run()
    return sink


def test_the_recorded_pace_is_kept():
    """Head and frames come when they came; nothing before `send` has returned."""
    sink = play([HELLO], request({"messages": "hello"}), pace=RECORDED)
    assert sink.heard == [
        (0.5, "head", 200, SSE),
        (0.5, "data", b"h1\n\n"),
        (0.6, "data", b"h2\n\n"),
        (0.7, "data", b"h3\n\n"),
        (0.7, "end"),
    ]


def test_instant_is_at_once():
    """All frames in one piece."""
    sink = play([HELLO], request({"messages": "hello"}))
    assert sink.heard == [(0, "head", 200, SSE), (0, "data", b"h1\n\nh2\n\nh3\n\n"), (0, "end")]


def test_other_paces_follow_their_arithmetic():
    """A rate counts frames from the start."""
    sink = play([HELLO], request({"messages": "hello"}), pace=parse_pace("10/s"))
    assert [entry[0] for entry in sink.heard if entry[1] == "data"] == [0, 0.1, 0.2]


@pytest.mark.parametrize("strict", [True, False])
def test_the_same_request_gets_its_own_answer(strict):
    """Whatever the order of keys, the model's name and the mode's flags."""
    sink = play([HELLO, BYE], request({"messages": "bye", "model": "x", "stream": True}), strict=strict)
    assert sink.body == b"b1\n\n"


def test_among_equal_requests_the_model_and_then_the_mode_decide():
    """An answer of the asked model in the asked mode wins."""
    exchanges = [
        taped({"model": model, "messages": "x"}, f"{model}-{mode}".encode(), mode=mode)
        for model in ("m", "n")
        for mode in (Mode.JSON, Mode.STREAM)
    ]
    for model in ("m", "n"):
        for mode in Mode:
            asked = request({"model": model, "messages": "x"}, stream=mode is Mode.STREAM)
            assert play(exchanges, asked).body == f"{model}-{mode}".encode()


def test_an_unknown_request_gets_the_first_answer_of_its_dialect():
    """A playback that is not strict answers everything."""
    other = taped({"messages": "hello"}, b"other", dialect="completions")
    assert play([other, HELLO, BYE], request({"messages": "?"})).body.startswith(b"h1")


def test_an_answer_in_the_other_mode_says_what_it_is():
    """Nothing is converted here: the content type tells."""
    sink = play([taped({"messages": "x"}, b"{}", mode=Mode.JSON)], request({"messages": "x"}, stream=True))
    assert sink.heard == [(0, "head", 200, b"application/json"), (0, "data", b"{}"), (0, "end")]


def test_a_strict_playback_names_the_nearest_recording():
    """404 with the file and the places that differ, with what stood there and what was asked."""
    sink = play([BYE, HELLO], request({"model": "m", "messages": "hello!", "seed": 1}), strict=True)
    error = msgspec.json.decode(sink.body)["error"]
    assert (sink.status, error["code"]) == (404, "no_recording")
    assert (
        'The nearest is 1.json, which differs in `messages` (recorded "hello", asked "hello!"); '
        "`seed` (recorded nothing, asked 1)."
    ) in error["message"]


@pytest.mark.parametrize(
    ("recorded", "asked", "told"),
    [
        ("x" * 99 + "one", "x" * 99 + "two", 'recorded "…xxxxxxxxxxxxxxxxone", asked "…xxxxxxxxxxxxxxxxtwo"'),
        ("a" * 61, "b", 'recorded "' + "a" * 60 + '…", asked "b"'),
        (None, True, "recorded null, asked true"),
        ([1, 2], {"a": 1, "b": 2}, "recorded a list of 2, asked {a, b}"),
        ({"k" * 40: 1, "l" * 40: 2}, 1.5, "recorded {" + "k" * 40 + ", " + "l" * 17 + "…, asked 1.5"),
    ],
)
def test_what_differs_is_told_in_few_words(recorded, asked, told):
    """Long texts are cut where they begin to differ."""
    sink = play([taped({"messages": recorded})], request({"messages": asked}), strict=True)
    assert f"differs in `messages` ({told})." in msgspec.json.decode(sink.body)["error"]["message"]


def test_a_dialect_that_was_never_recorded_is_not_found():
    """Also where the playback is not strict."""
    sink = play([HELLO], request({"input": "x"}, dialect="responses"))
    assert sink.status == 404
    assert b"no recording that answers this responses request" in sink.body


def test_a_form_is_compared_by_its_fields_and_the_digest_of_its_file():
    """Under any boundary, whatever the file is called; another file is another request, and a broken form too."""
    form_type = content_type("b").encode()
    file = {"format": "mp3", "sha256": hashlib.sha256(b"sound").hexdigest(), "size": 5}
    exchange = taped({"file": file, "language": "de"}, b'{"text":"Ton"}', dialect="transcriptions")

    def ask(content, boundary):
        body = form([("model", "m"), ("file", ("x.MP3", content)), ("language", "de")], boundary)
        headers = ((b"content-type", form_type),)
        asked = UpstreamRequest("transcriptions", "/audio/transcriptions", body, headers=headers)
        return play([exchange], asked, strict=True).heard[0][2]

    assert [ask(b"sound", "b"), ask(b"other", "b"), ask(b"sound", "c")] == [200, 404, 404]


def test_a_body_that_is_not_json_is_an_unknown_request():
    """It is looked up like any other."""
    asked = UpstreamRequest("chat", "/chat/completions", b"\xff{", stream=True)
    assert play([HELLO], asked, strict=True).status == 404


def test_the_models_of_the_cassette_are_listed():
    """By the method and by the route."""
    loop = ScriptedLoop()
    player = Playback({"a": HELLO, "b": BYE, "c": taped({"model": "n"})}, loop=loop)
    sink = Sink(loop)
    player.send(UpstreamRequest("models", "/models", method="GET"), sink)
    loop.run()
    assert player.models() == ("m", "n")
    assert [model["id"] for model in msgspec.json.decode(sink.body)["data"]] == ["m", "n"]


@pytest.mark.parametrize(
    ("state", "reason", "ending"),
    [
        (State.COMPLETED, None, ("end",)),
        (State.INCOMPLETE, "max_output_tokens", ("end",)),
        (State.FAILED, "no_terminal_event", ("end",)),
        (State.FAILED, "upstream_error", ("end",)),
        (State.FAILED, "upstream_idle_timeout", ("broken", "upstream_idle_timeout")),
        (State.CANCELLED, "client_left", ("broken", "upstream_truncated")),
        (State.LIVE, None, ("broken", "upstream_truncated")),
    ],
)
def test_an_answer_breaks_where_it_broke(state, reason, ending):
    """A recorded break is a break again, never a clean end."""
    sink = play(
        [taped({"messages": "x"}, b"1\n\n", outcome=state, reason=reason)], request({"messages": "x"})
    )
    assert sink.heard[-1][1:] == ending


def test_a_paused_performance_waits_and_catches_up():
    """What fell due meanwhile comes at once after the pause."""
    loop = ScriptedLoop()
    sink = Sink(loop)
    call = Playback({"a": HELLO}, loop=loop).send(request({"messages": "hello"}), sink)
    loop.run(until=100.55)
    call.pause()
    loop.run()
    assert sink.body == b"h1\n\n"
    loop.now = 105.0
    call.resume()
    call.resume()
    loop.run()
    assert sink.heard[2:] == [(5, "data", b"h2\n\nh3\n\n"), (5, "end")]


@pytest.mark.parametrize("pace", [INSTANT, RECORDED])
def test_the_sink_may_pause_and_resume_from_within(pace):
    """Each frame is heard once, and the end once."""
    loop = ScriptedLoop()
    sink = Sink(loop)
    call = Playback({"a": HELLO}, pace=pace, loop=loop).send(request({"messages": "hello"}), sink)
    sink.on_data = lambda: (call.pause(), call.resume())
    loop.run()
    assert sink.body == b"h1\n\nh2\n\nh3\n\n"
    assert [entry[1] for entry in sink.heard].count("end") == 1


@pytest.mark.parametrize("frames", [0, 1])
def test_a_cancelled_performance_is_silent(frames):
    """Before the first frame or after it, from outside or from within."""
    loop = ScriptedLoop()
    sink = Sink(loop)
    call = Playback({"a": HELLO}, loop=loop).send(request({"messages": "hello"}), sink)
    sink.on_data = call.cancel
    if frames == 0:
        call.cancel()
    loop.run()
    call.resume()
    loop.run()
    assert len(sink.body) == 4 * frames
    assert "end" not in [entry[1] for entry in sink.heard]


def test_closing_silences_everything():
    """`close` cancels all that plays."""
    loop = ScriptedLoop()
    sink = Sink(loop)
    player = Playback({"a": HELLO}, loop=loop)
    player.send(request({"messages": "hello"}), sink)
    asyncio.run(player.close())
    loop.run()
    assert sink.heard == []


def test_it_plays_on_a_real_loop():
    """The recorded frames arrive through asyncio's own timers."""

    async def listen():
        loop = asyncio.get_running_loop()
        sink = Sink(ScriptedLoop())
        ended = loop.create_future()
        sink.end = lambda: ended.set_result(None)
        Playback({"a": HELLO}, pace=parse_pace("x1000")).send(request({"messages": "hello"}), sink)
        await asyncio.wait_for(ended, PATIENCE)
        return sink.body

    assert asyncio.run(listen()) == b"h1\n\nh2\n\nh3\n\n"


# Files.


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path):
    """Files of both kinds; others are left alone."""
    (tmp_path / "b.json").write_bytes(to_json(BYE))
    (tmp_path / "a.jsonl").write_bytes(
        b"\n" + msgspec.json.encode(msgspec.json.decode(to_json(HELLO))) + b"\n"
    )
    (tmp_path / "README.md").write_text("about")
    assert read_cassette(str(tmp_path)) == {"a.jsonl:2": HELLO, "b.json": BYE}


def test_a_single_file_is_a_cassette(tmp_path):
    """A provider may name one file."""
    (tmp_path / "one.json").write_bytes(to_json(HELLO))
    provider = Provider(type="playback", cassette=str(tmp_path / "one.json"), pace="x2", strict=True)
    assert playback(provider, loop=ScriptedLoop()).models() == ("m",)


def test_a_written_file_can_be_read_and_replaced(tmp_path):
    """Its name says when it was asked and what; only its owner can read it, and nothing unfinished is left."""
    folder = tmp_path / "new" / "cassette"
    name = exchange_name(7, HELLO)
    first = write_file(folder, name, to_json(BYE))
    assert write_file(folder, name, to_json(HELLO)) == first
    assert first.name.startswith("0007-chat-")
    assert order_of(first.name) == 7
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert read_cassette(str(folder)) == {name: HELLO}
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("absent", "No such file"),
        ("empty", "holds no recordings"),
        ("broken", "b.json is not a recorded exchange"),
        ("builtin:absent", "there is: demo"),
        ("builtin:../cassettes", "no built-in cassette"),
    ],
)
def test_an_unreadable_cassette_says_why(tmp_path, monkeypatch, location, why):
    """The file and the reason are named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "b.json").write_text("{")
    with pytest.raises(UnreadableCassetteError, match=why):
        read_cassette(location)


def test_an_unknown_pace_is_refused():
    """The provider's pace is read as the header is."""
    with pytest.raises(ClientFault):
        playback(Provider(type="playback", cassette="builtin:demo", pace="fast"), loop=ScriptedLoop())


# The demo.

DEMO = read_cassette("builtin:demo")


def test_the_demo_cassette_is_what_its_script_makes():
    """Run `python tests/drivers/make_demo_cassette.py` when this fails."""
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == demo_files()


@pytest.mark.parametrize("name", DEMO)
def test_every_demo_answer_is_complete(name):
    """The dialect's own watcher judges it as the file says."""
    recording = DEMO[name].recording
    watcher = DIALECTS[recording.dialect].watch(recording.mode)
    watcher.feed(recording.frames)
    assert watcher.close(clean=True) == recording.outcome


@pytest.mark.parametrize("dialect", ["chat", "completions", "responses"])
def test_the_demos_streams_and_json_say_the_same(dialect):
    """The fold of the stream is the JSON answer."""
    stream, whole = (DEMO[f"{dialect}-{mode}.json"].recording for mode in Mode)
    folded = msgspec.json.decode(DIALECTS[dialect].fold(stream.frames))
    expected = msgspec.json.decode(whole.body())
    for answer in (folded, expected):
        for choice in answer.get("choices", ()):
            choice.get("message", {}).pop("annotations", None)
    assert folded == expected


def test_the_demo_tells_what_it_is():
    """In about two and a half seconds, with a reasoning summary."""
    recording = DEMO["responses-stream.json"].recording
    deltas = [
        msgspec.json.decode(frame.split(b"data: ")[1])
        for frame in recording.frames
        if b"_text.delta" in frame
    ]
    said = {kind: "".join(d["delta"] for d in deltas if kind in d["type"]) for kind in ("summary", "output")}
    assert said == {"summary": THOUGHT, "output": TEXT}
    assert 2.0 < recording.times[-1] / 1e6 < 3.0
