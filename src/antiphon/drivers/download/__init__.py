"""Fetching what a client names by URL, for upstreams that do not fetch it themselves."""

from antiphon.drivers.download.answer import Downloaded
from antiphon.drivers.download.downloader import MAX_DOWNLOADS, Downloader, Resolver
from antiphon.drivers.download.faults import Kind, Wanted

__all__ = ["MAX_DOWNLOADS", "Downloaded", "Downloader", "Kind", "Resolver", "Wanted"]
