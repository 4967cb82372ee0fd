"""Turns in WebSocket mode, over a socket and through ASGI: frames, chains, lanes, limits, leaving."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Cache, Key, Responses, Secret, Server
from e2e.samples import MODEL, frame, message_item, response, responses_body, responses_frames
from e2e.scenes import play
from gateway.talking import code_of, id_of, talks, types
from waiting import PATIENCE, eventually

HELLO = Answer(frames=responses_frames())
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": "{}",
    "status": "completed",
}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "3"}


def ending(kind, **members):
    """A stream of one event."""
    told = {**response([], kind), **members}
    return [frame({"type": f"response.{kind}", "sequence_number": 0, "response": told}, f"response.{kind}")]


@pytest.fixture(params=["socket", "asgi"])
def through(request):
    return request.param


@pytest.fixture
def run(tmp_path, through):
    """Run a scenario with one connection."""

    def run(scenario, *answers, **changes):
        async def scene():
            async with talks(tmp_path, *answers, through=through, **changes) as there, there.open() as talk:
                await scenario(there, talk)

        play(scene())

    return run


# ---------------------------------------------------------------------------------------------- frames


def test_a_turn_is_the_stream_without_its_framing(run):
    """Each event is one frame, its bytes but for the response's id unchanged; nothing says [DONE]."""

    async def scenario(there, talk):
        events = await talk.turn(input="Hi")
        upstream = [json.loads(each.partition(b"data: ")[2]) for each in responses_frames()]
        assert types(events) == types(upstream)
        assert [event["sequence_number"] for event in events] == [*range(len(events))]
        assert events[-1]["response"]["output"] == upstream[-1]["response"]["output"]
        assert id_of(events) != upstream[-1]["response"]["id"]
        assert len({event["response"]["id"] for event in events if "response" in event}) == 1
        assert "stream_id" not in events[0]

    run(scenario, Answer(frames=[b": hello\n\n", *responses_frames(), b"data: [DONE]\n\n"]))


def test_the_upstream_sees_a_request_for_a_stream(run):
    """What belongs to the connection alone is left out; what Codex sends beside is passed on."""

    async def scenario(there, talk):
        await talk.turn(
            input="Hi",
            stream_id="a",
            generate=True,
            stream=False,
            stream_options={"include_obfuscation": False},
            background=True,
            client_metadata={"x": "y"},
        )
        assert there.asked() == {
            "model": "gpt-test",
            "store": False,
            "input": "Hi",
            "client_metadata": {"x": "y"},
            "stream": True,
        }

    run(scenario, HELLO)


def test_turns_are_answered_one_after_the_other(run):
    """Who sends the second request too early gets its answer after the first."""

    async def scenario(there, talk):
        await talk.create(input="one")
        await talk.create(input="two")
        first, second = await talk.rest(), await talk.rest()
        assert id_of(first) != id_of(second)
        assert [there.asked(0)["input"], there.asked(1)["input"]] == ["one", "two"]

    run(scenario, HELLO)


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        ("nope", "invalid_json", None),
        ("[]", "invalid_type", None),
        ("{}", "invalid_value", "type"),
        ('{"type":"session.update"}', "invalid_value", "type"),
        ('{"type":"response.create"}', "missing_required_parameter", "model"),
        ('{"type":"response.create","model":7}', "invalid_type", "model"),
        ('{"type":"response.create","model":"up/gpt-test","input":7}', "invalid_type", "input"),
        ('{"type":"response.create","model":"up9/gpt-test"}', "model_not_found", "model"),
        ('{"type":"response.create","model":"up/gpt-test","generate":1}', "invalid_type", "generate"),
        ('{"type":"response.create","stream_id":"a b"}', "invalid_stream_id", "stream_id"),
        ('{"type":"response.create","model":"up/gpt-test","conversation":"c","previous_response_id":"r","input":"x"}',
         "mutually_exclusive_parameters", "previous_response_id"),
        ('{"type":"response.create","model":"m","previous_response_id":7}', "invalid_type", "previous_response_id"),
        ('{"type":"response.create","model":"up/gpt-test","input":"x","conversation":"c"}',
         "not_found", "conversation"),
        ('{"type":"response.create","model":"m","generate":false,"store":1}', "invalid_type", "store"),
        (b"\x00\x01", "invalid_frame", None),
    ],
)  # fmt: skip
def test_a_bad_frame_is_an_error_and_the_connection_goes_on(run, text, code, param):
    """The error has a code, says what is wrong, and costs nothing."""

    async def scenario(there, talk):
        await talk.send(text)
        event = await talk.next()
        assert (code_of(event), event["error"]["param"]) == (code, param)
        assert event["status"] in {400, 404}
        assert id_of(await talk.turn(input="Hi"))
        assert len(there.simulator.calls) == 1

    run(scenario, HELLO)


def test_steering_is_refused_and_gives_its_input_back(run):
    """A client that was refused sends it with the next request."""

    async def scenario(there, talk):
        await talk.send({"type": "response.steer", "previous_response_id": "resp_1", "input": "Stop"})
        event = await talk.next()
        assert event["type"] == "response.steer.failed"
        assert event["steer"] == {"previous_response_id": "resp_1", "input": "Stop"}
        assert (event["error"]["code"], event["error"]["type"]) == (
            "steering_not_supported",
            "invalid_request_error",
        )
        await talk.send({"type": "response.inject", "response_id": "resp_1", "input": []})
        event = await talk.next()
        assert (event["type"], event["response_id"], event["input"]) == (
            "response.inject.failed",
            "resp_1",
            [],
        )

    run(scenario)


def test_an_upstreams_error_is_an_error_frame(run):
    """With its status, its message, and when to come again."""

    async def scenario(there, talk):
        (event,) = await talk.turn(input="Hi")
        assert (event["status"], code_of(event)) == (429, "rate_limit_exceeded")
        assert event["error"]["message"] == "Rate limit reached for requests"
        assert event["error"]["headers"] == {"retry-after": "7"}

    run(scenario, Answer(fault=Fault.RATE_LIMITED))


def test_a_stream_that_breaks_off_ends_in_one_event(run):
    """`response.failed` with what there was; the `error` that comes before it over HTTP is not sent."""

    async def scenario(there, talk):
        events = await talk.turn(input="Hi")
        assert types(events)[-2:] == ["response.output_text.delta", "response.failed"]
        assert events[-1]["response"]["error"]["code"]
        assert types(await talk.turn(input="Hi"))[-1] == "response.failed"

    run(scenario, Answer(frames=responses_frames(), fault=Fault.RESET_BETWEEN_FRAMES, at=5))


def test_an_answer_that_was_no_stream_comes_as_one(run):
    """Some upstreams ignore that a stream was asked for."""

    async def scenario(there, talk):
        assert types(await talk.turn(input="Hi"))[-1] == "response.completed"

    run(scenario, Answer(body=responses_body()))


def test_bytes_that_are_no_text_do_not_end_the_connection(run):
    """A text frame with anything but UTF-8 in it would."""

    async def scenario(there, talk):
        events = await talk.turn(input="Hi")
        assert "\ufffd" in json.dumps(events, ensure_ascii=False)
        assert id_of(events)

    frames = [each.replace(b"there", b"th\xffre") for each in responses_frames()]
    run(scenario, Answer(frames=frames), cache=None)


def test_turns_are_cached_like_all_others(tmp_path, through):
    """A connection takes from the cache what another one has put there, each under an id of its own."""

    async def scenario():
        async with talks(tmp_path, HELLO, through=through) as there:
            ids = []
            for _ in range(2):
                async with there.open() as talk:
                    first = await talk.turn(input="Hi")
                    second = await talk.turn(input="More", previous_response_id=id_of(first))
                    ids += [id_of(first), id_of(second)]
                    assert second[0]["response"]["previous_response_id"] == id_of(first)
            assert len(set(ids)) == 4
            assert len(there.simulator.calls) == 2

    play(scenario())


# ---------------------------------------------------------------------------------------------- chains


def test_a_continuation_brings_its_context_along(run):
    """The parent's input and output come first; nothing else is inherited."""

    async def scenario(there, talk):
        first = await talk.turn(input="one", instructions="Be brief.", temperature=0.5)
        second = await talk.turn(
            input=[{"role": "user", "content": "two"}], previous_response_id=id_of(first)
        )
        assert second[-1]["response"]["previous_response_id"] == id_of(first)
        await talk.turn(input="three", previous_response_id=id_of(second))
        answer = message_item("Hello there")
        one, two, three = (
            {"type": "message", "role": "user", "content": "one"},
            {"role": "user", "content": "two"},
            {"type": "message", "role": "user", "content": "three"},
        )
        assert there.asked() == {
            "model": "gpt-test",
            "store": False,
            "input": [one, answer, two, answer, three],
            "stream": True,
        }

    run(scenario, HELLO)


def test_a_response_can_be_continued_twice(run):
    """A fork is legal, also on another lane."""

    async def scenario(there, talk):
        first = id_of(await talk.turn(input="one"))
        await talk.turn(input="two", previous_response_id=first)
        await talk.turn(input="three", previous_response_id=first, stream_id="b")
        assert [item["content"] for item in there.asked()["input"] if item["role"] == "user"] == [
            "one",
            "three",
        ]

    run(scenario, HELLO)


def test_a_tool_is_called_and_its_output_sent_back(run):
    """Even if the last event of the first turn forgot the call that was streamed."""

    async def scenario(there, talk):
        first = await talk.turn(input="one")
        assert id_of(await talk.turn(input=[OUTPUT], previous_response_id=id_of(first)))
        assert there.asked()["input"][1:] == [CALL, OUTPUT]

    item = {"type": "response.output_item.done", "sequence_number": 0, "output_index": 0, "item": CALL}
    run(scenario, Answer(frames=[frame(item), *ending("completed")]), cache=None)


def test_an_output_without_its_call_fails_the_turn_and_forgets_the_parent(run):
    """What the conformance suite asks for."""

    async def scenario(there, talk):
        first = id_of(await talk.turn(input="one"))
        (event,) = await talk.turn(input=[OUTPUT], previous_response_id=first)
        assert (event["status"], event["error"]["param"]) == (400, "input")
        assert event["error"]["message"] == (
            "No tool call found for function call output with call_id call_1."
        )
        assert await talk.code(input="two", previous_response_id=first) == "previous_response_not_found"
        assert len(there.simulator.calls) == 1

    run(scenario, HELLO)


def test_a_failed_fork_on_another_lane_keeps_the_parent(run):
    """Only the lane that the parent is from gives it up."""

    async def scenario(there, talk):
        first = id_of(await talk.turn(input="one"))
        (event,) = await talk.turn(input=[OUTPUT], previous_response_id=first, stream_id="b")
        assert event["stream_id"] == "b"
        assert code_of(event)
        assert id_of(await talk.turn(input="two", previous_response_id=first))

    run(scenario, HELLO)


@pytest.mark.parametrize(
    "failing", [Answer(fault=Fault.SERVER_ERROR), Answer(frames=ending("failed"))], ids=["status", "event"]
)
def test_an_upstreams_failure_forgets_the_parent_too(run, failing):
    """As for any other error that ends a continuation."""

    async def scenario(there, talk):
        first = id_of(await talk.turn(input="one"))
        there.simulator.answer(failing)
        assert types(await talk.turn(input="two", previous_response_id=first)) in (
            ["error"],
            ["response.failed"],
        )
        assert await talk.code(input="two", previous_response_id=first) == "previous_response_not_found"

    run(scenario, HELLO)


def test_a_truncated_answer_can_be_continued_and_a_failed_one_cannot(run):
    """What it said so far is part of the context."""

    async def scenario(there, talk):
        first = await talk.turn(input="one")
        assert types(first) == ["response.incomplete"]
        there.simulator.answer(Answer(frames=ending("failed", id="resp_up2")))
        failed = await talk.turn(input="two", previous_response_id=id_of(first))
        assert there.asked()["input"][1]["content"][0]["text"] == "Cut"
        code = await talk.code(previous_response_id=failed[-1]["response"]["id"])
        assert code == "previous_response_not_found"

    run(scenario, Answer(frames=ending("incomplete", output=[message_item("Cut")])))


def test_an_unknown_parent_is_not_found(run):
    """With the id in the message; another connection's is unknown too."""

    async def scenario(there, talk):
        (event,) = await talk.turn(input="x", previous_response_id="resp_x")
        assert (event["status"], code_of(event)) == (400, "previous_response_not_found")
        assert event["error"]["message"] == "Previous response with id 'resp_x' not found."
        assert event["error"]["param"] == "previous_response_id"
        known = id_of(await talk.turn(input="x"))
        async with there.open() as other:
            assert await other.code(input="x", previous_response_id=known) == "previous_response_not_found"
            assert id_of(await other.turn(input="x"))

    run(scenario, HELLO)


def test_a_warm_up_is_answered_without_the_upstream_and_can_be_continued(run):
    """Codex begins each session so."""

    async def scenario(there, talk):
        warm = await talk.turn(input="context", instructions="Be brief.", generate=False, stream=True)
        assert types(warm) == ["response.created", "response.completed"]
        assert (warm[-1]["response"]["output"], warm[-1]["response"]["model"]) == ([], MODEL)
        assert there.simulator.calls == []
        assert id_of(await talk.turn(input="go", previous_response_id=id_of(warm)))
        assert [item["content"] for item in there.asked()["input"]] == ["context", "go"]
        assert "instructions" not in there.asked()

    run(scenario, HELLO)


def test_a_context_that_has_become_too_large_is_refused(run):
    """Each frame is within the limit, and their sum is not."""

    async def scenario(there, talk):
        parent = id_of(await talk.turn(input="x" * 3000, generate=False))
        (event,) = await talk.turn(input="y" * 3000, previous_response_id=parent)
        assert (event["status"], code_of(event)) == (413, "request_too_large")

    run(scenario, responses=Responses(max_history_bytes=5000))


def test_a_provider_that_keeps_responses_is_asked_for_those_that_are_not_known(run):
    """Its ids pass through, and what it knows alone is not remembered here."""

    async def scenario(there, talk):
        first = id_of(await talk.turn(input="one", previous_response_id="resp_old"))
        assert first == "resp_up1"
        assert there.asked()["previous_response_id"] == "resp_old"
        await talk.turn(input="two", previous_response_id=first)
        assert there.asked() | {"previous_response_id": "resp_up1", "input": "two"} == there.asked()

    run(scenario, HELLO, cache=None, up={"state": "upstream"})


# ----------------------------------------------------------------------------------------------- lanes


def test_lanes_interleave(run):
    """A slow answer holds up its own lane alone, and each frame says which lane it is of."""

    async def scenario(there, talk):
        there.simulator.answer(Answer(frames=responses_frames(), gate=gate, gate_at=3))
        await talk.create(input="slow", stream_id="a")
        slow = [await talk.next() for _ in range(3)]
        there.simulator.answer(HELLO)
        await talk.create(input="behind", stream_id="a")
        fast = await talk.turn(input="fast", stream_id="b")
        assert {event["stream_id"] for event in fast} == {"b"}
        assert id_of(fast)
        assert len(there.simulator.calls) == 2
        gate.set()
        slow += await talk.rest()
        behind = await talk.rest()
        assert {event["stream_id"] for event in slow + behind} == {"a"}
        assert [event["sequence_number"] for event in slow] == [*range(len(slow))]
        assert there.asked()["input"] == "behind"

    gate = asyncio.Event()
    run(scenario)


def test_the_limits_of_lanes_are_told(run):
    """A 33rd stream_id is refused; sixteen turns are under way, and the others wait."""

    async def scenario(there, talk):
        for number in range(32):
            await talk.create(input=str(number), stream_id=f"s{number}")
        await eventually(lambda: len(there.simulator.calls) == 16)
        (event,) = await talk.turn(input="one more", stream_id="s32")
        assert (code_of(event), event["stream_id"]) == ("websocket_stream_limit_reached", "s32")
        assert len(there.simulator.calls) == 16
        gate.set()
        ended = set()
        while len(ended) < 32:
            event = await talk.next()
            if event["type"] == "response.completed":
                ended.add(event["stream_id"])
        assert len(there.simulator.calls) == 32

    gate = asyncio.Event()
    run(scenario, Answer(frames=responses_frames(), gate=gate))


def test_too_much_may_not_wait(run):
    """Whoever sends without reading answers is told so."""

    async def scenario(there, talk):
        for number in range(4):
            await talk.create(input=str(number) * 300)
        assert code_of(await talk.next()) == "websocket_queue_full"
        gate.set()
        for _ in range(3):
            assert id_of(await talk.rest())

    gate = asyncio.Event()
    run(scenario, Answer(frames=responses_frames(), gate=gate), server=Server(port=0, max_body_bytes=900))


# --------------------------------------------------------------------------------------------- leaving


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_leaves_ends_its_turns(tmp_path, through, begun):
    """The upstream's connections are closed within a second; what waited is not asked for."""

    async def scenario():
        async with talks(
            tmp_path,
            Answer(frames=responses_frames(), gate=asyncio.Event(), gate_at=3 if begun else 0),
            through=through,
        ) as there:
            async with there.open() as talk:
                await talk.create(input="one")
                await talk.create(input="two")
                await talk.create(input="other", stream_id="b")
                await there.simulator.wait_for_calls(2)
                if begun:
                    await talk.next()
            async with asyncio.timeout(PATIENCE):
                for call in there.simulator.calls:
                    await call.over.wait()
            assert [call.aborted for call in there.simulator.calls] == [True, True]

    play(scenario())


def test_a_client_that_leaves_while_its_model_is_looked_up_is_not_answered(tmp_path, through):
    """Upstreams are asked what they have; the answer comes too late to matter."""

    async def scenario():
        gate = asyncio.Event()
        listing = Answer(body=b'{"data":[{"id":"listed"}]}', gate=gate)
        async with talks(tmp_path, listing, through=through, up={"models": None}) as there:
            async with there.open() as talk:
                await talk.create(model="listed", input="x")
                await there.simulator.wait_for_calls(1)
            there.simulator.answer(Answer(frames=responses_frames(), gate=asyncio.Event()))
            gate.set()
            await eventually(lambda: len(there.simulator.calls) == 2)
            async with asyncio.timeout(PATIENCE):
                await there.simulator.calls[1].over.wait()
            assert there.simulator.calls[1].aborted

    play(scenario())


def test_a_connection_does_not_live_for_ever(run):
    """It ends with an error that says why, and a code that means: come again."""

    async def scenario(there, talk):
        event = await talk.next()
        assert code_of(event) == "websocket_connection_limit_reached"
        assert (await talk.closed())[0] == 1001

    run(scenario, server=Server(port=0, websocket_lifetime=0.05))


def test_answers_under_way_are_finished_when_a_connection_has_lived_long_enough(run):
    """What waits is refused, what comes too."""

    async def scenario(there, talk):
        await talk.create(input="one")
        await talk.create(input="two")
        assert code_of(await talk.next()) == "websocket_connection_limit_reached"
        assert await talk.code(input="three") == "websocket_connection_limit_reached"
        gate.set()
        assert id_of(await talk.rest())
        assert code_of(await talk.next()) == "websocket_connection_limit_reached"
        assert (await talk.closed())[0] == 1001
        assert len(there.simulator.calls) == 1

    gate = asyncio.Event()
    run(
        scenario,
        Answer(frames=responses_frames(), gate=gate),
        server=Server(port=0, websocket_lifetime=0.05),
    )


# ------------------------------------------------------------------------------------------------ keys


def test_owners_do_not_share_what_is_cached(tmp_path, through):
    """The key of the handshake is that of every turn."""

    async def scenario():
        keys = (Key(name="alice", key=Secret("key-a")), Key(name="bob", key=Secret("key-b")))
        async with talks(tmp_path, HELLO, through=through, keys=keys) as there:
            for key in ("key-a", "key-b", "key-a"):
                header = ("Authorization", f"Bearer {key}")
                options = (
                    {"additional_headers": [header]}
                    if through == "socket"
                    else {"headers": [tuple(part.encode() for part in header)]}
                )
                async with there.open(**options) as talk:
                    assert id_of(await talk.turn(input="Hi"))
            assert len(there.simulator.calls) == 2

    play(scenario())


def test_the_handshakes_cache_control_holds_for_every_turn_unless_a_browser_wrote_it(tmp_path, through):
    """Browsers send `no-cache` with each handshake, and no page can tell them not to."""

    async def scenario():
        async with talks(tmp_path, HELLO, through=through, cache=Cache()) as there:
            for headers, calls in (
                ({}, 1),
                ({"Cache-Control": "no-cache"}, 2),
                ({"Cache-Control": "no-cache", "Origin": "http://localhost:3000"}, 2),
            ):
                options = (
                    {"additional_headers": headers}
                    if through == "socket"
                    else {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
                )
                async with there.open(**options) as talk:
                    assert id_of(await talk.turn(input="Hi"))
                assert len(there.simulator.calls) == calls

    play(scenario())
