"""Antiphon: an LLM gateway that records every answer, and replays it."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from antiphon.app import create_app

__all__ = ["__version__", "create_app"]

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # Whoever wants only the version, as the command line does, need not wait for the whole gateway.
    if name == "create_app":
        return import_module("antiphon.app").create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
