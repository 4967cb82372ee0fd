"""Reads answers of Gemini into the hub's events (specification, section 15.7).

Chunks of a stream and whole answers have one shape: a candidate whose parts say, one after the other, what there
is. Each kind of part has its own method in the table below. Signatures wait in an envelope until it is told in a
reasoning item, which stands before the item that they belong to; one that comes after its text, as it does in
streams, stands after it. Code waits for its result, since an item is told whole. The answer is over when the body
ends after a finish reason: grounding and usage come with the last chunk.
"""

from collections.abc import Callable
from typing import Any, Final

from antiphon.dialects.gemini.citations import cited, searched
from antiphon.dialects.gemini.envelope import Envelope, Signature
from antiphon.dialects.gemini.partial_arguments import PartialArguments
from antiphon.dialects.gemini.reasons import block_reason, ending, error_of, finish_reason
from antiphon.dialects.gemini.usage import read_usage
from antiphon.dialects.translation import Telling
from antiphon.dialects.usage import hub_usage
from antiphon.turn.calls import Calls
from antiphon.turn.events import Event, Item
from antiphon.turn.making import EventMaker
from antiphon.turn.usage import Usage
from antiphon.wire.objects import JsonObject, read_object, write_text

_OK: Final = ("OUTCOME_OK", 1)
_SIGNATURE: Final = "thoughtSignature"


class GeminiAnswerReader:
    """Reads one answer, streamed or whole."""

    def __init__(self, telling: Telling) -> None:
        """Begin the response of `telling`."""
        self._telling = telling
        self._maker = EventMaker(telling.response, telling.make_id)
        self._calls = Calls(self._maker, telling.asking.toolset, telling.make_id, telling.asking.answer_tool)
        self._begun = False
        self._members: JsonObject = {}
        self._usage: Usage | None = None
        self._reason: str | None = None
        self._finish_message = ""
        self._blocked: str | None = None
        # What was said.
        self._said: list[str] = []
        self._text: list[str] = []
        """The open text of a message."""
        self._text_before = 0
        """Bytes of text in messages before that one."""
        self._cited: set[tuple[object, ...]] = set()
        self._search: Item | None = None
        # What waits.
        self._envelope = Envelope([], [])
        self._code: Item | None = None
        self._call_count = 0
        self._arguments: PartialArguments | None = None
        """Of the last call, where they are still coming."""

    def drain(self) -> list[Event]:
        """Return the events since the last call."""
        return self._maker.drain()

    def feed(self, data: bytes, event_type: str) -> None:  # noqa: ARG002 - a reader's shape
        """Take one chunk, a whole answer, or a list of chunks. Raises ValueError or UpstreamFault."""
        data = data.strip()
        if data.startswith(b"["):
            chunks = read_object(b'{"chunks":%b}' % data)["chunks"]
        else:
            chunks = [read_object(data)] if data else []
        for chunk in chunks:
            if isinstance(chunk, dict) and not self._maker.is_over:
                self._take(chunk)

    def close(self, *, clean: bool) -> None:
        """The body is over: an answer with a finish reason is whole, any other has not ended."""
        if clean and not self._maker.is_over and (self._reason is not None or self._blocked is not None):
            self._finish()

    def fail(self, code: str, message: str) -> None:
        """End the answer as broken."""
        self._begin()
        self._maker.fail(code, message, usage=self._hub_usage())

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._maker.begin(**self._members)

    def _take(self, chunk: JsonObject) -> None:
        if isinstance(model := chunk.get("modelVersion"), str) and model:
            self._members["model"] = model
        self._usage = read_usage(chunk.get("usageMetadata")) or self._usage
        if chunk.get("error"):
            self.fail(*error_of(chunk["error"]))
            return
        self._begin()
        feedback = chunk.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            reason = block_reason(feedback["blockReason"])
            told = feedback.get("blockReasonMessage")
            self._blocked = f"{reason} ({told})" if told else reason
        for candidate in chunk.get("candidates") or ():
            if isinstance(candidate, dict) and not candidate.get("index"):
                self._take_candidate(candidate)

    def _take_candidate(self, candidate: JsonObject) -> None:
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._search = searched(grounding) or self._search
            if candidate.get("finishReason") and not self._maker.has_output:
                self._tell_search()  # in a whole answer it is known where it belongs: before the text
        content = candidate.get("content")
        logprobs = _logprobs(candidate.get("logprobsResult"))
        for part in (content.get("parts") if isinstance(content, dict) else None) or ():
            if isinstance(part, dict):
                self._take_part(part, logprobs)
                if part.get("text") and not part.get("thought"):
                    logprobs = []
        self._cite(candidate)
        if candidate.get("finishReason"):
            self._reason = finish_reason(candidate["finishReason"])
            self._finish_message = str(candidate.get("finishMessage") or "")

    def _take_part(self, part: JsonObject, logprobs: list[Item]) -> None:
        if part.get("thought"):
            self._think(part)
            return
        for member, take in _PARTS.items():
            if isinstance(part.get(member), dict):
                take(self, part[member], part.get(_SIGNATURE))
                return
        if "text" in part:
            self._say(str(part["text"] or ""), part.get(_SIGNATURE), logprobs)
        elif part.get(_SIGNATURE) or "toolCall" in part or "toolResponse" in part:
            self._envelope.parts.append(part)  # only Gemini knows what it is, and wants it back

    # Reasoning, and what a later turn needs.

    def _think(self, part: JsonObject) -> None:
        text = part.get("text")
        if isinstance(text, str) and text:
            self._tell_code()
            if any(kept.get("thought") for kept in self._envelope.parts):
                self._seal()
                self._maker.close_item()  # that signature is of the thoughts so far
            self._said.append(text)
            self._maker.summary(text)
        if part.get(_SIGNATURE):
            self._envelope.parts.append({"thought": True, _SIGNATURE: part[_SIGNATURE]})

    def _sign(self, member: str, signature: Any, call_id: str = "") -> None:
        if isinstance(signature, str) and signature:
            self._envelope.next.append(Signature(member, signature, call_id))

    def _seal(self) -> None:
        """Tell what waits in the envelope."""
        envelope = self._envelope
        if not envelope:
            return
        self._envelope = Envelope([], [])
        self._leave_text()
        self._maker.seal(self._telling.seal(envelope.payload()))

    # Text.

    def _say(self, text: str, signature: Any, logprobs: list[Item]) -> None:
        if not text:
            if signature:
                self._envelope.parts.append({"text": "", _SIGNATURE: signature})
            return
        self._tell_code()
        if not self._maker.in_text:
            self._sign("text", signature)
            self._seal()
            self._leave_text()
            self._calls.end_all()
            signature = None
        self._text.append(text)
        self._said.append(text)
        self._maker.text(text, logprobs)
        if signature:
            self._envelope.parts.append({"text": "", _SIGNATURE: signature})

    def _leave_text(self) -> None:
        self._text_before += len("".join(self._text).encode("utf-8", "surrogatepass"))
        self._text = []

    def _cite(self, candidate: JsonObject) -> None:
        if not self._maker.in_text:
            return
        for annotation in cited(candidate, "".join(self._text), self._text_before):
            key = tuple(annotation.values())
            if key not in self._cited:
                self._cited.add(key)
                self._maker.annotate(annotation)

    # Calls.

    def _call(self, call: JsonObject, signature: Any) -> None:
        name = call.get("name")
        if name:
            self._start_call(str(name), call, signature)
        if self._arguments is None:
            return
        key = self._call_count
        for piece in call.get("partialArgs") or ():
            self._calls.add(key, self._arguments.add(piece))
        if not call.get("willContinue"):
            self._calls.add(key, self._arguments.close())
            self._end_call()

    def _start_call(self, name: str, call: JsonObject, signature: Any) -> None:
        self._tell_code()
        call_id = str(call.get("id") or self._telling.make_id("call_"))
        self._sign("functionCall", signature, call_id)
        self._seal()
        self._leave_text()
        self._call_count += 1
        self._calls.start(self._call_count, name, call_id)
        self._arguments = PartialArguments()
        if call.get("args"):
            self._calls.add(self._call_count, write_text(call["args"]))
            self._end_call()

    def _end_call(self) -> None:
        self._arguments = None
        self._calls.end(self._call_count)

    # What Gemini does by itself.

    def _run(self, code: JsonObject, signature: Any) -> None:
        self._tell_code()
        self._sign("executableCode", signature)
        self._code = {
            "id": self._telling.make_id("ci_"),
            "type": "code_interpreter_call",
            "status": "completed",
            "code": str(code.get("code") or ""),
            "container_id": "",  # there is none that could be looked into
            "outputs": [],
        }

    def _ran(self, result: JsonObject, signature: Any) -> None:
        if self._code is None:
            self._run({}, None)
        assert self._code is not None
        self._sign("codeExecutionResult", signature)
        if result.get("outcome") not in _OK:
            self._code["status"] = "failed"
        self._code["outputs"].append({"type": "logs", "logs": str(result.get("output") or "")})

    def _show(self, blob: JsonObject, signature: Any) -> None:
        kind, data = str(blob.get("mimeType") or ""), str(blob.get("data") or "")
        if not kind.startswith("image/"):
            return  # speech, which no item can hold
        if self._code is not None:
            self._sign("inlineData", signature)
            self._code["outputs"].append({"type": "image", "url": f"data:{kind};base64,{data}"})
            return
        self._sign("inlineData", signature)
        item = {"type": "image_generation_call", "status": "completed", "result": data}
        self._tell({"id": self._telling.make_id("ig_"), **item, "output_format": kind.removeprefix("image/")})

    def _tell_code(self) -> None:
        """Tell the code that was run, once no more of its results can come."""
        code, self._code = self._code, None
        if code is not None:
            self._tell(code)

    def _tell_search(self) -> None:
        search, self._search = self._search, None
        if search is not None:
            self._tell({"id": self._telling.make_id("ws_"), **search})

    def _tell(self, item: Item) -> None:
        self._seal()
        self._leave_text()
        self._maker.item(item)

    # The end.

    def _finish(self) -> None:
        if self._reason is None and not self._maker.has_output:
            self.fail("invalid_prompt", f"The upstream blocked the prompt: {self._blocked}.")
            return
        reason = self._reason or "PROHIBITED_CONTENT"
        state, why = ending(reason)
        if state == "failed":
            told = self._finish_message or f"The upstream ended its answer with {reason}."
            self.fail("server_error", told)
            return
        self._tell_code()
        if state == "completed":
            if self._arguments is not None:
                self._calls.add(self._call_count, self._arguments.close())
            self._calls.end_all()
        if state == "completed" or not self._maker.in_text:
            self._seal()  # else the text that was cut off would no longer be last, and so look whole
        self._tell_search()
        self._maker.finish(
            state,
            reason=why,
            usage=self._hub_usage(),
            completed_at=int(self._telling.now()),
            **self._members,
        )

    def _hub_usage(self) -> Item:
        return hub_usage(self._usage, self._telling, self._said)


_PARTS: Final[dict[str, Callable[[GeminiAnswerReader, JsonObject, Any], None]]] = {
    "functionCall": GeminiAnswerReader._call,
    "executableCode": GeminiAnswerReader._run,
    "codeExecutionResult": GeminiAnswerReader._ran,
    "inlineData": GeminiAnswerReader._show,
}
"""What takes a part, by the member that says what it is; thoughts and text are told apart before and after."""


def _logprobs(result: Any) -> list[Item]:
    if not isinstance(result, dict):
        return []
    tops = result.get("topCandidates") or []
    told = []
    for index, chosen in enumerate(result.get("chosenCandidates") or ()):
        top = tops[index].get("candidates") if index < len(tops) and isinstance(tops[index], dict) else None
        told.append(_logprob(chosen) | {"top_logprobs": [_logprob(each) for each in top or ()]})
    return told


def _logprob(entry: Item) -> Item:
    token = str(entry.get("token") or "")
    logprob = entry.get("logProbability")
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
