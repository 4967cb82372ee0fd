"""What is recorded between the gateway and its upstreams, and played there again."""

import asyncio
import json
import re

import openai
import pytest

import antiphon.cassettes
from antiphon.drivers.cassette_files import read_cassette
from antiphon.drivers.simulator import Answer, Fault
from antiphon.recording import State
from antiphon.settings import Cassette, ConfigurationError
from cassettes.upstreams import KEY, upstreams
from clients.house import UPSTREAMS
from e2e.plain_client import plain_client
from scripted import scenarios
from scripted.speech import Says
from serving import serving, settings_for

QUESTION = [{"role": "user", "content": "What colour is the sky?"}]


@pytest.fixture
def tape(tmp_path):
    return tmp_path / "tape"


def recordings(tape):
    return {name: exchange.recording for name, exchange in read_cassette(str(tape)).items()}


def say(gateway, model="gpt-5.2", content="What colour is the sky?", stream=False, **members):
    """Ask by Chat Completions; what a program makes of the answer."""
    client = gateway.openai(max_retries=0)
    messages = [{"role": "user", "content": content}]
    try:
        answer = client.chat.completions.create(model=model, messages=messages, stream=stream, **members)
        if not stream:
            return answer.choices[0].message.content
        told = []
        try:
            for chunk in answer:
                told += [choice.delta.content or "" for choice in chunk.choices]
        except openai.APIError as error:
            told.append(f" [{error.code}]")
        return "".join(told)
    except openai.APIStatusError as error:
        return error.status_code, error.code, error.message


def events(gateway, model):
    """A streamed response but for what the gateway makes anew."""
    stream = gateway.openai().responses.create(model=model, input="What colour is the sky?", stream=True)
    text = "".join(event.to_json(indent=None) for event in stream)
    return re.sub(r'"(resp|msg|rs|item)_\w+"|"(created_at|completed_at)": ?[\d.]+', "…", text)


@pytest.mark.parametrize("provider", UPSTREAMS, ids=[each.kind for each in UPSTREAMS])
def test_every_kind_of_upstream_is_played_as_it_was_recorded(tape, tmp_path, provider):
    """Translated or not, streamed or not, by three dialects: offline the client gets what it got, without a configuration."""

    def ask(gateway):
        message = gateway.anthropic().messages.create(model=provider.name, messages=QUESTION, max_tokens=99)
        return [
            say(gateway, provider.name),
            say(gateway, provider.model, stream=True),
            events(gateway, provider.name),
            [block.text for block in message.content],
        ]

    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        config = upstream.write_config(tmp_path / "antiphon.yaml")
        with antiphon.cassettes.use(tape, mode="record", config=config) as gateway:
            recorded = ask(gateway)
    assert gateway.recorded == 4
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        assert ask(gateway) == recorded
        assert (gateway.played, gateway.misses, gateway.unplayed) == (4, (), ())
    assert recorded[0] == scenarios.TEXT


def test_asynchronous_clients_are_handed_out(tape):
    """They know the gateway's address, and are closed by who asked for them."""

    async def ask(gateway):
        async with gateway.async_openai() as one, gateway.async_anthropic() as other:
            answer = await one.responses.create(model="gpt-5.2", input="Hi")
            message = await other.messages.create(model="gpt-5.2", messages=QUESTION, max_tokens=9)
            return answer.output_text, message.content[0].text

    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        said = record(tape, upstream, lambda gateway: asyncio.run(ask(gateway)))
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        assert asyncio.run(ask(gateway)) == said == (scenarios.TEXT, scenarios.TEXT)


def test_a_cassette_that_was_written_by_hand_plays_too():
    """It says of no provider what type it is; what is there in a dialect answers in it."""
    with antiphon.cassettes.use("builtin:demo", mode="replay") as gateway:
        answer = gateway.openai().responses.create(model="demo", input="What is this?")
        assert answer.output_text.startswith("Hello! This is Antiphon's demo cassette")
        assert answer.output[0].type == "reasoning"
        assert say(gateway, "demo", content="What is this?") == answer.output_text


def test_a_request_that_is_nested_deeply_is_recorded_and_found_again(tape):
    """As a text, if it is not to be read."""
    deep = "[" * 600 + "]" * 600
    body = f'{{"model": "gpt-5.2", "messages": {json.dumps(QUESTION)}, "deep": {deep}}}'.encode()

    async def ask(gateway):
        async with plain_client(int(gateway.url.rpartition(":")[2])) as client:
            answer = await client.post("/v1/chat/completions", body)
            return answer.status, answer.body

    with upstreams(Answer(body=chat_answer("Deep."))) as upstream:
        status, told = record(tape, upstream, lambda gateway: asyncio.run(ask(gateway)))
    assert (status, b"Deep." in told) == (200, True)
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        assert asyncio.run(ask(gateway)) == (status, told)


def test_chains_and_background_answers_are_played(tape):
    """What the gateway keeps itself is not in the cassette: ids that it makes anew lead to the same requests."""

    def ask(gateway):
        client = gateway.openai(max_retries=0)
        stream = client.responses.create(model="gpt-5.2", input="One", background=True, stream=True)
        first = list(stream)[-1].response
        second = client.responses.create(
            model="gpt-5.2", input="Two", previous_response_id=first.id, instructions="Be brief."
        )
        told = client.responses.retrieve(second.id)
        return first.id, [first.status, first.output_text, told.output_text]

    def answer(asked, _turn):
        return Says(texts=(" and ".join(text for _, text in asked.texts),))

    with upstreams() as upstream, upstream.scripted.playing(answer):
        first_id, told = record(tape, upstream, ask)
    assert told == ["completed", "One", "One and One and Two"]
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        again_id, again = ask(gateway)
    assert (again, again_id != first_id) == (told, True)


def test_models_keep_the_names_that_a_configuration_gave_them(tape, tmp_path):
    """Without the configuration too."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        models = {"smart": {"target": "chat/llama-3.3-70b"}}
        config = upstream.write_config(tmp_path / "antiphon.yaml", models=models)
        with antiphon.cassettes.use(tape, mode="record", config=config) as gateway:
            say(gateway, "smart")
    with antiphon.cassettes.use(tape, mode="replay") as gateway:
        assert say(gateway, "smart") == scenarios.TEXT


def test_equal_requests_get_their_answers_in_order(tape):
    """`replay` repeats the last, `strict` has no more, and `new` records another."""
    texts = iter(["one", "two", "three"])

    def counting(_asked, _turn):
        return Says(texts=(next(texts),))

    def ask(mode, times, **options):
        with antiphon.cassettes.use(tape, mode=mode, **options) as gateway:
            return [say(gateway) for _ in range(times)]

    with upstreams() as upstream, upstream.scripted.playing(counting), pytest.MonkeyPatch.context() as patch:
        for name, value in upstream.environ.items():
            patch.setenv(name, value)
        assert ask("once", 2) == ["one", "two"]
        assert ask("once", 3) == ["one", "two", "two"]
        assert ask("new", 3) == ["one", "two", "three"]
    assert ask("replay", 4) == ["one", "two", "three", "three"]
    *answers, (status, code, message) = ask("strict", 4)
    assert (answers, status, code) == (["one", "two", "three"], 404, "no_recording")
    assert "was recorded 3 times (0003-chat-" in message


def test_a_request_that_is_not_there_is_told_with_the_nearest_and_what_differs(tape):
    """As paths, with both values cut short; in the dialect of the client."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(
            tape, upstream, lambda gateway: say(gateway, content="x" * 100 + " Will it rain?", temperature=0)
        )
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        status, code, message = say(gateway, content="x" * 100 + " Will it snow?", temperature=0.5)
        assert (status, code) == (404, "no_recording")
        assert (
            "The cassette has no recording that answers this chat request. The nearest is 0001-chat-"
            in message
        )
        assert (
            '`messages[0].content` (recorded "…xxxxxxx Will it rain?", asked "…xxxxxxx Will it snow?")'
            in message
        )
        assert "`temperature` (recorded 0, asked 0.5)" in message
        assert str(tape) in message
        assert (
            'differs in `model` (recorded "gpt-5.2", asked "gpt-9")'
            in say(gateway, "gpt-9", content="x" * 100 + " Will it rain?", temperature=0)[2]
        )
        assert len(gateway.misses) == 2


def test_a_client_of_anthropic_is_told_in_its_own_words(tape):
    """Its library raises what it has for 404."""
    import anthropic

    with (
        antiphon.cassettes.use(tape, mode="replay") as gateway,
        pytest.raises(anthropic.NotFoundError, match="It is empty") as error,
    ):
        gateway.anthropic().messages.create(model="claude-sonnet-5", messages=QUESTION, max_tokens=9)
    assert error.value.body["type"] == "error"


def record(tape, upstream, ask, **options):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in upstream.environ.items():
            patch.setenv(name, value)
        with antiphon.cassettes.use(tape, mode="record", **options) as gateway:
            return ask(gateway)


FRAMES = [b'data: {"choices":[{"index":0,"delta":{"content":"%d "}}]}\n\n' % n for n in range(4)]
BROKEN = (
    Answer(
        status=429,
        body=b'{"error":{"message":"Slow down","type":"x","code":"rate"}}',
        headers=(("retry-after", "3"),),
    ),
    Answer(frames=FRAMES, fault=Fault.RESET_BETWEEN_FRAMES, at=2),
    Answer(frames=FRAMES, fault=Fault.RESET_INSIDE_FRAME, at=2),
    Answer(frames=FRAMES),
    Answer(frames=FRAMES, fault=Fault.RESET_BEFORE_HEAD),
    Answer(frames=FRAMES, fault=Fault.WRONG_CONTENT_TYPE),
)


@pytest.mark.parametrize(
    "answer", BROKEN, ids=["429", "reset", "reset in a frame", "no end", "no head", "html"]
)
def test_what_goes_wrong_is_recorded_as_it_went_wrong(tape, answer):
    """Statuses, breaks and wrong types look the same to a client of the replay."""
    with upstreams(answer) as upstream:
        told = record(tape, upstream, lambda gateway: say(gateway, stream=True))
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        replayed = say(gateway, stream=True)
    # Why a connection broke is told by its code; the words are those of a replay.
    assert replayed[:2] == told[:2] if isinstance(told, tuple) else replayed == told
    (recording,) = recordings(tape).values()
    assert recording.outcome.state in {State.FAILED, State.CANCELLED}


def test_nothing_secret_is_in_the_files(tape):
    """Keys in any form, configured fields also where the answer repeats them, and whatever a pattern finds."""
    email, number = "ann.müller@example.org", "DE44 5001 0517 5407 3249 31"
    answer = chat_answer(f"Dear {email}, {number} and {KEY} are safe with me.")
    redact = {
        "redact": ["metadata.email", "messages[*].name"],
        "redact_text": [r"[A-Z]{2}\d\d(?: \d{2,4}){5}"],
    }

    def ask(gateway):
        return gateway.openai().chat.completions.create(
            model="gpt-5.2",
            messages=[{"role": "user", "name": "ann", "content": f"My IBAN is {number}, my key {KEY}."}],
            metadata={"email": email},
            extra_headers={"X-Secret": KEY},
        )

    with upstreams(Answer(body=answer)) as upstream:
        record(tape, upstream, ask, **redact)
    (written,) = [path.read_text() for path in tape.iterdir()]

    assert not [secret for secret in (email, "ann.m", '"ann"', number, KEY) if secret in written]
    with antiphon.cassettes.use(tape, mode="strict") as gateway:
        said = ask(gateway).choices[0].message.content
        assert said == "Dear [redacted], [redacted] and [redacted] are safe with me."


def chat_answer(text):
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    ).encode()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("break@2", "The sky [upstream_truncated]"),
        ("end@2", "The sky [upstream_truncated]"),
        (
            "break@0",
            (502, "upstream_truncated", "The upstream closed the connection in the middle of its answer."),
        ),
        ("429", (429, "rate_limit_exceeded", "The status 429 was planned for this request.")),
        ("2:503", "The sky is blue."),
    ],
)
@pytest.mark.parametrize("mode", ["record", "strict"])
def test_faults_happen_where_they_are_planned(tape, fault, expected, mode):
    """When the answer is being recorded too; what is recorded is whole."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        if mode == "strict":
            record(tape, upstream, lambda gateway: say(gateway, stream=True))
            with antiphon.cassettes.use(tape, mode=mode, faults=[fault]) as gateway:
                told = say(gateway, stream=True)
        else:
            told = record(tape, upstream, lambda gateway: say(gateway, stream=True), faults=[fault])
    if isinstance(told, tuple):
        told = (*told[:2], told[2].rpartition(" - ")[2])
    assert told == expected
    assert not tape.exists() or {each.outcome.state for each in recordings(tape).values()} == {
        State.COMPLETED
    }


@pytest.mark.parametrize("fault", ["1:break@2", "1:503"])
def test_whoever_tries_again_after_a_fault_gets_the_recording(tape, fault):
    """Recorded with the fault or without, there is one recording, and the fault does not use it up."""

    def ask(gateway):
        return [say(gateway), say(gateway)][1]

    for faults in ([fault], []):
        with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
            record(tape, upstream, ask if faults else say, faults=faults)
        assert len(recordings(tape)) == 1
        with antiphon.cassettes.use(tape, mode="strict", faults=[fault]) as gateway:
            assert ask(gateway) == scenarios.TEXT


def test_a_stall_lasts_until_the_client_gives_up(tape):
    """So that time-outs can be tried."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tape, upstream, lambda gateway: say(gateway, stream=True))
    with antiphon.cassettes.use(tape, mode="strict", faults=["stall@2"]) as gateway:
        client = gateway.openai(max_retries=0, timeout=0.5)
        stream = client.chat.completions.create(model="gpt-5.2", messages=QUESTION, stream=True)
        with pytest.raises(Exception, match=r"[Tt]imed? ?out"):
            list(stream)


def test_the_recorded_pace_can_be_kept(tape):
    """At once is the default."""
    frames = [
        *FRAMES[:2],
        b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    with upstreams(Answer(frames=frames, gaps=0.1)) as upstream:
        record(tape, upstream, lambda gateway: say(gateway, stream=True))
    (recording,) = recordings(tape).values()
    assert recording.times[-1] >= 400_000

    loop_time = asyncio.new_event_loop()
    for pace, slow in (("recorded", True), ("instant", False)):
        with antiphon.cassettes.use(tape, mode="strict", pace=pace) as gateway:
            client = gateway.openai()
            started = loop_time.time()
            list(client.chat.completions.create(model="gpt-5.2", messages=QUESTION, stream=True))
            assert (loop_time.time() - started >= 0.39) is slow
    loop_time.close()


def test_a_gateway_that_serves_records_too(tmp_path):
    """By its configuration, behind what is there already; hits of the cache are not upstream's."""
    tape = tmp_path / "tape"

    async def run(upstream):
        settings = settings_for(
            tmp_path, f"{upstream.root}/responses/v1", cassette=Cassette(record=str(tape))
        )
        async with serving(settings) as running, plain_client(running.port) as client:
            for question in ("a", "a", "b"):
                await client.post("/v1/responses", {"model": "gpt-test", "input": question})

    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        for _ in range(2):
            asyncio.run(run(upstream))
    assert [name[:4] for name in recordings(tape)] == ["0001", "0002"]


def test_what_cannot_be_written_is_told_in_the_log_and_passes_on(tape, caplog):
    """The answer matters more than its recording."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):

        def ask(gateway):
            tape.write_text("not a folder")
            return say(gateway), gateway.recorded

        assert record(tape, upstream, ask) == (scenarios.TEXT, 0)
    assert "exchange 1 is not recorded: Not a directory" in caplog.text or "File exists" in caplog.text


def test_one_file_is_a_cassette_too(tape):
    """With an exchange a line; `once` does not record over it."""
    with upstreams() as upstream, upstream.scripted.playing(scenarios.plain):
        record(tape, upstream, say)
    (file,) = tape.iterdir()
    lines = tape.with_suffix(".jsonl")
    lines.write_text(json.dumps(json.loads(file.read_text())) + "\n")
    with antiphon.cassettes.use(lines, mode="once") as gateway:
        assert say(gateway) == scenarios.TEXT


def test_a_cassette_with_a_broken_file_says_which(tape):
    """Before anything is asked."""
    tape.mkdir()
    (tape / "0001-chat-00000000.json").write_text("{")
    with (
        pytest.raises(ConfigurationError, match=r"0001-chat-00000000\.json is not a recorded exchange"),
        antiphon.cassettes.use(tape, mode="replay"),
    ):
        pass
