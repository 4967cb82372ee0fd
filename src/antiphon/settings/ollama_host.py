"""Where Ollama is, in the ways in which its users write it.

`OLLAMA_HOST` is also what Ollama itself binds (https://docs.ollama.com/faq): `host`, `host:port`, `:port`, with or
without a scheme, and perhaps an address that means all interfaces.
"""

from typing import Final

_PORT: Final = 11434
_ANY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104 - read, never bound
_APIS: Final = ("/v1", "/api")


def ollama_url(written: str) -> str:
    """Return the base URL; what is no address stays as it is, and is refused as a base URL."""
    scheme, has_scheme, rest = written.strip().rpartition("://")
    authority, slash, path = rest.partition("/")
    host, port = _split(authority)
    if not port and not has_scheme:
        port = str(_PORT)
    url = f"{scheme or 'http'}://{_ANY.get(host, host)}" + (f":{port}" if port else "")
    whole = (url + slash + path).rstrip("/")
    for api in _APIS:
        whole = whole.removesuffix(api)  # clients of its OpenAI-compatible API write it with `/v1`
    return whole


def _split(authority: str) -> tuple[str, str]:
    """Split host and port; an IPv6 address may come without its brackets."""
    if authority.count(":") > 1 and not authority.startswith("["):
        return f"[{authority}]", ""
    if authority.endswith("]"):
        return authority, ""
    host, _, port = authority.partition("]:") if authority.startswith("[") else authority.partition(":")
    return (f"{host}]" if authority.startswith("[") else host), port
