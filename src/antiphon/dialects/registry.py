"""Every dialect that can stand on either side of a translation: how requests are read and written, and answers.

Adding a dialect is adding a row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from antiphon.dialects.chat.answer_reader import ChatAnswerReader
from antiphon.dialects.chat.answer_writer import ChatAnswerWriter
from antiphon.dialects.chat.request_reader import read_chat_request
from antiphon.dialects.chat.request_writer import write_chat_request
from antiphon.dialects.completions.answer_reader import CompletionsAnswerReader
from antiphon.dialects.completions.answer_writer import CompletionsAnswerWriter
from antiphon.dialects.completions.request_reader import read_completions_request
from antiphon.dialects.completions.request_writer import write_completions_request
from antiphon.dialects.gemini.answer_reader import GeminiAnswerReader
from antiphon.dialects.gemini.request_writer import gemini_answer_path, write_gemini_request
from antiphon.dialects.messages.answer_reader import MessagesAnswerReader
from antiphon.dialects.messages.answer_writer import MessagesAnswerWriter
from antiphon.dialects.messages.request_reader import read_messages_request
from antiphon.dialects.messages.request_writer import write_messages_request
from antiphon.dialects.ollama.answer_reader import OllamaAnswerReader
from antiphon.dialects.ollama.request_writer import write_ollama_request
from antiphon.dialects.responses.answer_reader import ResponsesAnswerReader
from antiphon.dialects.responses.answer_writer import ResponsesAnswerWriter
from antiphon.dialects.responses.request_writer import write_responses_request
from antiphon.dialects.translation import AnswerReader, AnswerWriter, Asking, Framing, Telling
from antiphon.turn.create import read_create
from antiphon.turn.request import HubRequest


@dataclass(frozen=True, slots=True)
class UpstreamForm:
    """A dialect as upstreams speak it."""

    path: Callable[[str, bool], str]
    """(model, whether streamed) -> path below the provider's base URL."""
    write: Callable[[HubRequest, Asking], dict[str, Any]]
    """Writes the body of a request. Raises ClientFault."""
    reader: Callable[[Telling], AnswerReader]
    framing: Framing = Framing.SSE


@dataclass(frozen=True, slots=True)
class ClientForm:
    """A dialect as clients speak it."""

    read: Callable[[dict[str, Any]], HubRequest]
    """Reads the body of a request. Raises ClientFault."""
    writer: Callable[[Telling], AnswerWriter]
    id_prefix: str
    """What the ids of answers start with."""
    signs: bool = False
    """Whether clients give reasoning back only if it came with a signature."""


UPSTREAMS: Final[dict[str, UpstreamForm]] = {
    "chat": UpstreamForm(
        path=lambda model, stream: "/chat/completions",  # noqa: ARG005
        write=write_chat_request,
        reader=ChatAnswerReader,
    ),
    "responses": UpstreamForm(
        path=lambda model, stream: "/responses",  # noqa: ARG005
        write=write_responses_request,
        reader=ResponsesAnswerReader,
    ),
    "gemini": UpstreamForm(
        path=gemini_answer_path,
        write=write_gemini_request,
        reader=GeminiAnswerReader,
    ),
    "ollama": UpstreamForm(
        path=lambda model, stream: "/api/chat",  # noqa: ARG005
        write=write_ollama_request,
        reader=OllamaAnswerReader,
        framing=Framing.LINES,
    ),
    "completions": UpstreamForm(
        path=lambda model, stream: "/completions",  # noqa: ARG005
        write=write_completions_request,
        reader=CompletionsAnswerReader,
    ),
    "messages": UpstreamForm(
        path=lambda model, stream: "/messages",  # noqa: ARG005
        write=write_messages_request,
        reader=MessagesAnswerReader,
    ),
}

CLIENTS: Final[dict[str, ClientForm]] = {
    "responses": ClientForm(read=read_create, writer=ResponsesAnswerWriter, id_prefix="resp_"),
    "chat": ClientForm(read=read_chat_request, writer=ChatAnswerWriter, id_prefix="chatcmpl-"),
    "completions": ClientForm(
        read=read_completions_request, writer=CompletionsAnswerWriter, id_prefix="cmpl-"
    ),
    "messages": ClientForm(
        read=read_messages_request, writer=MessagesAnswerWriter, id_prefix="msg_", signs=True
    ),
}
