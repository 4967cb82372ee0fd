"""Tools that run at Anthropic, or here for an Anthropic client: their blocks, and the hub's items for the same.

There a call and its result are two blocks, in the hub they are one item.
"""

from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.partial_json import read_partial
from antiphon.turn.events import Item
from antiphon.turn.making import MakeId
from antiphon.wire.objects import JsonObject, write_text

CALLS: Final = ("server_tool_use", "mcp_tool_use")
RESULTS: Final = (
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "mcp_tool_result",
)

_CODE: Final = ("code_execution", "bash_code_execution", "text_editor_code_execution")
_FAILED: Final = "_error"
"""What the type of a result that is none ends with."""


# Blocks into items.


def read_hosted(call: JsonObject, result: JsonObject | None, make_id: MakeId) -> Item | None:
    """Return the item of a call with its result; None for a tool that the hub does not know.

    Without a result the call was cut off.
    """
    name = call.get("name")
    content = None if result is None else result.get("content")
    status = _status(result, content)
    if call.get("type") == "mcp_tool_use":
        return _mcp_call(call, result, status, make_id)
    if name == "web_search":
        return _web_search(call, content, status, make_id)
    if name == "web_fetch":
        action = {"type": "open_page", "url": call["input"].get("url")}
        return {"id": make_id("ws_"), "type": "web_search_call", "status": status, "action": action}
    return _code(call, content, status, make_id) if name in _CODE else None


def _status(result: JsonObject | None, content: Any) -> str:
    if result is None:
        return "incomplete"
    failed = isinstance(content, dict) and str(content.get("type")).endswith(_FAILED)
    return "failed" if failed or result.get("is_error") else "completed"


def _web_search(call: JsonObject, content: Any, status: str, make_id: MakeId) -> Item:
    query = call["input"].get("query")
    found = content if isinstance(content, list) else []
    sources = [
        {"type": "url"} | {name: each[name] for name in ("url", "title") if each.get(name)}
        for each in found
        if isinstance(each, dict) and each.get("url")
    ]
    action: Item = {"type": "search", "query": query or "", "queries": [query] if query else []}
    return {
        "id": make_id("ws_"),
        "type": "web_search_call",
        "status": status,
        "action": action | {"sources": sources},
    }


def _code(call: JsonObject, content: Any, status: str, make_id: MakeId) -> Item:
    given = call["input"]
    code = given.get("code") or given.get("command")
    if call["name"] == "text_editor_code_execution" or not isinstance(code, str):
        code = write_text(given)
    content = content if isinstance(content, dict) else {}
    logs = "".join(str(content.get(name) or "") for name in ("stdout", "stderr"))
    return {
        "id": make_id("ci_"),
        "type": "code_interpreter_call",
        "status": status,
        "code": code,
        "container_id": "",
        "outputs": [{"type": "logs", "logs": logs}] if logs else [],
    }


def _mcp_call(call: JsonObject, result: JsonObject | None, status: str, make_id: MakeId) -> Item:
    text = _text_of(None if result is None else result.get("content"))
    item = {
        "id": make_id("mcp_"),
        "type": "mcp_call",
        "status": status,
        "server_label": call.get("server_name") or "",
        "name": call.get("name") or "",
        "arguments": write_text(call["input"]),
        "output": None if status == "failed" else text,
        "error": None,
    }
    if status == "failed":
        item["error"] = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
    return item


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


# Items into blocks.


def write_hosted(item: Item) -> list[JsonObject]:
    """Return the blocks of an item: the call and its result, or none for what Anthropic does not know."""
    write = _WRITERS.get(str(item.get("type")))
    return write(item) if write else []


def _write_web_search(item: Item) -> list[JsonObject]:
    action = item.get("action")
    action = action if isinstance(action, dict) else {}
    queries = action.get("queries")
    query = action.get("query") or (queries[0] if isinstance(queries, list) and queries else "")
    if action.get("type") != "search":
        query = query or action.get("url") or ""
    sources = action.get("sources")
    found: Any = [
        {
            "type": "web_search_result",
            "url": source["url"],
            "title": source.get("title") or source["url"],
            "encrypted_content": "",
            "page_age": None,
        }
        for source in (sources if isinstance(sources, list) else ())
        if isinstance(source, dict) and source.get("url")
    ]
    if item.get("status") == "failed":
        found = {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    return _pair(item, "web_search", {"query": query}, "web_search_tool_result", found)


def _write_code(item: Item) -> list[JsonObject]:
    outputs = item.get("outputs")
    logs = [
        str(each.get("logs") or "")
        for each in (outputs if isinstance(outputs, list) else ())
        if isinstance(each, dict)
    ]
    result: JsonObject = {
        "type": "code_execution_result",
        "stdout": "".join(logs),
        "stderr": "",
        "return_code": 0,
        "content": [],
    }
    if item.get("status") == "failed":
        result = {"type": "code_execution_tool_result_error", "error_code": "unavailable"}
    code = {"code": item.get("code") or ""}
    return _pair(item, "code_execution", code, "code_execution_tool_result", result)


def _write_mcp(item: Item) -> list[JsonObject]:
    error = item.get("error")
    text = write_text(error) if error else str(item.get("output") or "")
    call_id = f"mcptoolu_{item.get('id') or ''}"
    call = {
        "type": "mcp_tool_use",
        "id": call_id,
        "name": item.get("name") or "",
        "server_name": item.get("server_label") or "",
        "input": read_partial(str(item.get("arguments") or "{}")),
    }
    content = [{"type": "text", "text": text}]
    result = {"type": "mcp_tool_result", "tool_use_id": call_id, "is_error": bool(error), "content": content}
    return [call, result]


def _pair(item: Item, name: str, given: JsonObject, kind: str, content: Any) -> list[JsonObject]:
    call_id = f"srvtoolu_{item.get('id') or ''}"
    return [
        {"type": "server_tool_use", "id": call_id, "name": name, "input": given},
        {"type": kind, "tool_use_id": call_id, "content": content},
    ]


_WRITERS: Final[dict[str, Callable[[Item], list[JsonObject]]]] = {
    "web_search_call": _write_web_search,
    "code_interpreter_call": _write_code,
    "mcp_call": _write_mcp,
}
