"""The events of the Responses API: which there are, and what each of them carries (specification, section 9.3).

Beside its own members, each event carries `type` and `sequence_number`.
"""

from typing import Any, Final

Event = dict[str, Any]
"""One event as parsed JSON."""
Item = dict[str, Any]
"""One output item as parsed JSON."""

LIFECYCLE: Final = frozenset(
    f"response.{name}"
    for name in ("created", "queued", "in_progress", "completed", "incomplete", "failed", "cancelled")
)
"""Events that carry a whole response. `response.cancelled` is understood, and never written."""

TERMINAL: Final = {
    "response.completed": "completed",
    "response.incomplete": "incomplete",
    "response.failed": "failed",
    "response.cancelled": "cancelled",
}
"""Events after which nothing comes, and the status that each stands for."""

_RESPONSE = ("response",)
_ITEM = ("output_index", "item")
_IN_ITEM = ("item_id", "output_index")
_IN_CONTENT = (*_IN_ITEM, "content_index")
_IN_SUMMARY = (*_IN_ITEM, "summary_index")
_COMMAND = ("output_index", "command_index")


def _streamed(name: str, inside: tuple[str, ...], whole: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.delta": (*inside, "delta"), f"{name}.done": (*inside, whole)}


def _phases(name: str, *phases: str) -> dict[str, tuple[str, ...]]:
    return {f"{name}.{phase}": _IN_ITEM for phase in phases}


CATALOGUE: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(sorted(LIFECYCLE - {"response.cancelled"}), _RESPONSE),
    "response.output_item.added": _ITEM,
    "response.output_item.done": _ITEM,
    "response.content_part.added": (*_IN_CONTENT, "part"),
    "response.content_part.done": (*_IN_CONTENT, "part"),
    "response.output_text.delta": (*_IN_CONTENT, "delta", "logprobs"),
    "response.output_text.done": (*_IN_CONTENT, "text", "logprobs"),
    "response.output_text.annotation.added": (*_IN_CONTENT, "annotation_index", "annotation"),
    **_streamed("response.refusal", _IN_CONTENT, "refusal"),
    **_streamed("response.reasoning_text", _IN_CONTENT, "text"),
    # The name of the same event in Open Responses.
    **_streamed("response.reasoning", _IN_CONTENT, "text"),
    "response.reasoning_summary_part.added": (*_IN_SUMMARY, "part"),
    "response.reasoning_summary_part.done": (*_IN_SUMMARY, "part"),
    **_streamed("response.reasoning_summary_text", _IN_SUMMARY, "text"),
    **_streamed("response.function_call_arguments", _IN_ITEM, "arguments"),
    **_streamed("response.custom_tool_call_input", _IN_ITEM, "input"),
    **_phases("response.web_search_call", "in_progress", "searching", "completed"),
    **_phases("response.file_search_call", "in_progress", "searching", "completed"),
    **_phases("response.code_interpreter_call", "in_progress", "interpreting", "completed"),
    **_streamed("response.code_interpreter_call_code", _IN_ITEM, "code"),
    **_phases("response.image_generation_call", "in_progress", "generating", "completed"),
    "response.image_generation_call.partial_image": (*_IN_ITEM, "partial_image_index", "partial_image_b64"),
    **_phases("response.mcp_list_tools", "in_progress", "completed", "failed"),
    **_phases("response.mcp_call", "in_progress", "completed", "failed"),
    **_streamed("response.mcp_call_arguments", _IN_ITEM, "arguments"),
    "response.shell_call_command.added": (*_COMMAND, "command"),
    **_streamed("response.shell_call_command", _COMMAND, "command"),
    **_streamed("response.shell_call_output_content", (*_IN_ITEM, "command_index"), "output"),
    # Not in the specification; OpenAI sends it (recorded in November 2025).
    **_streamed("response.apply_patch_call_operation_diff", _IN_ITEM, "diff"),
    "response.compaction.compacting": _IN_ITEM,
    # Flat as documented, or nested as the service sends it (section 9.7).
    "error": (),
}
"""Every event that a stream may hold, with the members that it must have."""
