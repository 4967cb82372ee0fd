"""What a probe's findings mean, and what to do about them: sentences for a person."""

import socket
import ssl
from urllib.parse import urlsplit

from antiphon.dialects.signs import Speaker, message_in, one_line, says_bad_key
from antiphon.engine.probe_calls import Reply
from antiphon.recording import Outcome
from antiphon.wire.errors import UpstreamFault

_TYPES = {
    Speaker.ANTHROPIC: "`type: anthropic`",
    Speaker.GEMINI: "`type: gemini`",
    Speaker.OLLAMA: "`type: ollama`, or `type: openai-chat` and a base URL that ends in /v1",
}
_ENDINGS = {
    "no_terminal_event": "the stream stopped without the event that ends it: a proxy may have cut it",
    "no_finish_reason": "the stream ended without a finish reason, so nobody knows whether the answer is whole",
    "invalid_json": "the stream holds an event that is not JSON",
    "frame_too_large": "the stream holds an event of more than 1 MiB",
    "upstream_error": "the stream told an error instead of an answer",
}
_SLOW = frozenset({"upstream_first_byte_timeout", "upstream_idle_timeout", "upstream_total_timeout"})


def unreachable(fault: UpstreamFault, base_url: str, proxy: str | None) -> str:
    """Say why there is no connection, or no answer on it."""
    parts = urlsplit(base_url)
    place = f"the proxy {proxy} (from the environment)" if proxy else parts.netloc
    cause = fault.__cause__
    match cause:
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return f"{place} cannot be looked up now: is there a network, and a name server?"
        case socket.gaierror():
            return f"no such host: {place}; check `base_url`, and that there is a network"
        case ConnectionRefusedError():
            return f"nothing listens at {place}: is the server started, and is the port right?"
        case ssl.SSLCertVerificationError():
            return (
                f"the certificate of {place} is not trusted ({cause.verify_message}): "
                "where the authority is your own, name its file in SSL_CERT_FILE"
            )
        case ssl.SSLError():
            return f"no TLS with {place} ({cause.reason or 'handshake failed'}): is it http:// there?"
        case ConnectionError() if parts.scheme == "https" and fault.code == "upstream_connect_failed":
            return f"{place} hangs up where TLS should begin: is it http:// there?"
    match fault.code:
        case "upstream_connect_timeout":
            return f"no connection to {place} in time: a firewall, or an address that is not there? {fault.message}"
        case "upstream_protocol_error" | "upstream_reset" if parts.scheme == "http" and not proxy:
            return f"{fault.message} Is it https:// at {place}, or no HTTP at all?"
    return fault.message


def slow(fault: UpstreamFault, doing: str) -> str | None:
    """Say what to do about an answer that took too long; None if that was not the fault."""
    if fault.code not in _SLOW:
        return None
    return f"{fault.message} {doing}: allow more with --timeout"


def is_refused_key(reply: Reply) -> bool:
    """Whether the answer says that the key is not good enough."""
    return reply.status in {401, 403} or says_bad_key(reply.body)


def refused_key(reply: Reply, *, has_key: bool) -> str:
    """Say what to do about 401 and 403. The upstream's own words stay out: they may hold a piece of the key."""
    if not has_key:
        return f"status {reply.status}: it wants a key, and none is configured: set `api_key`"
    if reply.status == 403:
        return "status 403: the key may not do this: check its rights, its project, and the region"
    return f"status {reply.status}: the key is not accepted: check `api_key`, and that it belongs to this provider"


def answered(reply: Reply) -> str:
    """Say what an answer was: its status, and what an error had to say."""
    said = message_in(reply.content_type, reply.body)
    return f"status {reply.status}" + (f" ({said})" if said else "")


def wrong_speaker(speaker: Speaker, reply: Reply, path: str) -> str:
    """Say who answered instead of the one that was configured."""
    path = path.partition("?")[0]
    if speaker is Speaker.WEB:
        return (
            f"a web page answers at {path} (status {reply.status}), not an API: check the path in `base_url`"
        )
    if speaker in _TYPES:
        return f"{speaker} answers at {path} (status {reply.status}): set {_TYPES[speaker]}"
    return f"what answers at {path} (status {reply.status}) is not what the type says: check `type` and `base_url`"


def redirected(reply: Reply) -> str:
    """Say where a redirect leads; it is not followed, since our key would go along."""
    leads = one_line(reply.location.partition("?")[0]) or "nowhere"
    return (
        f"status {reply.status} leads to {leads}, which is not followed: set `base_url` to where the API is"
    )


def ended_badly(reply: Reply, outcome: Outcome) -> str:
    """Say how a streamed answer broke."""
    if reply.fault is not None:
        return slow(reply.fault, "the answer is slow") or reply.fault.message
    if not reply.frames and outcome.reason != "frame_too_large":
        return "the answer is no stream: something on the way ignores `stream: true`, or holds streams back"
    said = message_in(b"", reply.body) or message_in(b"", _last_json(reply.body))
    sentence = _ENDINGS.get(outcome.reason or "", f"the answer ended as {outcome.reason}")
    return sentence + (f": {said}" if said else "")


def _last_json(body: bytes) -> bytes:
    """The JSON of the last line that has some: where a stream breaks, its error is there."""
    for line in reversed(body.splitlines()):
        _, brace, rest = line.partition(b"{")
        if brace and b'"error"' in rest:
            return brace + rest
    return b""
