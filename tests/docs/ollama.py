"""Somebody who answers as Ollama does, for the examples on the pages."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "http://127.0.0.1:11434"
MODEL = "gemma3:1b"
WORDS = ("About ", "6,076 ", "feet.")


class Handler(BaseHTTPRequestHandler):
    """`/api/tags` and `/api/chat`, streamed."""

    def do_GET(self):
        self._answer("application/json", json.dumps({"models": [{"name": MODEL}]}))

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = [{"content": "", "thinking": "Well. "}] if asked.get("think") else []
        said += [{"content": word} for word in WORDS]
        lines = [{"model": MODEL, "message": {"role": "assistant", **each}} for each in said]
        ending = {"done": True, "done_reason": "stop", "prompt_eval_count": 18, "eval_count": 9}
        text = "".join(json.dumps(each) + "\n" for each in [*lines, {"model": MODEL, **ending}])
        self._answer("application/x-ndjson", text)

    def _answer(self, content_type, text):
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def standing_in():
    """Serve until the block ends, and give the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
