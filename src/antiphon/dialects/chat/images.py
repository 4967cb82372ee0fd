"""Pictures in the answers of chat completions, as OpenRouter and those who follow it write them."""

import re
from typing import Any, Final

from antiphon.turn.events import Item

_DATA_URL: Final = re.compile(r"data:image/([a-z0-9.+-]+);base64,", re.IGNORECASE)


def made_image(url: Any) -> Item | None:
    """Return the item of a picture that a data URL holds; None for anything else."""
    found = _DATA_URL.match(url) if isinstance(url, str) else None
    if found is None:
        return None
    return {
        "type": "image_generation_call",
        "status": "completed",
        "result": url[found.end() :],
        "output_format": found[1].lower(),
    }
