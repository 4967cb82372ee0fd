"""How many input tokens a request is, in the shape of a Responses API create body.

Text is counted by whoever knows the tokenizer. The rest are rules: what a model's template adds, OpenAI's tiles for
images, bytes for files. What has the wrong type is not counted: this is not the place that refuses it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Final

from antiphon.turn.tokens import OPENAI, Template
from antiphon.wire.data_url import is_data_url
from antiphon.wire.images import HEADER_BYTES, read_image_header

LOW_DETAIL_TOKENS: Final = 85
TILE_TOKENS: Final = 170
UNKNOWN_IMAGE_TOKENS: Final = LOW_DETAIL_TOKENS + 4 * TILE_TOKENS
"""An image of 1024 by 1024 pixels."""
UNKNOWN_FILE_TOKENS: Final = 2000
_TEXT_BYTES_PER_TOKEN: Final = 4
_FILE_BYTES_PER_TOKEN: Final = 20
"""Of documents, which are compressed and more layout than text."""
_AUDIO_BYTES_PER_TOKEN: Final = {"wav": 4800, "mp3": 1600}
"""A tenth of a second, of 24,000 samples of 16 bits, or at 128 kbit/s."""
_LARGE: Final = 2048
_SHORT: Final = 768
_TILE: Final = 512
_MOST_DEPTH: Final = 20
_SPOKEN: Final = ("text", "refusal", "name", "arguments", "input", "code")
"""Members of items and parts whose text the model reads."""
_SILENT: Final = frozenset(
    {"id", "type", "status", "call_id", "annotations", "logprobs", "role", "phase", *_SPOKEN}
)

Counter = Callable[[str], int]


def count_request(request: Mapping[str, object], count: Counter, template: Template = OPENAI) -> int:
    """Sum up `instructions`, `input`, `tools` and `text.format`; `count` says how many tokens a text is."""
    total = template.per_request
    instructions = request.get("instructions")
    if isinstance(instructions, str) and instructions:
        total += template.per_message + count(instructions)
    given = request.get("input")
    if isinstance(given, str):
        total += template.per_message + count(given)
    elif isinstance(given, list):
        total += sum(template.per_message + _of_item(item, count, 0) for item in given)
    tools = request.get("tools")
    if isinstance(tools, list) and tools:
        # `count` has the family's factor for text in it, which the one for definitions stands in place of.
        defined = sum(_of_json(tool, count) for tool in tools) / template.factor
        total += template.for_tools + round(template.per_tool_token * defined)
    return total + _of_format(request.get("text"), count)


def image_tokens(width: int, height: int, detail: str) -> int:
    """Apply OpenAI's rule: into 2048 by 2048, the shorter side to 768, then by tiles of 512 by 512 pixels."""
    if detail == "low":
        return LOW_DETAIL_TOKENS
    if not width or not height:
        return UNKNOWN_IMAGE_TOKENS
    scale = min(1.0, _LARGE / max(width, height))
    scale = min(scale, _SHORT / min(width, height))
    tiles = _tiles(width * scale) * _tiles(height * scale)
    return LOW_DETAIL_TOKENS + TILE_TOKENS * tiles


def _tiles(pixels: float) -> int:
    return max(1, -(-round(pixels) // _TILE))


def _of_item(item: object, count: Counter, depth: int) -> int:
    """Count an item or a content part, with the parts in it."""
    if isinstance(item, str):
        return count(item)
    if isinstance(item, list) and depth < _MOST_DEPTH:
        return sum(_of_item(part, count, depth + 1) for part in item)
    if not isinstance(item, dict):
        return 0
    match item.get("type"):
        case "input_image" | "computer_screenshot":
            return _of_image(item)
        case "image_generation_call":
            return UNKNOWN_IMAGE_TOKENS
        case "input_file":
            return _of_file(item, count)
        case "input_audio":
            return _of_audio(item.get("input_audio"))
    total = sum(count(text) for name in _SPOKEN if isinstance(text := item.get(name), str))
    for name, value in item.items():
        if name in {"content", "output", "summary"}:
            total += _of_item(value, count, depth + 1)
        elif name == "encrypted_content" and isinstance(value, str):
            total += len(value) * 3 // 4 // _TEXT_BYTES_PER_TOKEN
        elif name not in _SILENT and value is not None:
            total += _of_json(value, count)
    return total


def _of_image(part: Mapping[str, object]) -> int:
    detail = part.get("detail")
    url = part.get("image_url")
    image = None
    if isinstance(url, str) and is_data_url(url):
        image = read_image_header(_first_bytes(url))
    width, height = (image.width, image.height) if image else (0, 0)
    return image_tokens(width, height, detail if isinstance(detail, str) else "auto")


def _first_bytes(url: str) -> bytes:
    start = url.find(",") + 1
    letters = url[start : start + HEADER_BYTES // 3 * 4]
    try:
        return base64.b64decode(letters[: len(letters) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _of_file(part: Mapping[str, object], count: Counter) -> int:
    data = part.get("file_data")
    if not isinstance(data, str):
        return UNKNOWN_FILE_TOKENS
    name = part.get("filename")
    size = (len(data) - data.find(",", 0, 256) - 1) * 3 // 4
    is_text = data[:10].lower().startswith("data:text/")
    named = count(name) if isinstance(name, str) else 0
    return named + size // (_TEXT_BYTES_PER_TOKEN if is_text else _FILE_BYTES_PER_TOKEN)


def _of_audio(audio: object) -> int:
    if not isinstance(audio, dict) or not isinstance(audio.get("data"), str):
        return 0
    return len(audio["data"]) * 3 // 4 // _AUDIO_BYTES_PER_TOKEN.get(str(audio.get("format")), 1600)


def _of_format(text: object, count: Counter) -> int:
    wanted = text.get("format") if isinstance(text, dict) else None
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return 0
    return _of_json(
        {name: wanted[name] for name in ("name", "description", "schema") if name in wanted}, count
    )


def _of_json(value: object, count: Counter) -> int:
    return count(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
