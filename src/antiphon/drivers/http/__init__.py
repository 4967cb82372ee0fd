"""HTTP out: a provider asked over pooled HTTP/1.1 connections."""

from antiphon.drivers.http.limits import Limits
from antiphon.drivers.http.proxy import Proxy, proxy_from_environment
from antiphon.drivers.http.upstream import HttpUpstream, http_upstream

__all__ = ["HttpUpstream", "Limits", "Proxy", "http_upstream", "proxy_from_environment"]
