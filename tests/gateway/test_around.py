"""Counting tokens and compacting conversations, for upstreams that do it themselves and those that do not."""

import asyncio
import json

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Key, Secret
from e2e.scenes import play, scene
from e2e.test_seeds_e import chat_answer
from waiting import PATIENCE, eventually

COUNT, COUNT_MESSAGES, COMPACT = (
    "/v1/responses/input_tokens",
    "/v1/messages/count_tokens",
    "/v1/responses/compact",
)
HISTORY = [
    {"role": "user", "content": "My name is Ada."},
    {"role": "assistant", "content": "Hello Ada."},
    {"role": "user", "content": "Remember it."},
]


def counted(name, tokens):
    return Answer(body=json.dumps({name: tokens}).encode())


class TestCounting:
    @pytest.mark.parametrize(
        ("kind", "path", "name"),
        [
            ("openai", "/v1/responses/input_tokens", "input_tokens"),
            ("anthropic", "/v1/messages/count_tokens", "input_tokens"),
            ("gemini", "/v1/models/m:countTokens", "totalTokens"),
        ],
    )
    def test_an_upstream_that_counts_is_asked(self, tmp_path, kind, path, name):
        """In its own dialect, of a request in the client's."""

        async def run():
            async with scene(tmp_path, counted(name, 42), p=kind) as at:
                got = await at.client.post(COUNT, {"model": "p/m", "input": "Hi"})
                assert got.json() == {"object": "response.input_tokens", "input_tokens": 42}
                assert got.headers["x-antiphon-token-count"] == "upstream"
                assert at.simulator.calls[0].path == path

        play(run())

    @pytest.mark.parametrize(
        ("path", "asked"),
        [
            (COUNT, {"input": "Hi there, how are you?"}),
            (COUNT_MESSAGES, {"messages": [{"role": "user", "content": "Hi there, how are you?"}]}),
        ],
    )
    def test_others_are_counted_here_and_it_is_said(self, tmp_path, path, asked):
        """An estimate is called one; nobody is asked."""

        async def run():
            async with scene(tmp_path, p="vllm") as at:
                got = await at.client.post(path, {"model": "p/llama", **asked})
                assert got.headers["x-antiphon-token-count"] == "estimate"
                assert 6 <= got.json()["input_tokens"] <= 20
                assert at.calls == 0

        play(run())

    def test_a_server_without_the_route_is_counted_for(self, tmp_path):
        """Not everything that has the Responses API counts."""

        async def run():
            async with scene(tmp_path, Answer(status=404, body=b"{}"), p="openai") as at:
                got = await at.client.post(COUNT, {"model": "p/m", "input": "Hi"})
                assert (got.status, got.headers["x-antiphon-token-count"]) == (200, "estimate")

        play(run())

    @pytest.mark.parametrize(
        ("path", "asked"),
        [
            (COUNT, {"input": "Hi"}),
            (COUNT_MESSAGES, {"messages": [{"role": "user", "content": "Hi"}]}),
        ],
    )
    def test_an_upstream_s_refusal_is_told(self, tmp_path, path, asked):
        """In the dialect of the route."""

        async def run():
            body = b'{"error":{"message":"No such model","code":404,"status":"NOT_FOUND"}}'
            async with scene(tmp_path, Answer(status=400, body=body), p="gemini") as at:
                got = await at.client.post(path, {"model": "p/m", **asked})
                assert (got.status, got.json()["error"]["message"]) == (400, "No such model")
                assert (got.json().get("type") == "error") is (path == COUNT_MESSAGES)

        play(run())

    def test_bad_requests_are_told_where_they_are_bad(self, tmp_path):
        """As those for answers."""

        async def run():
            async with scene(tmp_path, p="vllm") as at:
                got = await at.client.post(COUNT, {"input": "Hi"})
                assert (got.status, got.json()["error"]["param"]) == (400, "model")
                got = await at.client.post(COUNT, {"model": "p/m", "input": [{"role": "x", "content": "y"}]})
                assert (got.status, got.json()["error"]["param"]) == (400, "input[0].role")
                got = await at.client.post(COUNT, {"model": "nobody/m", "input": "Hi"})
                assert (got.status, got.json()["error"]["code"]) == (404, "model_not_found")

        play(run())


class TestCompacting:
    def test_the_user_s_words_stay_and_the_rest_is_summarised(self, tmp_path):
        """The summary is readable for nobody else, and the next turn shows it to the model."""

        async def run():
            async with scene(tmp_path, chat_answer({"content": "Ada said hello."}), p="vllm") as at:
                got = (await at.client.post(COMPACT, {"model": "p/m", "input": HISTORY})).json()
                assert (got["object"], got["usage"]["total_tokens"]) == ("response.compaction", 12)
                *kept, item = got["output"]
                assert [message["content"][0]["text"] for message in kept] == [
                    "My name is Ada.",
                    "Remember it.",
                ]
                assert item["type"] == "compaction"
                assert "Ada" not in item["encrypted_content"]

                new = {"role": "user", "content": "Who am I?"}
                await at.client.post("/v1/responses", {"model": "p/m", "input": [*got["output"], new]})
                messages = json.loads(at.simulator.calls[-1].body)["messages"]
                assert "Ada said hello." in messages[2]["content"]
                assert [message["role"] for message in messages] == ["user", "user", "system", "user"]

        play(run())

    def test_it_is_a_turn_like_any_other(self, tmp_path):
        """In the ledger, and in the cache."""

        async def run():
            async with scene(tmp_path, chat_answer({"content": "Short."}), p="vllm") as at:
                for _ in range(2):
                    assert (await at.client.post(COMPACT, {"model": "p/m", "input": HISTORY})).status == 200
                assert at.calls == 1
                assert [row["cache"] for row in await at.rows()] == ["miss", "hit"]

        play(run())

    def test_a_compaction_of_somebody_else_is_refused(self, tmp_path):
        """It opens for its owner alone."""

        async def run():
            keys = tuple(Key(name=name, key=Secret(f"key-{name}")) for name in ("a", "b"))
            answer = chat_answer({"content": "Secret."})
            async with scene(tmp_path, answer, p="vllm", keys=keys) as at:
                asked = {"model": "p/m", "input": HISTORY}
                got = await at.client.post(COMPACT, asked, authorization="Bearer key-a")
                turn = {"model": "p/m", "input": got.json()["output"]}
                mine = await at.client.post("/v1/responses", turn, authorization="Bearer key-a")
                theirs = await at.client.post("/v1/responses", turn, authorization="Bearer key-b")
                assert (mine.status, theirs.status) == (200, 400)
                assert theirs.json()["error"]["code"] == "invalid_value"

        play(run())

    def test_a_native_upstream_gets_the_summary_too(self, tmp_path):
        """Our envelope is opened on the way: the provider could not read it."""

        async def run():
            async with scene(tmp_path, chat_answer({"content": "Ada said hello."})) as at:
                got = (await at.client.post(COMPACT, {"model": "chat/m", "input": HISTORY})).json()
                await at.client.post("/v1/responses", {"model": "up/m", "input": got["output"]})
                sent = json.loads(at.simulator.calls[-1].body)
                assert sent["input"][-1]["role"] == "developer"
                assert "Ada said hello." in sent["input"][-1]["content"][0]["text"]

        play(run())

    @pytest.mark.parametrize(
        ("asked", "param"), [({"input": "Hi"}, "model"), ({"model": "p/m", "input": []}, "input")]
    )
    def test_what_is_missing_is_named(self, tmp_path, asked, param):
        """400, as the conformance suite wants it."""

        async def run():
            async with scene(tmp_path, p="vllm") as at:
                got = await at.client.post(COMPACT, asked)
                assert (got.status, got.json()["error"]["param"]) == (400, param)

        play(run())

    def test_an_upstream_s_error_is_told(self, tmp_path):
        """With its status and its words."""

        async def run():
            answer = Answer(
                status=429, body=b'{"error":{"message":"Slow down"}}', headers=(("retry-after", "3"),)
            )
            async with scene(tmp_path, answer, p="vllm") as at:
                got = await at.client.post(COMPACT, {"model": "p/m", "input": HISTORY})
                assert (got.status, got.json()["error"]["message"]) == (429, "Slow down")
                assert got.headers["retry-after"] == "3"

        play(run())

    def test_a_client_that_leaves_takes_the_turn_along(self, tmp_path):
        """Nobody pays for what nobody waits for."""

        async def run():
            answer = Answer(body=b"", fault=Fault.STALL, at=-1)
            async with scene(tmp_path, answer, p="vllm") as at:
                at.client.send("POST", COMPACT, {"model": "p/m", "input": HISTORY})
                await at.simulator.wait_for_calls(1)
                at.client.leave()
                async with asyncio.timeout(PATIENCE):
                    await eventually(lambda: at.simulator.open_connections == 0)

        play(run())
