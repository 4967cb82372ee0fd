"""Exchanges about what a provider keeps itself, when the provider does not answer well."""

import json

import pytest
import uvloop

from antiphon.drivers.simulator import Answer, Fault, Simulator, samples
from antiphon.settings import Provider, Secret
from drivers.wire_client import Client, Got, connected
from serving import serving, settings_for

KEY = "sk-upstream-0123456789abcdef"
ERROR = json.dumps({"error": {"message": f"{KEY} is wrong", "code": "invalid_api_key"}}).encode()


def retrieved(folder, answer: Answer) -> Got:
    """Create a response that the provider keeps, and retrieve it, which is answered with `answer`."""

    async def main() -> Got:
        created = Answer(body=samples.responses_body(900))
        async with Simulator([created, answer]) as upstream:
            provider = Provider(
                type="openai", base_url=upstream.base_url, api_key=Secret(KEY), models=(), state="upstream"
            )
            async with (
                serving(settings_for(folder, upstream.base_url, providers={"up": provider})) as running,
                connected(running.url) as client,
            ):
                assert (
                    await exchange(client, "POST", "/v1/responses", b'{"model":"up/m","input":"A"}')
                ).status == 200
                return await exchange(client, "GET", "/v1/responses/resp_simulated")

    return uvloop.run(main())


async def exchange(client: Client, method: str, path: str, body: bytes = b"") -> Got:
    client.send(body, path, method)
    return await client.answer()


def test_what_the_provider_keeps_passes_as_it_is(tmp_path):
    """Byte for byte, under its own id."""
    body = samples.responses_body(900)

    assert body == retrieved(tmp_path, Answer(body=body)).body


@pytest.mark.parametrize("fault", [None, Fault.RESET_INSIDE_FRAME])
def test_its_errors_keep_their_status_and_never_show_our_key(tmp_path, fault):
    """Also where the connection breaks in the middle of the error."""
    got = retrieved(
        tmp_path, Answer(status=401, body=ERROR, headers=(("retry-after", "7"),), fault=fault, at=0)
    )

    assert (got.status, b"retry-after: 7" in got.head) == (401, True)
    assert KEY.encode() not in got.raw
    assert json.loads(got.body)["error"]["code"] == ("upstream_error" if fault else "invalid_api_key")


def test_redirects_are_not_followed(tmp_path):
    """Nor handed to the client, who would be led past the gateway."""
    got = retrieved(tmp_path, Answer(status=307, body=b"{}", headers=(("location", "http://127.0.0.1:9/"),)))

    assert (got.status, json.loads(got.body)["error"]["code"]) == (502, "upstream_status")


def test_what_breaks_off_is_never_whole(tmp_path):
    """The connection is cut where the upstream's was."""
    got = retrieved(tmp_path, Answer(body=samples.responses_body(900), fault=Fault.RESET_INSIDE_FRAME, at=0))

    assert not got.is_whole
