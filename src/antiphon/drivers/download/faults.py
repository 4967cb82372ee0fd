"""What is wanted, and what a client is told when it cannot be had."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from antiphon.settings import Downloads
from antiphon.wire.errors import ClientFault


class Kind(StrEnum):
    """What a URL is said to lead to."""

    IMAGE = "image"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something to fetch."""

    url: str
    param: str
    """Where the URL stands in the request: `input[0].content[1].image_url`."""
    accept: tuple[str, ...]
    """Media types: `image/png`, `text/*`."""
    kind: Kind = Kind.IMAGE


class _Codes(NamedTuple):
    """The Responses API specification, section 6.3; those for files are made alike."""

    url: str
    failed: str
    size: str
    media_type: str
    empty: str


_CODES: Final = {
    Kind.IMAGE: _Codes(
        "invalid_image_url",
        "failed_to_download_image",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
    ),
    Kind.FILE: _Codes(
        "invalid_file_url",
        "failed_to_download_file",
        "file_too_large",
        "unsupported_file_media_type",
        "empty_file",
    ),
}


class Faults:
    """What a client is told of one download. Nothing in it depends on what stands inside the network."""

    def __init__(self, wanted: Wanted, settings: Downloads) -> None:
        """Speak of `wanted`, and of the bounds in `settings`."""
        self.wanted = wanted
        self._settings = settings
        self._codes = _CODES[wanted.kind]

    def invalid_url(self) -> ClientFault:
        """Not a URL that anybody could fetch."""
        return self._fault(
            self._codes.url,
            f"The {self.wanted.kind}'s URL must be http(s)://HOST/… without a user, or a data URL.",
        )

    def disabled(self) -> ClientFault:
        """The configuration says no."""
        return self._fault(
            self._codes.failed,
            f"This gateway downloads nothing for this model; send the {self.wanted.kind} as a data URL.",
        )

    def failed(self) -> ClientFault:
        """No answer: refused here, unreachable, broken off, misdirected or late."""
        return self._fault(
            self._codes.failed,
            f"The {self.wanted.kind} could not be downloaded: it must be on the public internet and arrive within "
            f"{self._settings.timeout:g} s. It can also be sent as a data URL.",
        )

    def failed_with(self, status: int) -> ClientFault:
        """An answer, but not the file."""
        return self._fault(
            self._codes.failed,
            f"The {self.wanted.kind} could not be downloaded: its server answered {status}.",
        )

    def wrong_type(self) -> ClientFault:
        """Something else than was asked for."""
        return self._fault(
            self._codes.media_type,
            f"What the URL leads to is not of a type that is accepted here: {', '.join(self.wanted.accept)}.",
        )

    def too_large(self) -> ClientFault:
        """More than one file may have."""
        return self._fault(
            self._codes.size, f"The {self.wanted.kind} is larger than {self._settings.max_bytes} bytes."
        )

    def too_much(self) -> ClientFault:
        """More than all files of a request may have."""
        return self._fault(
            self._codes.size,
            f"The images and files of this request are together larger than {self._settings.max_request_bytes} bytes.",
        )

    def empty(self) -> ClientFault:
        """Nothing at all."""
        return self._fault(self._codes.empty, f"The {self.wanted.kind} is empty.")

    def _fault(self, code: str, message: str) -> ClientFault:
        return ClientFault(message, code=code, param=self.wanted.param)
