"""What stands around the Responses API's answers: counting a request's tokens, compacting a conversation."""

from typing import Any, Final

import msgspec

from antiphon.dialects.responses.watch import read_usage
from antiphon.dialects.unstreamed import Unstreamed
from antiphon.dialects.whole import WholeWatcher
from antiphon.recording import Outcome, State


class _Body(msgspec.Struct):
    object: Any = None
    id: Any = None
    input_tokens: Any = None
    output: Any = None
    usage: Any = None


_decode: Final = msgspec.json.Decoder(_Body).decode


def _judge_count(body: bytes) -> Outcome:
    return _judge(body, lambda told: isinstance(told.input_tokens, int), "no_input_tokens")


def _judge_compaction(body: bytes) -> Outcome:
    return _judge(body, lambda told: told.object == "response.compaction", "not_a_compaction")


def _judge(body: bytes, is_answer: Any, reason: str) -> Outcome:
    try:
        told = _decode(body)
    except (ValueError, RecursionError):
        return Outcome(State.FAILED, "invalid_json")
    if not is_answer(told):
        return Outcome(State.FAILED, reason)
    return Outcome(State.COMPLETED, usage=read_usage(told.usage))


INPUT_TOKENS: Final = Unstreamed("input_tokens", "Token counts", lambda: WholeWatcher(_judge_count))
COMPACT: Final = Unstreamed("compact", "Compactions", lambda: WholeWatcher(_judge_compaction))
