"""Content of the hub's messages as blocks of Anthropic Messages."""

import base64
import binascii
import re
from typing import Any, Final

from antiphon.dialects.inline import downloaded, read_inline
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item
from antiphon.wire.errors import ClientFault

Block = dict[str, Any]

TEXTS: Final = frozenset({"input_text", "output_text", "text", "summary_text"})
UNTITLED: Final = "document.pdf"
"""The name of a document that had none: other dialects want one."""

_PDF: Final = "application/pdf"
_PDF_START: Final = "JVBERi0"
"""What base64 of a PDF begins with."""
_TEXT_TYPES: Final = re.compile(r"text/|application/(?:json|xml|x?yaml|javascript)")
_TEXT_NAMES: Final = re.compile(
    r"\.(?:txt|md|csv|tsv|json|xml|html?|ya?ml|py|js|ts|log|rst|css|sql)$", re.IGNORECASE
)
_TTLS: Final = {"30m": "1h", "12h": "1h", "1h": "1h", "5m": "5m"}
"""How long the cache keeps a prefix, by what the Responses API says: never shorter, as far as Anthropic goes."""


def write_block(part: Item, path: str, asking: Asking) -> Block | None:
    """Return the block of a content part; None for one without content. Raises ClientFault."""
    match part["type"]:
        case kind if kind in TEXTS:
            block: Block | None = text_block(part["text"])
        case "refusal":
            block = text_block(part["refusal"])
        case "input_image":
            block = _image(part, path, asking)
        case "input_file":
            block = _file(part, path, asking)
        case kind:
            raise lacks(f"{path}.type", f"content of type '{kind}'", asking.profile)
    return None if block is None else block | _cache_control(part)


def text_block(text: str) -> Block | None:
    """Return a block of text; None where Anthropic would refuse it as empty."""
    return {"type": "text", "text": text} if text.strip() else None


def _cache_control(part: Item) -> Block:
    asked = part.get("prompt_cache_breakpoint")
    if not isinstance(asked, dict):
        return {}
    ttl = _TTLS.get(str(asked.get("ttl")))
    return {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})}


def _image(part: Item, path: str, asking: Asking) -> Block:
    url = part.get("image_url")
    if not isinstance(url, str):
        if not part.get("file_id"):
            raise ClientFault(
                f"'{path}' must have an 'image_url' or a 'file_id'.",
                code="missing_required_parameter",
                param=f"{path}.image_url",
            )
        return {"type": "image", "source": {"type": "file", "file_id": part["file_id"]}}
    if url in asking.downloads:
        return _image_of(*downloaded(asking.downloads[url]))
    inline = read_inline(url)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": url}}
    return _image_of(inline.media_type or "image/png", inline.data)


def _image_of(media_type: str, data: str) -> Block:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def _file(part: Item, path: str, asking: Asking) -> Block:
    name, url = part.get("filename"), part.get("file_url")
    title = {"title": name} if name and name != UNTITLED else {}
    if url in asking.downloads:
        return _document(*downloaded(asking.downloads[url]), f"{path}.file_url", asking) | title
    if part.get("file_id"):
        return {"type": "document", "source": {"type": "file", "file_id": part["file_id"]}} | title
    if url:
        return {"type": "document", "source": {"type": "url", "url": url}} | title
    data = part.get("file_data")
    if not isinstance(data, str):
        raise ClientFault(
            f"'{path}' must have 'file_data', a 'file_url' or a 'file_id'.",
            code="missing_required_parameter",
            param=f"{path}.file_data",
        )
    inline = read_inline(data)
    if inline is not None:
        return _document(*inline, f"{path}.file_data", asking) | title
    return _document(_media_type(name, data), data, f"{path}.file_data", asking) | title


def _media_type(name: Any, data: str) -> str:
    """Tell the type of a file from its name, and from how it begins."""
    if data.startswith(_PDF_START) or str(name).lower().endswith(".pdf"):
        return _PDF
    return "text/plain" if _TEXT_NAMES.search(str(name)) else ""


def _document(media_type: str, data: str, path: str, asking: Asking) -> Block:
    """Return the block of a file given as base64."""
    if media_type == _PDF:
        source = {"type": "base64", "media_type": _PDF, "data": data}
    elif media_type.startswith("image/"):
        return _image_of(media_type, data)
    elif _TEXT_TYPES.match(media_type):
        source = {"type": "text", "media_type": "text/plain", "data": _decoded(data, path)}
    else:
        raise lacks(path, f"files of type '{media_type or 'unknown'}'", asking.profile)
    return {"type": "document", "source": source}


def _decoded(data: str, path: str) -> str:
    try:
        return base64.b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as fault:
        raise ClientFault(
            f"'{path}' must be base64 of text in UTF-8.", code="invalid_value", param=path
        ) from fault
