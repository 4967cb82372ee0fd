"""Foreground answers whose client leaves: given up, or finished for the client that comes back."""

import asyncio

import pytest

from antiphon.drivers.simulator import Answer, Fault
from antiphon.settings import Background, Responses, Timeout
from e2e.plain_client import plain_client
from e2e.samples import answer_of, responses_body, responses_frames
from e2e.scenes import Scene, play, read_rows, scene
from e2e.test_background import ended, events_of
from e2e.test_seeds_e import chat_stream
from serving import serving, settings_for
from waiting import eventually

PATH = "/v1/responses"
ASKED = {"model": "p/m", "input": "Hi", "stream": True}
FINISH = Responses(on_disconnect="finish")
FRAMES = responses_frames()
NATIVE = answer_of("responses", stream=True)


async def left_in_the_middle(at: Scene, asked: dict | None = None, **headers: str) -> list[dict]:
    """Ask, read until the answer's text begins, leave, and return the events read."""
    read: list[dict] = []
    async with plain_client(at.gateway.port) as client:
        client.send("POST", PATH, ASKED | (asked or {}), **headers)
        status, _ = await client.head()
        assert status == 200
        while not read or read[-1]["type"] != "response.output_text.delta":
            read += events_of(await client.chunk())
        client.leave()
    return read


def held() -> tuple[Answer, asyncio.Event]:
    gate = asyncio.Event()
    at = next(place for place, frame in enumerate(FRAMES) if b"output_text.delta" in frame) + 1
    return Answer(frames=FRAMES, gate_at=at, gate=gate), gate


def run_rows(at: Scene) -> int:
    return read_rows(at.folder, "SELECT count(*) AS n FROM runs")[0]["n"]


def test_without_being_told_the_upstream_is_closed_and_nothing_is_kept(tmp_path):
    async def run():
        answer, _ = held()
        async with scene(tmp_path, answer, p="openai") as at:
            [created, *_] = await left_in_the_middle(at)
            await eventually(lambda: at.simulator.calls[0].aborted)
            assert (await at.client.get(f"{PATH}/{created['response']['id']}")).status == 404

    play(run())


@pytest.mark.parametrize("answer", [NATIVE, chat_stream({"content": "Hello"}, {"content": " there"})])
def test_the_stream_is_the_ordinary_one(tmp_path, answer):
    """Events, members and headers are what they are without it, but for what differs from answer to answer."""

    async def run():
        kind = "openai" if answer is NATIVE else "openai-chat"
        async with scene(tmp_path, answer, p=kind, cache=None) as at:
            plain = await at.client.post(PATH, ASKED | {"metadata": {"a": "b"}})
            carried = await at.client.post(
                PATH, ASKED | {"metadata": {"a": "b"}}, X_Antiphon_On_Disconnect="finish"
            )
            told = [told_apart(each.body) for each in (plain, carried)]
            assert told[0] == told[1]
            assert carried.headers.keys() == plain.headers.keys()
            response_id = events_of(carried.body)[0]["response"]["id"]
            got = await ended(at, response_id)
            assert (got["status"], got["background"]) == ("completed", False)
            assert got["output"][-1]["content"][0]["text"] == "Hello there"
            await at.written(table="responses", rows=2)
            assert run_rows(at) == 0

    play(run())


def told_apart(body: bytes) -> list[dict]:
    events = events_of(body)
    for each in events:
        for member in ("id", "created_at", "completed_at"):
            each.get("response", {}).pop(member, None)
        for member in ("item_id", "id"):
            each.pop(member, None)
            each.get("item", {}).pop(member, None)
        for item in each.get("response", {}).get("output", ()):
            item.pop("id")
    return events


@pytest.mark.parametrize("chosen", ["setting", "header"])
def test_who_comes_back_finds_the_rest_while_it_is_made_and_afterwards(tmp_path, chosen):
    async def run():
        answer, gate = held()
        settings = {"responses": FINISH} if chosen == "setting" else {}
        headers = {} if chosen == "setting" else {"X_Antiphon_On_Disconnect": "finish"}
        async with scene(tmp_path, answer, p="openai", **settings) as at:
            read = await left_in_the_middle(at, **headers)
            path = f"{PATH}/{read[0]['response']['id']}"
            got = (await at.client.get(path)).json()
            assert (got["status"], got["output"][-1]["content"][0]["text"]) == ("in_progress", "Hello")
            refused = await at.client.post(f"{path}/cancel", {})
            assert (refused.status, refused.json()["error"]["message"]) == (
                400,
                "Cannot cancel a synchronous response.",
            )
            async with plain_client(at.gateway.port) as back:
                back.send("GET", f"{path}?stream=true&starting_after={read[-2]['sequence_number']}", b"")
                _, head = await back.head()
                rest = events_of(await back.chunk())
                assert rest[0] == read[-1]
                gate.set()
                rest += events_of(await back.rest(head))
            whole = [*read[:-1], *rest]
            assert [each["sequence_number"] for each in whole] == list(range(len(whole)))
            assert whole[-1]["type"] == "response.completed"
            for after in range(-1, len(whole)):
                asked = "" if after < 0 else f"&starting_after={after}"
                again = await at.client.get(f"{path}?stream=true{asked}")
                assert events_of(again.body) == whole[after + 1 :]
            assert not at.simulator.calls[0].aborted
            assert (await at.client.post(f"{path}/cancel", {})).status == 400

    play(run())


def test_who_leaves_before_it_begins_still_has_it_finished(tmp_path):
    async def run():
        gate = asyncio.Event()
        async with scene(
            tmp_path, Answer(frames=FRAMES, gate_at=0, gate=gate), p="openai", responses=FINISH
        ) as at:
            async with plain_client(at.gateway.port) as client:
                client.send("POST", PATH, ASKED)
                await at.simulator.wait_for_calls(1)
                client.leave()
            await eventually(lambda: at.gateway.server.connections == 1)
            gate.set()
            await at.written(table="responses")
            assert run_rows(at) == 0

    play(run())


def test_json_is_finished_and_kept_too(tmp_path):
    async def run():
        gate = asyncio.Event()
        answer = Answer(body=responses_body(), gate=gate)
        async with scene(tmp_path, answer, p="openai", responses=FINISH) as at:
            async with plain_client(at.gateway.port) as client:
                client.send("POST", PATH, {"model": "p/m", "input": "Hi"})
                await at.simulator.wait_for_calls(1)
                client.leave()
            await eventually(lambda: at.gateway.server.connections == 1)
            gate.set()
            await at.written(table="responses")
            [row] = read_rows(at.folder, "SELECT id FROM responses")
            got = (await at.client.get(f"{PATH}/{row['id']}")).json()
            assert (got["id"], got["status"]) == (row["id"], "completed")
            assert [(row["status"], row["total_tokens"]) for row in await at.rows()] == [(499, 26)]
            hit = await at.client.post(PATH, {"model": "p/m", "input": "Hi"})
            assert hit.json()["output"] == got["output"]
            assert at.calls == 1

    play(run())


def test_what_is_refused_before_it_begins_is_refused_as_ever(tmp_path):
    async def run():
        async with scene(tmp_path, Answer(fault=Fault.RATE_LIMITED), p="openai", responses=FINISH) as at:
            refused = await at.client.post(PATH, ASKED)
            assert (refused.status, "error" in refused.json()) == (429, True)
            assert refused.headers["retry-after"]
            wrong = await at.client.post(PATH, ASKED, X_Antiphon_On_Disconnect="stay")
            assert (wrong.status, wrong.json()["error"]["param"]) == (400, "X-Antiphon-On-Disconnect")
            assert run_rows(at) == 0

    play(run())


def test_what_the_cache_has_is_replayed_without_a_run(tmp_path):
    async def run():
        async with scene(tmp_path, NATIVE, p="openai", responses=FINISH) as at:
            first = await at.client.post(PATH, ASKED)
            hit = await at.client.post(PATH, ASKED)
            assert (first.cache_status.split(";")[1].strip(), hit.is_hit) == ("fwd=miss", True)
            ids = [events_of(each.body)[0]["response"]["id"] for each in (first, hit)]
            assert ids[0] != ids[1]
            for response_id in ids:
                assert (await ended(at, response_id))["status"] == "completed"
            assert at.calls == 1

    play(run())


def test_equal_requests_share_an_upstream_and_each_has_its_own_answer(tmp_path):
    async def run():
        answer, gate = held()
        async with scene(tmp_path, answer, p="openai", responses=FINISH) as at:
            both = [await left_in_the_middle(at) for _ in range(2)]
            gate.set()
            ids = {read[0]["response"]["id"] for read in both}
            assert len(ids) == 2
            for response_id in ids:
                assert (await ended(at, response_id))["output"][-1]["content"][0]["text"] == "Hello there"
            assert at.calls == 1

    play(run())


@pytest.mark.parametrize("answer", [Answer(frames=FRAMES, fault=Fault.RESET_BETWEEN_FRAMES, at=5)])
def test_what_breaks_off_is_kept_as_failed_with_what_there_was(tmp_path, answer):
    async def run():
        async with scene(tmp_path, answer, p="openai", responses=FINISH) as at:
            events = events_of((await at.client.post(PATH, ASKED)).body)
            assert events[-1]["type"] == "response.failed"
            got = await ended(at, events[0]["response"]["id"])
            assert (got["status"], got["error"]) == ("failed", events[-1]["response"]["error"])

    play(run())


def test_deleting_it_closes_the_upstream(tmp_path):
    async def run():
        answer, _ = held()
        async with scene(tmp_path, answer, p="openai", responses=FINISH) as at:
            [created, *_] = await left_in_the_middle(at)
            path = f"{PATH}/{created['response']['id']}"
            assert (await at.client.delete(path)).json()["deleted"]
            await eventually(lambda: at.simulator.calls[0].aborted)
            assert (await at.client.get(path)).status == 404

    play(run())


def test_e8_what_a_dead_process_left_is_failed_with_what_was_told(tmp_path):
    """Another gateway on the same file finds it when its lease has run out, and the late one writes nothing more."""

    async def run():
        answer, gate = held()
        now = 1_800_000_000.0
        settings = {"p": "openai", "responses": FINISH, "clock": lambda: now}
        async with scene(tmp_path, answer, **settings) as at:
            read = await left_in_the_middle(at)
            other = settings_for(
                tmp_path, at.simulator.base_url, providers=at.gateway.application.settings.providers
            )
            async with serving(other, clock=lambda: now + 60) as second, plain_client(second.port) as client:
                path = f"{PATH}/{read[0]['response']['id']}"

                async def failed():
                    got = (await client.get(path)).json()
                    return got if got["status"] == "failed" else None

                got = await eventually(failed)
                assert got["error"]["code"] == "server_error"
                assert got["output"][-1]["content"][0]["text"] == "Hello"
                gate.set()
                whole = events_of((await client.get(f"{path}?stream=true")).body)
                assert whole[: len(read)] == read
                assert [each["type"] for each in whole[len(read) :]] == ["response.failed"]
                assert (await at.client.get(path)).json() == got

    play(run())


def test_nothing_is_promised_where_nothing_can_be_kept(tmp_path):
    """Storage is gone when the answer begins: 503, and the upstream is closed."""

    async def run():
        answer, _ = held()
        async with scene(tmp_path, answer, p="openai", responses=FINISH, cache=None) as at:
            await at.gateway.application.storage.close()
            refused = await at.client.post(PATH, ASKED)
            assert (refused.status, refused.headers["retry-after"]) == (503, "5")
            await eventually(lambda: at.simulator.calls[0].aborted)

    play(run())


def test_it_is_kept_as_long_as_any_other_answer(tmp_path):
    """Not as short as those that were made in the background."""

    async def run():
        settings = Responses(on_disconnect="finish", background=Background(ttl=Timeout(5)))
        async with scene(tmp_path, NATIVE, p="openai", responses=settings, cache=None) as at:
            await at.client.post(PATH, ASKED)
            await at.written(table="responses")
            await at.client.post(PATH, ASKED | {"background": True})
            await at.written(table="responses", rows=2)
            rows = read_rows(at.folder, "SELECT expires_at FROM responses ORDER BY expires_at")
            short, long = [row["expires_at"] for row in rows]
            assert long - short > 86400

    play(run())


def test_it_becomes_part_of_its_conversation_once(tmp_path):
    """Although nobody waits for it any more; until then nobody else may go on there."""

    async def run():
        answer, gate = held()
        async with scene(tmp_path, answer, NATIVE, p="openai", responses=FINISH) as at:
            made = (await at.client.post("/v1/conversations", {})).json()["id"]
            read = await left_in_the_middle(at, asked={"conversation": made})
            locked = await at.client.post(PATH, ASKED | {"conversation": made})
            assert locked.json()["error"]["code"] == "conversation_locked"
            gate.set()
            await ended(at, read[0]["response"]["id"])
            await at.client.post(PATH, ASKED | {"conversation": made, "input": "And"})
            listed = await at.client.get(f"/v1/conversations/{made}/items?order=asc")
            texts = [item["content"][0]["text"] for item in listed.json()["data"]]
            assert texts == ["Hi", "Hello there", "And", "Hello there"]

    play(run())
