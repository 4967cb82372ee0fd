"""The environment variables by which programs find a gateway."""

from collections.abc import Mapping

_UNUSED = "unused"
"""Client libraries want a key, whoever they talk to."""
_LOOPBACK = "127.0.0.1"


def variables_for(url: str, environ: Mapping[str, str], *, is_offline: bool) -> dict[str, str]:
    """Return what to set so that the clients of OpenAI and Anthropic ask the gateway at `url`.

    Keys stay as they are where there are any. `is_offline` is whether nothing is to be sent elsewhere.
    """
    variables = {"OPENAI_BASE_URL": f"{url}/v1", "ANTHROPIC_BASE_URL": url}
    variables |= {name: _UNUSED for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY") if not environ.get(name)}
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [host for host in environ.get(name, "").split(",") if host]
        if _LOOPBACK not in hosts and "*" not in hosts:
            variables[name] = ",".join((*hosts, _LOOPBACK))
    if is_offline:
        # The agents library would report its runs to OpenAI, wherever its models are.
        variables["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
    return variables
