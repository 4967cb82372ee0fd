"""The upstream of a worker: a turn that is asked waits until the machine lets it say something."""

import json
from typing import Any

from antiphon.engine.incoming import Incoming
from antiphon.wire.sse import write_frame

_BASE = {"object": "response", "created_at": 1, "model": "m", "output": [], "error": None}
_USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


class Turn:
    """One time that an upstream was asked; the watcher of its reply."""

    def __init__(self, worker: Any, incoming: Incoming, number: int) -> None:
        self.worker = worker
        self.run_id = incoming.response_id.decode()
        self.number = number
        self.input = json.loads(incoming.body)["input"]
        self.pieces: list[str] = []
        """The text that it was let to say."""
        self.has_effect = False
        self.is_over = False
        self._reply = incoming.reply
        self._items = 0
        self._is_open = False
        self._reply.watch(self)
        self._write("response.created", response=self._response("in_progress"))
        self._write("response.in_progress", response=self._response("in_progress"))

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def is_alive(self) -> bool:
        return not (self.is_over or self.worker.is_dead)

    # What the machine lets it do; a worker that is frozen takes it when it wakes.

    def say(self) -> None:
        """Say a piece of text that nobody else says."""
        self.worker.loop.call_soon(self._say, f"{self.number}.{len(self.pieces)} ")

    def act(self) -> None:
        """Do something that must not be done twice."""
        self.worker.loop.call_soon(self._act)

    def finish(self, how: str) -> None:
        """End: completed, incomplete, failed, or in one of the ways in which upstreams break."""
        self.worker.loop.call_soon(self._finish, how)

    # The watcher.

    def on_writable(self) -> None:
        pass

    def on_sent(self) -> None:
        self.is_over = True

    def on_gone(self) -> None:
        self.is_over = True

    # Inside.

    def _say(self, piece: str) -> None:
        if self.is_over:
            return
        self._open()
        self.pieces.append(piece)
        self._write("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def _act(self) -> None:
        if self.is_over or self._is_open:
            return
        item = {
            "type": "image_generation_call",
            "id": f"ig_{self.number}_{self._items}",
            "status": "completed",
        }
        self.has_effect = True
        self._write("response.output_item.added", output_index=self._items, item=item)
        self._items += 1

    def _finish(self, how: str) -> None:
        if self.is_over:
            return
        if how == "refused":
            self.is_over = True
            body = b'{"error": {"message": "No.", "code": "no", "type": "invalid_request_error"}}'
            self._reply.send(400, ((b"content-type", b"application/json"),), body)
        elif how == "aborted":
            self.is_over = True
            self._reply.abort()
        elif how == "cut":
            self._reply.end()
        else:
            self._tell_end(how)
            self._reply.end()
        self.is_over = True

    def _tell_end(self, status: str) -> None:
        self._open()
        self._write("response.output_text.done", **self._place(), text=self.text, logprobs=[])
        part = {"type": "output_text", "text": self.text, "annotations": []}
        self._write("response.content_part.done", **self._place(), part=part)
        item = self._message("completed", [part])
        self._write("response.output_item.done", output_index=self._items, item=item)
        end = self._response(status) | {"usage": _USAGE, "output": [item]}
        if status == "incomplete":
            end["incomplete_details"] = {"reason": "max_output_tokens"}
        if status == "failed":
            end["error"] = {"code": "server_error", "message": "It broke."}
        self._write(f"response.{status}", response=end)

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        item = self._message("in_progress", [])
        self._write("response.output_item.added", output_index=self._items, item=item)
        part = {"type": "output_text", "text": "", "annotations": []}
        self._write("response.content_part.added", **self._place(), part=part)

    def _response(self, status: str) -> dict[str, Any]:
        # The turn tells its answer under the id that it was asked to have.
        return {**_BASE, "id": self.run_id, "status": status}

    def _message(self, status: str, content: list[Any]) -> dict[str, Any]:
        name = f"msg_{self.number}"
        return {"type": "message", "id": name, "role": "assistant", "status": status, "content": content}

    def _place(self) -> dict[str, Any]:
        return {"item_id": f"msg_{self.number}", "output_index": self._items, "content_index": 0}

    def _write(self, kind: str, **members: Any) -> None:
        if not self.is_over:
            # The numbers are the upstream's: the gateway counts for itself.
            data = json.dumps({"type": kind, "sequence_number": 7, **members}).encode()
            self._reply.write(write_frame(data, kind))
