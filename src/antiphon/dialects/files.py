"""Images and files that a request names by URL, and which of them an upstream has to be handed."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from antiphon.dialects.providers import Profile
from antiphon.turn.request import HubRequest

Kind = Literal["image", "file"]

_MEMBERS: Final[tuple[tuple[str, Kind], ...]] = (("image_url", "image"), ("file_url", "file"))
_SCHEMES: Final = ("http://", "https://")


class NamedFile(NamedTuple):
    """A file by its URL."""

    url: str
    path: str
    """Where the URL stands in the request: `input[0].content[1].image_url`."""
    kind: Kind


def unreachable_files(request: HubRequest, profile: Profile) -> list[NamedFile]:
    """Return the files that a provider does not fetch itself, each URL once."""
    fetched = {"image": profile.image_urls, "file": profile.file_urls}
    found = {file.url: file for file in _named(request) if not fetched[file.kind]}
    return [file for file in found.values() if not file.url.startswith(profile.own_files)]


def _named(request: HubRequest) -> Iterator[NamedFile]:
    for index, item in enumerate(request["input"]):
        holder = "output" if item["type"].endswith("_output") else "content"
        parts = item.get(holder)
        for place, part in enumerate(parts if isinstance(parts, list) else ()):
            for member, kind in _MEMBERS:
                url = part.get(member)
                if isinstance(url, str) and url.lower().startswith(_SCHEMES):
                    yield NamedFile(url, f"input[{index}].{holder}[{place}].{member}", kind)
