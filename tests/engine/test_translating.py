"""Translated turns over sockets: structured output, files, silence, leaving, faults, and what the ledger says."""

import asyncio
import base64
import json

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Downloads, Server, Timeout
from e2e.plain_client import plain_client
from e2e.scenes import play, scene
from e2e.test_seeds_e import chat_answer, chat_stream
from waiting import eventually

RESPONSES = "/v1/responses"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"format": {"type": "json_schema", "name": "thing", "schema": SCHEMA}}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def sent(at, index=-1):
    return json.loads(at.simulator.calls[index].body)


class TestStructuredOutput:
    @pytest.mark.parametrize("stream", [True, False])
    def test_a_tool_that_must_be_called_gives_the_answer(self, tmp_path, stream):
        """Where the upstream takes no schema; the call is told as text, in fragments."""
        call = {"id": "c", "type": "function", "function": {"name": "answer", "arguments": '{"a":1}'}}
        answer = (
            chat_stream({"tool_calls": [{"index": 0, **call}]}, reason="tool_calls")
            if stream
            else chat_answer({"content": None, "tool_calls": [call]}, "tool_calls")
        )

        async def run():
            async with scene(tmp_path, answer, p="deepseek") as at:
                asked = {"model": "p/m", "input": "Go", "text": FORMAT, "stream": stream}
                await at.client.post(RESPONSES, asked)
                got = (await at.client.post(RESPONSES, asked | {"stream": False})).json()
                assert (got["output_text"], [item["type"] for item in got["output"]]) == (
                    '{"a":1}',
                    ["message"],
                )
                (tool,) = sent(at)["tools"]
                assert tool["function"]["parameters"] == SCHEMA
                assert sent(at)["tool_choice"]["function"]["name"] == tool["function"]["name"] == "answer"

        play(run())

    def test_json_that_does_not_match_is_asked_for_once_more(self, tmp_path):
        """The model hears what was wrong; the client sees only the answer that matches."""
        tools = [{"type": "function", "name": "look"}]
        answers = (chat_answer({"content": '{"a": "x"}'}), chat_answer({"content": '{"a": 2}'}))

        async def run():
            async with scene(tmp_path, *answers, p="deepseek") as at:
                asked = {"model": "p/m", "input": "Go", "text": FORMAT, "tools": tools}
                got = await at.client.post(RESPONSES, asked)
                assert got.json()["output_text"] == '{"a": 2}'
                assert at.calls == 2
                assert sent(at)["messages"][-2] == {"role": "assistant", "content": '{"a": "x"}'}
                assert "not of type" in sent(at)["messages"][-1]["content"]
                again = await at.client.post(RESPONSES, asked | {"stream": True})
                assert again.is_hit

        play(run())

    def test_json_that_never_matches_is_no_answer(self, tmp_path):
        """It is told so, and not cached."""
        tools = [{"type": "function", "name": "look"}]

        async def run():
            answer = chat_answer({"content": "no json"})
            async with scene(tmp_path, answer, p="deepseek") as at:
                asked = {"model": "p/m", "input": "Go", "text": FORMAT, "tools": tools}
                got = await at.client.post(RESPONSES, asked)
                assert (got.status, got.json()["error"]["code"]) == (502, "schema_mismatch")
                await at.client.post(RESPONSES, asked)
                assert at.calls == 4

        play(run())

    def test_a_schema_that_is_none_is_the_client_s_fault(self, tmp_path):
        """Where it has to be checked here."""
        tools = [{"type": "function", "name": "look"}]
        form = {"format": FORMAT["format"] | {"schema": {"type": "nix"}}}

        async def run():
            async with scene(tmp_path, p="deepseek") as at:
                got = await at.client.post(
                    RESPONSES, {"model": "p/m", "input": "Go", "text": form, "tools": tools}
                )
                assert (got.status, got.json()["error"]["param"]) == (400, "text.format.schema")
                assert at.calls == 0

        play(run())


class TestFiles:
    @staticmethod
    def asked(url):
        part = {"type": "input_image", "image_url": url}
        return {"model": "p/m", "input": [{"role": "user", "content": [part]}]}

    def test_an_image_is_fetched_for_an_upstream_that_cannot(self, tmp_path):
        """From where the configuration allows it."""

        def answer(received):
            if received.method == "GET":
                return Answer(body=PIXEL, content_type="image/png")
            return chat_answer({"content": "A pixel"})

        async def run():
            allowed = Downloads(allow=("127.0.0.1",))
            async with scene(tmp_path, p="llamacpp", downloads=allowed) as at:
                at.simulator._choose = answer
                got = await at.client.post(RESPONSES, self.asked(f"{at.simulator.base_url}/a.png"))
                assert got.json()["output_text"] == "A pixel"
                (part,) = sent(at)["messages"][0]["content"]
                data = base64.b64encode(PIXEL).decode()
                assert part["image_url"]["url"] == f"data:image/png;base64,{data}"

        play(run())

    def test_what_is_not_public_is_not_fetched(self, tmp_path):
        """The upstream is not asked either."""

        async def run():
            async with scene(tmp_path, p="llamacpp") as at:
                got = await at.client.post(RESPONSES, self.asked(f"{at.simulator.base_url}/a.png"))
                assert (got.status, got.json()["error"]["param"]) == (400, "input[0].content[0].image_url")
                assert at.calls == 0

        play(run())

    def test_a_client_that_leaves_during_a_download_asks_nobody(self, tmp_path):
        """When the file is there, nothing is sent on."""

        async def run():
            gate = asyncio.Event()
            allowed = Downloads(allow=("127.0.0.1",))
            async with scene(tmp_path, p="llamacpp", downloads=allowed) as at:
                at.simulator.answer(
                    Answer(frames=[PIXEL], content_type="image/png", gate=gate, gate_at=0),
                    chat_answer({"content": "A pixel"}),
                )
                at.client.send("POST", RESPONSES, self.asked(f"{at.simulator.base_url}/a.png"))
                await at.simulator.wait_for_calls(1)
                at.client.leave()
                await eventually(lambda: at.gateway.application.producing.count == 0)
                gate.set()
                assert at.calls == 1

        play(run())


class TestStreams:
    def test_a_silent_upstream_is_covered_by_comments(self, tmp_path):
        """They are no part of the recording."""

        async def run():
            gate = asyncio.Event()
            whole = chat_stream({"content": "Hi"})
            answer = Answer(frames=whole.frames, gate=gate, gate_at=1)
            async with scene(tmp_path, answer, server=Server(port=0, stream_keep_alive=Timeout(0.05))) as at:
                at.client.send("POST", RESPONSES, {"model": "chat/m", "input": "Hi", "stream": True})
                await at.client.head()
                await at.client.reader.readuntil(b": keep-alive\n\n")
                gate.set()
                await at.client.reader.readuntil(b"[DONE]\n\n")
                await at.client.reader.readuntil(b"0\r\n\r\n")
                again = await at.client.post(RESPONSES, {"model": "chat/m", "input": "Hi", "stream": True})
                assert again.is_hit
                assert b"keep-alive" not in again.body

        play(run())

    def test_the_upstream_is_left_when_the_client_leaves(self, tmp_path):
        """As for native turns, and the ledger says so."""

        async def run():
            gate = asyncio.Event()
            answer = Answer(frames=chat_stream({"content": "Hi"}).frames, gate=gate, gate_at=1)
            async with scene(tmp_path, answer) as at:
                at.client.send("POST", RESPONSES, {"model": "chat/m", "input": "Hi", "stream": True})
                await at.client.head()
                at.client.leave()
                await eventually(lambda: at.simulator.open_connections == 0)
                (row,) = await at.rows()
                assert (row["status"], row["error"]) == (499, "client_left")

        play(run())

    def test_a_stream_that_breaks_off_is_told_as_broken_and_not_kept(self, tmp_path):
        """In the client's dialect, after what had been said."""

        async def run():
            frames = chat_stream({"content": "Hi"}).frames
            answer = Answer(frames=frames, fault=Fault.RESET_BETWEEN_FRAMES)
            async with scene(tmp_path, answer) as at:
                asked = {"model": "chat/m", "input": "Hi", "stream": True}
                got = await at.client.post(RESPONSES, asked)
                assert b'"delta":"Hi"' in got.body
                assert b"response.failed" in got.body
                assert b"response.completed" not in got.body
                assert not (await at.client.post(RESPONSES, asked)).is_hit

        play(run())

    def test_equal_requests_in_flight_share_one_upstream_call(self, tmp_path):
        """Each under an id of its own."""

        async def run():
            gate = asyncio.Event()
            answer = Answer(frames=chat_stream({"content": "Hi"}).frames, gate=gate, gate_at=1)
            async with scene(tmp_path, answer) as at:
                asked = {"model": "chat/m", "input": "Hi", "stream": True}
                at.client.send("POST", RESPONSES, asked)
                await at.client.head()
                async with plain_client(at.gateway.port) as other:
                    other.send("POST", RESPONSES, asked)
                    await other.head()
                    gate.set()
                    ids = [
                        (await client.reader.readuntil(b"[DONE]\n\n"))
                        .partition(b'"id":"')[2]
                        .partition(b'"')[0]
                        for client in (at.client, other)
                    ]
                assert at.calls == 1
                assert len(set(ids)) == 2
                assert {row["cache"] for row in await at.rows()} == {"miss", "collapsed"}

        play(run())


def test_an_upstream_s_error_is_told_in_the_client_s_dialect(tmp_path):
    """With its status, its own words and the time to wait; the key it echoes is not shown."""
    body = b'{"detail":"Slow down, sk-upstream-secret"}'

    async def run():
        answer = Answer(status=429, body=body, headers=(("retry-after", "7"),))
        async with scene(tmp_path, answer) as at:
            for path, asked in (
                (RESPONSES, {"model": "chat/m", "input": "Hi"}),
                (
                    "/v1/messages",
                    {"model": "chat/m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]},
                ),
            ):
                got = await at.client.post(path, asked)
                assert (got.status, got.headers["retry-after"]) == (429, "7")
                assert "Slow down" in got.json()["error"]["message"]
            assert got.json()["type"] == "error"
            assert got.json()["error"]["type"] == "rate_limit_error"

    play(run())


def test_the_ledger_counts_what_the_upstream_counted(tmp_path):
    """Under the client's dialect, in every mode."""

    async def run():
        async with scene(tmp_path, chat_stream({"content": "Hi"})) as at:
            await at.client.post(RESPONSES, {"model": "chat/m", "input": "Hi", "stream": True})
            (row,) = await at.rows("miss")
            assert (row["dialect"], row["provider"], row["input_tokens"], row["output_tokens"]) == (
                "responses",
                "chat",
                9,
                3,
            )

    play(run())


@pytest.mark.parametrize(
    ("path", "asked", "param"),
    [
        (RESPONSES, {"input": "Hi", "tools": [{"type": "file_search"}]}, "tools[0].type"),
        (RESPONSES, {"input": [{"role": "nobody", "content": "Hi"}]}, "input[0].role"),
        (RESPONSES, {"input": [{"type": "nix"}]}, "input[0].type"),
        (RESPONSES, {"prompt": {"id": "pmpt_1"}}, "prompt"),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}]}, "max_tokens"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_path(tmp_path, path, asked, param):
    """The upstream hears nothing of it."""

    async def run():
        async with scene(tmp_path) as at:
            got = await at.client.post(path, {"model": "chat/m", **asked})
            assert got.status == 400
            assert param in got.body.decode()
            assert at.calls == 0

    play(run())
