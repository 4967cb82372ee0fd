"""The requests: about 1 KB of JSON in each dialect, alike in what they ask of whoever reads them."""

import json
from dataclasses import dataclass

MODEL = "fast"
SERIAL_DIGITS = 8
_SERIAL = "0" * SERIAL_DIGITS
_QUESTION = (
    "You are given the minutes of a meeting of the board. List the decisions, who is to carry out each of them, "
    "and by when. Keep the order in which they were made, quote the sentence each is taken from, and say where "
    "the minutes leave open who is meant. Answer in plain sentences, without headings. "
)
_RULES = (
    "You are careful, brief and exact, and you say so when something is not in the text. You do not repeat the "
    "question, do not apologise, do not guess at names or dates, and add no advice that nobody asked for. "
)


@dataclass(frozen=True, slots=True)
class Body:
    """A request's body by its members, in JSON; the serial number stands somewhere in `question`."""

    path: str
    members: tuple[tuple[str, str], ...]

    def text(self, serial: int = 0) -> str:
        """Write it compactly, with a serial number in the prompt."""
        return self.template().replace(_SERIAL, f"{serial:0{SERIAL_DIGITS}d}")

    def template(self) -> str:
        """Write it with the place for the serial number."""
        return "{" + ",".join(f"{json.dumps(name)}:{value}" for name, value in self.members) + "}"

    def around_serial(self) -> tuple[str, str]:
        """Return what stands before and after the serial number."""
        before, _, after = self.template().partition(_SERIAL)
        return before, after

    def request(self, serial: int = 0, prefix: str = "", *, close: bool = False) -> bytes:
        """Write the whole HTTP request; `prefix` stands before the path."""
        body = self.text(serial).encode()
        return head(prefix + self.path, len(body), close=close).encode() + body


def head(path: str, length: int, *, close: bool = False) -> str:
    """Write the head of a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: OpenAI/Python 3.0.0",
        "Authorization: Bearer sk-benchmark",
        "Accept: application/json",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        *(["Connection: close"] if close else []),
    ]
    return "\r\n".join(lines) + "\r\n\r\n"


def chat(*, stream: bool = False, model: str = MODEL) -> Body:
    """Ask for a chat completion."""
    messages = [
        {"role": "system", "content": _RULES},
        {"role": "user", "content": f"[{_SERIAL}] {_QUESTION * 2}"},
    ]
    return Body(
        "/v1/chat/completions",
        (
            ("model", json.dumps(model)),
            ("messages", json.dumps(messages)),
            ("temperature", "0.2"),
            ("top_p", "1"),
            ("max_tokens", "1000"),
            ("seed", "7"),
            ("n", "1"),
            ("stream", json.dumps(stream)),
        ),
    )


def responses(
    *, stream: bool = False, store: bool = False, background: bool = False, model: str = MODEL
) -> Body:
    """Ask for a response; `store` has it kept for retrieval, as the API does unless told otherwise."""
    return Body(
        "/v1/responses",
        (
            ("model", json.dumps(model)),
            ("instructions", json.dumps(_RULES)),
            ("input", json.dumps(f"[{_SERIAL}] {_QUESTION * 2}")),
            ("temperature", "0.2"),
            ("top_p", "1"),
            ("max_output_tokens", "1000"),
            ("store", json.dumps(store)),
            ("stream", json.dumps(stream)),
            *([("background", "true")] if background else []),
        ),
    )


def messages(*, stream: bool = False, model: str = MODEL) -> Body:
    """Ask for a message, as Anthropic's clients do."""
    said = [{"role": "user", "content": f"[{_SERIAL}] {_QUESTION * 2}"}]
    return Body(
        "/v1/messages",
        (
            ("model", json.dumps(model)),
            ("system", json.dumps(_RULES)),
            ("messages", json.dumps(said)),
            ("temperature", "0.2"),
            ("top_p", "1"),
            ("max_tokens", "1000"),
            ("stream", json.dumps(stream)),
        ),
    )


def completions(*, stream: bool = False, model: str = MODEL) -> Body:
    """Ask for a text completion."""
    return Body(
        "/v1/completions",
        (
            ("model", json.dumps(model)),
            ("prompt", json.dumps(f"{_RULES}[{_SERIAL}] {_QUESTION * 2}")),
            ("temperature", "0.2"),
            ("top_p", "1"),
            ("max_tokens", "1000"),
            ("seed", "7"),
            ("n", "1"),
            ("stream", json.dumps(stream)),
        ),
    )
