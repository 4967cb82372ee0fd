"""Pictures in the answers of chat completions, as OpenRouter and those who follow it write them: data URLs."""

import re
from typing import Any, Final

from antiphon.turn.events import Item

_DATA_URL: Final = re.compile(r"data:image/([a-z0-9.+-]+);base64,", re.IGNORECASE)


def made_image(image: Any) -> Item | None:
    """Return the item of an entry of `images`; None for what holds no picture."""
    holder = image.get("image_url") if isinstance(image, dict) else None
    url = holder.get("url") if isinstance(holder, dict) else holder
    found = _DATA_URL.match(url) if isinstance(url, str) else None
    if found is None:
        return None
    item = {"type": "image_generation_call", "status": "completed", "result": found.string[found.end() :]}
    return item | {"output_format": found[1].lower()}


def shown_image(item: Item) -> Item:
    """Return the entry of `images` for an item with a picture."""
    url = f"data:image/{item.get('output_format') or 'png'};base64,{item['result']}"
    return {"type": "image_url", "image_url": {"url": url}}
