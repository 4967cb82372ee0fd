"""Which models there are, as the configuration and the upstreams say."""

import asyncio
import json

import pytest

from antiphon.drivers.http import http_upstream
from antiphon.drivers.simulator import Answer, Fault, Simulator, refused_base_url
from antiphon.engine import catalogue as engine_catalogue
from antiphon.engine.catalogue import Catalogue
from antiphon.engine.producing import Source
from antiphon.routing.names import Resolver
from antiphon.settings import Model, Provider
from antiphon.wire.errors import ClientFault
from engine.scene import run, scene, send
from serving import Clock
from waiting import eventually


def listing(*names):
    return Answer(body=json.dumps({"object": "list", "data": [{"id": name} for name in names]}).encode())


class Known:
    """A catalogue over providers at these addresses, each `None` or the models that the settings name."""

    def __init__(self, clock=None, others=None, **providers):
        self.clock = clock or Clock()
        settings = {
            name: Provider(type="openai-chat", base_url=base_url, models=models)
            for name, (base_url, models) in providers.items()
        }
        self.sources = {
            name: Source(
                name, provider, http_upstream(provider, base_url=provider.base_url, headers=(), environ={})
            )
            for name, provider in settings.items()
        }
        aliases = {"fast": Model(target="one/llama")} | ({"*": Model(target=others)} if others else {})
        self.catalogue = Catalogue(Resolver(settings, aliases), self.sources, self.clock)

    async def __aenter__(self):
        return self.catalogue

    async def __aexit__(self, *_):
        for source in self.sources.values():
            await source.upstream.close()


def target_of(target):
    return f"{target.provider}/{target.model}"


async def unknown(asked):
    with pytest.raises(ClientFault) as caught:
        await asked
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")


def test_configured_names_need_no_upstream():
    """Aliases, `provider/model`, and what a provider's settings list."""

    async def test():
        async with (
            Simulator(listing()) as simulator,
            Known(one=(simulator.base_url, ("llama", "qwen"))) as catalogue,
        ):
            for name, expected in [
                ("fast", "one/llama"),
                ("one/anything", "one/anything"),
                ("qwen", "one/qwen"),
            ]:
                found = catalogue.resolve(name)
                assert found is not None
                assert target_of(found) == expected
            with pytest.raises(ClientFault, match="nowhere"):
                catalogue.resolve("nowhere")
            assert await catalogue.names() == ["fast", "one/llama", "one/qwen"]
            assert simulator.calls == []

    run(test())


def test_an_upstream_is_asked_when_a_name_needs_it():
    """Once, and for all names that it lists; again only when the list has become old."""

    async def test():
        async with Simulator(listing("llama", "qwen")) as simulator:
            known = Known(one=("http://127.0.0.1:1/v1", ()), two=(simulator.base_url, None))
            async with known as catalogue:
                assert catalogue.resolve("llama") is None
                assert target_of(await catalogue.resolve_listed("llama")) == "two/llama"
                assert target_of(catalogue.resolve("qwen")) == "two/qwen"
                await unknown(catalogue.resolve_listed("gpt"))
                assert [(call.method, call.path) for call in simulator.calls] == [("GET", "/v1/models")]

                simulator.answer(listing("gpt"))
                known.clock.now += 299
                await unknown(catalogue.resolve_listed("gpt"))
                known.clock.now += 2
                assert catalogue.resolve("gpt") is None
                assert target_of(await catalogue.resolve_listed("gpt")) == "two/gpt"
                await unknown(catalogue.resolve_listed("llama"))
                assert len(simulator.calls) == 2

    run(test())


def test_what_no_list_has_goes_where_all_others_go():
    """Only when the upstreams were asked, or could not be."""

    async def test():
        async with (
            Simulator(listing("gpt-x")) as simulator,
            Known(one=(simulator.base_url, None), two=(simulator.base_url, ()), others="two/*") as catalogue,
        ):
            assert catalogue.resolve("gpt-y") is None
            assert target_of(await catalogue.resolve_listed("gpt-y")) == "two/gpt-y"
            assert target_of(catalogue.resolve("gpt-y")) == "two/gpt-y"
            assert target_of(catalogue.resolve("gpt-x")) == "one/gpt-x"

    asyncio.run(test())


def test_many_who_ask_at_once_share_one_list():
    """Nobody asks while somebody is asking."""
    gate = asyncio.Event()

    async def test():
        answer = Answer(body=listing("llama").body, gate=gate)
        async with Simulator(answer) as simulator, Known(one=(simulator.base_url, None)) as catalogue:
            asking = [asyncio.ensure_future(catalogue.resolve_listed("llama")) for _ in range(5)]
            await simulator.wait_for_calls(1)
            gate.set()
            assert [target_of(target) for target in await asyncio.gather(*asking)] == ["one/llama"] * 5
            assert len(simulator.calls) == 1

    run(test())


@pytest.mark.parametrize(
    "answer",
    [
        Answer(fault=Fault.SERVER_ERROR),
        Answer(fault=Fault.RATE_LIMITED),
        Answer(body=b"not JSON"),
        Answer(body=b'{"data":[{"id":"\xff"}]}'),
        Answer(body=b'{"data":[{"id":5}]}'),
        Answer(body=b'{"models":[]}'),
        Answer(body=b'{"data":[],"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        Answer(body=b" " * (9 * 1024 * 1024)),
        Answer(body=listing("llama").body, fault=Fault.RESET_INSIDE_FRAME, at=0),
        Answer(body=listing("llama").body, fault=Fault.RESET_BEFORE_HEAD),
        Answer(status=404, body=b"{}"),
    ],
    ids=[
        "503",
        "429",
        "no json",
        "no utf-8",
        "number",
        "no list",
        "deep",
        "too long",
        "cut",
        "reset",
        "404",
    ],
)
def test_an_upstream_without_a_list_harms_nobody(answer):
    """The names of others are found, and it is asked again soon, but not for each request."""

    async def test():
        async with Simulator(answer) as broken, Simulator(listing("qwen")) as good:
            known = Known(one=(broken.base_url, None), two=(good.base_url, None))
            async with known as catalogue:
                assert target_of(await catalogue.resolve_listed("qwen")) == "two/qwen"
                await unknown(catalogue.resolve_listed("llama"))
                calls = len(broken.calls)
                known.clock.now += 29
                await unknown(catalogue.resolve_listed("llama"))
                assert len(broken.calls) == calls
                broken.answer(listing("llama"))
                known.clock.now += 2
                assert target_of(await catalogue.resolve_listed("llama")) == "one/llama"
                assert len(good.calls) == 1

    run(test())


def test_an_upstream_that_is_not_there_harms_nobody():
    """Its connection is refused."""

    async def test():
        with refused_base_url() as url:
            async with Known(one=(url, None)) as catalogue:
                await unknown(catalogue.resolve_listed("llama"))
                assert await catalogue.names() == ["fast"]

    run(test())


def test_an_upstream_that_says_nothing_is_given_up(monkeypatch):
    """After a while, and its connection is closed."""
    monkeypatch.setattr(engine_catalogue, "_LIST_SECONDS", 0.02)

    async def test():
        answer = Answer(body=listing("llama").body, fault=Fault.STALL, at=0)
        async with Simulator(answer) as simulator, Known(one=(simulator.base_url, None)) as catalogue:
            await unknown(catalogue.resolve_listed("llama"))
            await simulator.calls[0].over.wait()
            assert simulator.calls[0].aborted

    run(test())


def test_a_list_is_kept_while_there_is_no_newer_one():
    """An upstream that fails for a while does not lose its models."""

    async def test():
        async with Simulator(listing("llama")) as simulator:
            known = Known(one=(simulator.base_url, None))
            async with known as catalogue:
                await catalogue.resolve_listed("llama")
                simulator.answer(Answer(fault=Fault.SERVER_ERROR))
                known.clock.now += 1000
                assert await catalogue.names() == ["fast", "one/llama"]
                assert target_of(catalogue.resolve("llama")) == "one/llama"

    run(test())


# End to end.


def unlisted(simulator_url):
    return {"chat": Provider(type="openai-chat", base_url=simulator_url)}


def choose(received):
    return listing("llama-3.1-8b") if received.path == "/v1/models" else Answer(fault=Fault.SERVER_ERROR)


def test_a_bare_name_is_answered_by_who_lists_it(tmp_path):
    """After one look at the lists; a name that nobody lists is a 404 with those that are near."""

    async def test():
        async with (
            Simulator(choose) as simulator,
            scene(tmp_path, providers=unlisted(simulator.base_url)) as play,
        ):
            assert (await play.ask(model="llama-3.1-8b")).status == 503
            assert [call.path for call in simulator.calls] == ["/v1/models", "/v1/chat/completions"]
            got = await play.ask(model="llama-3.1-9b")
            error = got.json()["error"]
            assert (got.status, error["code"], error["param"]) == (404, "model_not_found", "model")
            assert "llama-3.1-8b" in error["message"]

    run(test())


def test_a_client_that_leaves_while_lists_are_asked_is_not_waited_for(tmp_path):
    """No upstream answers for nobody."""
    gate = asyncio.Event()

    def held(received):
        if received.path == "/v1/models":
            return Answer(body=listing("llama").body, gate=gate)
        return Answer(frames=[b'data: {"choices":[]}\n\n'], fault=Fault.STALL)

    async def test():
        async with (
            Simulator(held) as simulator,
            scene(tmp_path, providers=unlisted(simulator.base_url)) as play,
        ):
            async with play.clients(1) as (leaver,):
                send(leaver, model="llama", stream=True)
                await simulator.wait_for_calls(1)
            await eventually(lambda: play.running.server.connections == 1)
            gate.set()
            await eventually(lambda: play.application.accounts.queued == 1)
            assert play.application.producing.count == 0
            assert [row.status for row in await play.rows()] == [499]

    run(test())


def test_a_defect_while_lists_are_asked_is_told(tmp_path):
    """Status 500 without internals."""

    async def test():
        async with (
            Simulator(choose) as simulator,
            scene(tmp_path, providers=unlisted(simulator.base_url)) as play,
        ):

            async def broken(name):
                raise KeyError(name)

            play.application.gateway._turns._catalogue.resolve_listed = broken
            got = await play.ask(model="llama")
            assert (got.status, got.json()["error"]["code"]) == (500, "internal_error")

    run(test())
