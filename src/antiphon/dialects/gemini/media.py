"""Images, files, sound and video as parts of a Gemini request: inline, or by an address that Gemini itself reads."""

import re
from typing import Final

from antiphon.dialects.inline import downloaded, read_inline
from antiphon.dialects.refusing import lacks
from antiphon.dialects.translation import Asking
from antiphon.turn.events import Item

_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"
_OWN_ADDRESS: Final = re.compile(
    r"https://generativelanguage\.googleapis\.com/|gs://"
    r"|https://(?:www\.|m\.)?youtube\.com/|https://youtu\.be/"
)
_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "htm": "text/html",
    "css": "text/css",
    "csv": "text/csv",
    "xml": "text/xml",
    "rtf": "text/rtf",
    "json": "application/json",
    "py": "text/x-python",
    "js": "text/javascript",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mov": "video/quicktime",
    "webm": "video/webm",
}
"""Media types by the ending of a name."""
_UNKNOWN: Final = "application/octet-stream"


def is_read_by_gemini(url: str) -> bool:
    """Whether Gemini reads this address itself: its own files, Cloud Storage, YouTube."""
    return _OWN_ADDRESS.match(url) is not None


def media_part(part: Item, path: str, asking: Asking) -> Item:
    """Return the part for content other than text. Raises ClientFault."""
    match part["type"]:
        case "input_image" | "computer_screenshot":
            return _of(part, "image_url", path, asking)
        case "input_file" if isinstance(part.get("file_data"), str):
            return _file_data(part["file_data"], str(part.get("filename") or ""))
        case "input_file":
            return _of(part, "file_url", path, asking)
        case "input_video":
            return _of(part, "video_url", path, asking)
        case "input_audio" if isinstance(part.get("input_audio"), dict):
            audio = part["input_audio"]
            return _inline(f"audio/{audio.get('format') or 'wav'}", str(audio.get("data") or ""))
        case kind:
            raise lacks(f"{path}.type", f"content of type '{kind}'", asking.profile)


def _of(part: Item, member: str, path: str, asking: Asking) -> Item:
    url, file_id = part.get(member), part.get("file_id")
    if not isinstance(url, str):
        if isinstance(file_id, str) and file_id.startswith("files/"):
            return {"fileData": {"fileUri": _FILES + file_id}}
        raise lacks(f"{path}.file_id", "files that it was not given itself (`files/…`)", asking.profile)
    if found := read_inline(url):
        return _inline(found.media_type or _UNKNOWN, found.data)
    if is_read_by_gemini(url):
        kind = _type_of(url)
        return {"fileData": ({"mimeType": kind} if kind else {}) | {"fileUri": url}}
    if url in asking.downloads:
        return _inline(*downloaded(asking.downloads[url]))
    raise lacks(f"{path}.{member}", "files at other addresses", asking.profile)


def _file_data(data: str, name: str) -> Item:
    found = read_inline(data)
    if found is None:
        return _inline(_type_of(name) or _UNKNOWN, data)
    kind = found.media_type if found.media_type not in ("", _UNKNOWN) else _type_of(name)
    return _inline(kind or _UNKNOWN, found.data)


def _inline(kind: str, data: str) -> Item:
    return {"inlineData": {"mimeType": kind, "data": data}}


def _type_of(name: str) -> str | None:
    return _TYPES.get(name.partition("?")[0].rpartition(".")[2].lower())
