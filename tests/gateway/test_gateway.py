"""Routes, and what becomes of a request that has none or that fails."""

import asyncio
import logging

import pytest

from antiphon.drivers.simulator import Answer, Simulator
from antiphon.engine.tasks import Tasks
from antiphon.gateway.gateway import Gateway, answer_later
from antiphon.gateway.keys import Keyring
from antiphon.gateway.request import Request
from antiphon.wire.errors import ClientFault
from gateway.wire import JSON, Cable, answers_in, wire
from serving import serving, settings_for
from waiting import eventually

SECRET = "sk-not-for-everybody"


def answering(_request, request_id, reply):
    reply.send(200, (*JSON, (b"x-request-id", request_id)), b'{"ok":true}')


def failing(_request, _request_id, _reply):
    raise RuntimeError(f"a defect, and {SECRET}")


def failing_halfway(_request, _request_id, reply):
    reply.start(200, JSON)
    reply.write(b"half")
    raise RuntimeError("a defect")


def refusing(_request, _request_id, _reply):
    raise ClientFault("Not so.", code="not_so", param="input[0]", status=422, headers=((b"x-more", b"y"),))


HANDLERS = {
    ("GET", "/exact"): answering,
    ("POST", "/exact"): answering,
    ("PUT", "/written"): answering,
    ("GET", "/v1/things/{}"): answering,
    ("DELETE", "/v1/things/{}"): answering,
    ("POST", "/v1/things/{}/cancel"): answering,
    ("GET", "/failing"): failing,
    ("GET", "/halfway"): failing_halfway,
    ("GET", "/refusing"): refusing,
}


def asked(method, path):
    """Ask a gateway that has handlers only; its connection is given back."""
    gateway = Gateway(None, Keyring(()), HANDLERS)  # type: ignore[arg-type]
    cable = Cable(gateway.handle)
    cable.receive(f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    return cable


def answer_to(method, path):
    return answers_in(asked(method, path).out)[0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/exact"),
        ("GET", "/exact?query=1"),
        ("POST", "/exact"),
        ("GET", "/v1/things/one"),
        ("GET", "/v1/things/one%2Ftwo"),
        ("DELETE", "/v1/things/one"),
        ("POST", "/v1/things/one/cancel"),
    ],
)
def test_a_route_is_found_by_method_and_path(method, path):
    """Exact paths, and paths with one identifier."""
    answer = answer_to(method, path)
    assert (answer.status, answer.json()) == (200, {"ok": True})


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/exac",
        "/exact/",
        "/v1/things",
        "/v1/things/",
        "/v1/things/one/two",
        "/v1/things/one/cancel/",
        "*",
    ],
)
def test_an_unknown_path_is_404(path):
    """In OpenAI's envelope, with a request id."""
    answer = answer_to("GET", path)
    assert answer.error == (404, "not_found")
    assert answer.headers["x-request-id"].startswith("req_")
    assert path in answer.json()["error"]["message"]


def test_a_long_path_is_not_repeated_whole():
    """An error is no longer than it need be."""
    assert len(answer_to("GET", "/" + "a" * 10_000).body) < 500


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/exact", "GET, HEAD, POST"),
        ("GET", "/written", "PUT"),
        ("OPTIONS", "/v1/things/one", "DELETE, GET, HEAD"),
        ("GET", "/v1/things/one/cancel", "POST"),
        ("GET", "/v1/chat/completions", "POST"),
        ("PUT", "/v1/responses", "POST"),
    ],
)
def test_another_method_is_405(method, path, allowed):
    """`Allow` names what there is instead."""
    answer = answer_to(method, path)
    assert answer.error == (405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


def test_head_is_answered_like_get():
    """Without the body."""
    cable = asked("HEAD", "/exact")
    assert bytes(cable.out).startswith(b"HTTP/1.1 200 OK\r\n")
    assert bytes(cable.out).endswith(b"content-length: 11\r\n\r\n")


def test_a_fault_says_what_and_where():
    """Message, type, code and param in the envelope; its headers go out with it."""
    answer = answer_to("GET", "/refusing")
    assert answer.status == 422
    assert answer.headers["x-more"] == "y"
    assert answer.json() == {
        "error": {
            "message": "Not so.",
            "type": "invalid_request_error",
            "param": "input[0]",
            "code": "not_so",
        }
    }


def test_a_defect_is_a_500_with_an_id_and_no_internals(caplog):
    """The id leads to the log, which has the rest; the connection goes on."""
    with caplog.at_level(logging.ERROR):
        cable = asked("GET", "/failing")
    (answer,) = answers_in(cable.out)
    assert answer.error == (500, "internal_error")
    assert SECRET.encode() not in cable.out
    assert answer.headers["x-request-id"] in caplog.text
    assert "a defect" in caplog.text
    assert not cable.is_closed


def test_a_defect_in_the_middle_of_an_answer_breaks_it_off(caplog):
    """What was begun must not look whole."""
    cable = asked("GET", "/halfway")
    assert cable.is_closed
    assert bytes(cable.out).endswith(b"4\r\nhalf\r\n")
    assert "a defect" in caplog.text


def test_no_two_requests_have_the_same_id():
    """Nor do two workers."""
    gateways = [Gateway(None, Keyring(()), HANDLERS) for _ in range(2)]  # type: ignore[arg-type]
    ids = set()

    class Noting:
        def send(self, _status, headers, _body):
            ids.add(dict(headers)[b"x-request-id"])

    for gateway in gateways:
        for _ in range(100):
            gateway.handle(Request(b"GET", b"/exact", b"", {}, b"", ""), Noting())
    assert len(ids) == 200


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ((202, JSON, b'{"later":1}'), (202, {"later": 1})),
        (ClientFault("No.", code="no"), (400, "no")),
        (RuntimeError(SECRET), (500, "internal_error")),
    ],
    ids=["answer", "fault", "defect"],
)
def test_an_answer_that_waits_always_comes(outcome, expected, caplog):
    """With an answer, a fault or a defect: nobody waits for ever."""

    async def scenario():
        tasks = Tasks()
        cable = Cable(lambda _request, reply: answer_later(tasks, b"req_1", reply, answer))
        cable.receive(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert cable.out == b""
        await eventually(lambda: cable.out)
        (got,) = answers_in(cable.out)
        assert got.headers["x-request-id"] == "req_1"
        assert (got.json() if got.status == 202 else got.error[1]) == expected[1]
        assert got.status == expected[0]
        assert SECRET.encode() not in cable.out

    async def answer():
        await asyncio.sleep(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    asyncio.run(scenario())


def test_the_gateway_answers_on_all_its_routes(tmp_path):
    """What the documentation names is there; what is not is 404 and 405 in the envelope."""

    async def scenario():
        async with (
            Simulator(Answer(body=b'{"id":"chatcmpl-1","choices":[]}')) as upstream,
            serving(settings_for(tmp_path, upstream.base_url)) as gateway,
            wire(gateway.port) as client,
        ):
            statuses = {
                (method, path): (await client.ask(method, path, body)).status
                for method, path, body in (
                    ("GET", "/healthz", None),
                    ("HEAD", "/healthz", None),
                    ("GET", "/readyz", None),
                    ("GET", "/metrics", None),
                    ("GET", "/v1/models", None),
                    ("POST", "/v1/chat/completions", {"model": "up/gpt-test", "messages": []}),
                    ("POST", "/v1/completions", {}),
                    ("POST", "/v1/embeddings", {}),
                    ("POST", "/v1/responses", {}),
                    ("GET", "/v1/responses/resp_1", None),
                    ("DELETE", "/v1/responses/resp_1", None),
                    ("POST", "/v1/responses/resp_1/cancel", None),
                    ("GET", "/v1/chat/completions", None),
                    ("GET", "/admin", None),
                )
            }
            assert list(statuses.values()) == [200] * 6 + [400] * 3 + [404] * 3 + [405, 404]
            answer = await client.ask("POST", "/v1/chat/completions", b"{")
            assert answer.status == 400
            assert answer.headers["x-request-id"].startswith("req_")

    asyncio.run(scenario())
