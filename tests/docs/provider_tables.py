"""Writes the tables of `docs/providers.md`: `python tests/docs/provider_tables.py`.

What a provider of chat completions is told comes from the translator: one request for each row, written for each.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as a script: the tests' own modules

from antiphon.app.outside import KEY_HEADERS
from antiphon.dialects.files import unreachable_files
from antiphon.dialects.providers import PROVIDERS
from antiphon.settings import ProviderType
from antiphon.settings.checks import BASE_URLS
from antiphon.settings.environment import PROVIDERS as VARIABLES
from antiphon.turn.request import normalized
from antiphon.wire.errors import ClientFault
from docs.carrying import NAMES, written

PAGE = Path(__file__).resolve().parents[2] / "docs/providers.md"
END = "<!-- end -->\n"

MODELS = {"mistral": "mistral-small-latest"}
"""Models that can be told an effort, where not all can."""
CHAT = tuple(kind for kind, profile in PROVIDERS.items() if profile.translates_to == "chat")

Body = dict[str, Any]
USER = {"role": "user", "content": "Hi"}
TIME = {"type": "function", "name": "time", "parameters": {"type": "object"}}
DATE = TIME | {"name": "date"}
CALL_ID = "call_hoMp933t07H4yr0OXsK23088"
IMAGE = {"type": "input_image", "image_url": "https://img.example/a.png"}
PDF = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,UERG"}


def page_with_tables(page: str) -> str:
    """The page with its tables written anew."""
    for name, table in (("types", types()), ("chat", chat())):
        begin = f"<!-- {name}: written by tests/docs/provider_tables.py -->\n"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(END)
        page = before + begin + "\n" + "".join(f"{line}\n" for line in table) + "\n" + END + after
    return page


def types() -> Iterator[str]:
    yield "| Type | Asked by others' clients in | Base URL, if none is set | Key |"
    yield "|---|---|---|---|"
    variables = {each.type: each.key for each in VARIABLES}
    for kind in get_args(ProviderType):
        asked = PROVIDERS[kind].translates_to or ""
        if kind == "playback":
            yield "| `playback` | what was recorded | none | none |"
            continue
        header, scheme = KEY_HEADERS.get(kind, (b"authorization", b"Bearer "))
        key = f"`{header.decode()}: {scheme.decode()}…`"
        variable = f", `{variables[kind]}`" if kind in variables else ""
        url = f"`{BASE_URLS[kind]}`" if kind in BASE_URLS else "needed"
        yield f"| `{kind}` | {NAMES[asked]} | {url} | {key}{variable} |"


def chat() -> Iterator[str]:
    yield "| | " + " | ".join(f"`{kind}`" for kind in CHAT) + " |"
    yield "|---" * (len(CHAT) + 1) + "|"
    for wanted, row in ROWS.items():
        yield f"| {wanted} | " + " | ".join(row(kind) or "-" for kind in CHAT) + " |"


def told(kind: str, **members: Any) -> Body:
    body = {"model": "m", "input": "Hi", **members}
    return written(body, "responses", "chat", asked=(kind, MODELS.get(kind, "m")))[0]


def code(value: Any) -> str:
    return f"`{json.dumps(value, separators=(', ', ': '))}`"


def beside(**members: Any) -> Callable[[str], str]:
    """What is sent beside model and messages, or which member is refused."""

    def cell(kind: str) -> str:
        try:
            body = told(kind, **members)
        except ClientFault as fault:
            return f"400 `{fault.param}`"
        known = told(kind)
        rest = {
            name: value for name, value in body.items() if value != known.get(name) and name != "messages"
        }
        return code(rest) if rest else ""

    return cell


def effort(level: str) -> Callable[[str], str]:
    return beside(reasoning={"effort": level})


def schema(kind: str, **members: Any) -> str:
    form = {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {}}}
    body = told(kind, text={"format": form}, **members)
    if "thinking" in body:
        return "a tool, `thinking: disabled`"
    how = f"`response_format: {body['response_format']['type']}`" if "response_format" in body else "a tool"
    return f"{how}, and words" if "JSON schema:" in json.dumps(body["messages"]) else how


def forced(kind: str) -> str:
    body = told(kind, tools=[TIME, DATE], tool_choice={"type": "function", "name": "time"})
    choice = body["tool_choice"]
    how = "by its name" if isinstance(choice, dict) else f"`{choice}`, and no other tool"
    return f"{how}, `thinking: disabled`" if "thinking" in body else how


def reasoning_back(kind: str) -> str:
    item = {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    body = told(kind, input=[USER, item, {"role": "assistant", "content": "Yes."}, USER])
    message = body["messages"][1]
    added = [name for name in message if name not in {"role", "content"}]
    if isinstance(message["content"], list):
        return "`thinking` parts"
    if PROVIDERS[kind].reasoning_back == "reasoning_details":
        return "`reasoning_details`, its own alone"
    return f"`{added[0]}`" if added else ""


def call_ids(kind: str) -> str:
    call = {"type": "function_call", "call_id": CALL_ID, "name": "time", "arguments": "{}"}
    told_id = told(kind, input=[USER, call])["messages"][1]["tool_calls"][0]["id"]
    return "as they are" if told_id == CALL_ID else f"{len(told_id)} letters and digits"


def image(kind: str) -> str:
    request = normalized({"input": [{"role": "user", "content": [IMAGE]}]})
    return "fetched by the gateway" if unreachable_files(request, PROVIDERS[kind]) else "as they are"


def streams(kind: str) -> str:
    body = written({"model": "m", "input": "Hi"}, "responses", "chat", asked=(kind, "m"), stream=True)[0]
    return "`stream_options`" if "stream_options" in body else "comes unasked"


def pdf(kind: str) -> str:
    try:
        body = told(kind, input=[{"role": "user", "content": [PDF]}])
    except ClientFault as fault:
        return f"400 `{re.sub('input.*content', '…', str(fault.param))}`"
    return f"`{body['messages'][0]['content'][0]['type']}` part"


ROWS: dict[str, Callable[[str], str]] = {
    "most tokens": beside(max_output_tokens=77),
    "developer's messages": lambda kind: "`{}`".format(
        told(kind, instructions="Be brief.")["messages"][0]["role"]
    ),
    "effort `medium`": effort("medium"),
    "effort `none`": effort("none"),
    "earlier reasoning": reasoning_back,
    "JSON of a schema": schema,
    "the same, beside tools": lambda kind: schema(kind, tools=[TIME]),
    "some JSON": beside(text={"format": {"type": "json_object"}}),
    "one tool must be called": forced,
    "ids of calls": call_ids,
    "PDF, as data": pdf,
    "images, by URL": image,
    "usage in streams": streams,
}

if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text()))
