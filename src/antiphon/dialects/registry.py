"""Every dialect that can stand on either side of a translation: how requests are read and written, and answers.

Adding a dialect is adding a row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from antiphon.dialects.chat_answer_reader import ChatAnswerReader
from antiphon.dialects.chat_request_writer import write_chat_request
from antiphon.dialects.messages_answer_reader import MessagesAnswerReader
from antiphon.dialects.messages_answer_writer import PING, MessagesAnswerWriter
from antiphon.dialects.messages_request_reader import read_messages_request
from antiphon.dialects.messages_request_writer import write_messages_request
from antiphon.dialects.responses_answer_writer import ResponsesAnswerWriter
from antiphon.dialects.translation import (
    KEEP_ALIVE,
    AnswerReader,
    AnswerWriter,
    Asking,
    Framing,
    Telling,
)
from antiphon.turn.request import HubRequest, normalized


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
    keep_alive: bytes = KEEP_ALIVE
    """What a client hears where the upstream said that it is still there, and nothing else."""


UPSTREAMS: Final[dict[str, UpstreamForm]] = {
    "chat": UpstreamForm(
        path=lambda model, stream: "/chat/completions",  # noqa: ARG005
        write=write_chat_request,
        reader=ChatAnswerReader,
    ),
    "messages": UpstreamForm(
        path=lambda model, stream: "/messages",  # noqa: ARG005
        write=write_messages_request,
        reader=MessagesAnswerReader,
    ),
}

CLIENTS: Final[dict[str, ClientForm]] = {
    "responses": ClientForm(read=normalized, writer=ResponsesAnswerWriter, id_prefix="resp_"),
    "messages": ClientForm(
        read=read_messages_request, writer=MessagesAnswerWriter, id_prefix="msg_", keep_alive=PING
    ),
}
