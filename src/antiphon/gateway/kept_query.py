"""What the query of a request for something kept may ask (specification, sections 2.2 and 2.5)."""

import secrets
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final
from urllib.parse import parse_qs

from antiphon.dialects.responses.obfuscation import obscured, plain
from antiphon.wire.errors import ClientFault

Query = Mapping[str, list[str]]
Change = Callable[[bytes], bytes]
"""Made to each frame of a stream."""

_INCLUDES: Final = frozenset(
    {
        *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
        *("message.input_image.image_url", "computer_call_output.output.image_url"),
        *("code_interpreter_call.outputs", "reasoning.encrypted_content", "message.output_text.logprobs"),
    }
)
_FLAGS: Final = {"true": True, "1": True, "false": False, "0": False, "": False}


def read_query(query: bytes) -> dict[str, list[str]]:
    """Read a query; lists may be written `include=a&include=b` or `include[]=a`."""
    read: dict[str, list[str]] = {}
    for name, values in parse_qs(query.decode("latin-1"), keep_blank_values=True).items():
        read.setdefault(name.removesuffix("[]"), []).extend(values)
    return read


def flag(query: Query, name: str) -> bool | None:
    """Return whether something is asked for; None if nothing is said. Raises ClientFault."""
    given = query.get(name)
    if given is None:
        return None
    if given[-1] not in _FLAGS:
        raise ClientFault(f"'{name}' is true or false.", code="invalid_value", param=name)
    return _FLAGS[given[-1]]


def check_include(query: Query) -> None:
    """See that what `include` names exists: it is there in any case, if the answer has it. Raises ClientFault."""
    for name in query.get("include", ()):
        if name not in _INCLUDES:
            raise ClientFault(f"'include' cannot name {name[:64]!r}.", code="invalid_value", param="include")


def change_of(query: Query) -> Change | None:
    """Return what `include_obfuscation` makes of the frames of a stream; None: they are as they were told."""
    wanted = flag(query, "include_obfuscation")
    if wanted is None:
        return None
    return partial(obscured, noise=_noise) if wanted else plain


def starting_after(query: Query, headers: Mapping[bytes, bytes]) -> int:
    """Return the number of the last event that the client has; -1 for none. Raises ClientFault."""
    given = query.get("starting_after")
    text = given[-1] if given else headers.get(b"last-event-id", b"").decode("latin-1")
    if not text:
        return -1
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise ClientFault(
            "'starting_after' must be the number of an event.", code="invalid_value", param="starting_after"
        )
    return int(text)


def _noise(length: int) -> str:
    return secrets.token_hex(length)[:length]
