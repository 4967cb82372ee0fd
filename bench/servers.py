"""The servers: the gateway as a user starts it, nginx doing the nearest thing, and the upstream of both."""

import os
import subprocess
import sys
from pathlib import Path

from bench.machine import find_tool, on_core
from bench.processes import BenchError, Server, free_port

PASSED = "/passed"
"""Prefix of nginx's paths that go to the upstream each time."""
UNBUFFERED = "/unbuffered"
"""…and hand on each piece of an answer as it comes."""
CACHED = "/cached"
"""…and are answered from nginx's cache."""

_NGINX = """\
{user}
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log access.log combined;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_buffer_size 64k;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    proxy_cache_path cache levels=1:2 keys_zone=answers:10m inactive=1h;
    upstream simulator {{
        server 127.0.0.1:{upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        location {passed}/ {{
            proxy_pass http://simulator/;
        }}
        location {unbuffered}/ {{
            proxy_pass http://simulator/;
            proxy_buffering off;
        }}
        location {cached}/ {{
            proxy_pass http://simulator/;
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key "$request_uri|$request_body";
            proxy_cache_valid 200 1h;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
"""

_ANTIPHON = """\
server: {{port: {port}}}
providers:
{providers}
models:
  fast: {{target: responses/{model}}}
storage: {{url: "{storage}"}}
{cache}
{more}
"""


PROVIDERS = {
    "responses": ("openai", "/v1"),
    "chat": ("openai-chat", "/v1"),
    "messages": ("anthropic", "/v1"),
    "gemini": ("gemini", "/v1beta"),
    "ollama": ("ollama", ""),
}
"""What the gateway calls the upstream for each dialect: (type, path of the base URL). The first has chat too."""
MODEL = "gpt-5-mini"


def start_simulator(folder: Path, *, gap: float = 0.0, frames: int = 200) -> Server:
    """Start the upstream, on this process's core."""
    command = [sys.executable, "-m", "antiphon.drivers.simulator", "--json-bytes", "1024"]
    command += ["--frames", str(frames), "--gap", str(gap)]
    with (folder / "simulator.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(), stdout=subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    with process.stdout:
        port = process.stdout.readline()
    if not port:
        raise BenchError(f"the upstream did not start: {(folder / 'simulator.log').read_text()[-2000:]}")
    return Server("upstream", int(port), process)


def start_nginx(folder: Path, upstream: int, core: int | None) -> Server:
    """Start nginx with one worker."""
    nginx = find_tool("nginx")
    assert nginx is not None
    port = free_port()
    text = _NGINX.format(
        # The workers must reach a folder that belongs to this user alone.
        user="user root;" if os.geteuid() == 0 else "",
        upstream=upstream,
        port=port,
        passed=PASSED,
        unbuffered=UNBUFFERED,
        cached=CACHED,
    )
    (folder / "nginx.conf").write_text(_without_absent_modules(text, nginx))
    with (folder / "nginx.log").open("wb") as log, on_core(core):
        process = subprocess.Popen([nginx, "-p", f"{folder}/", "-c", "nginx.conf"], cwd=folder, stderr=log)
    return Server("nginx", port, process)


def start_gateway(
    folder: Path,
    upstream: int,
    core: int | None,
    *,
    cache: bool,
    wrapper: tuple[str, ...] = (),
    storage: str = "sqlite:///antiphon.db",
    more: str = "",
) -> Server:
    """Start the gateway with its defaults and `more`; `wrapper` stands between the interpreter and the module."""
    port = free_port()
    configuration = folder / "antiphon.yaml"
    # An empty section is a cache with its defaults.
    configuration.write_text(
        _ANTIPHON.format(
            port=port,
            model=MODEL,
            providers="\n".join(
                f'  {name}: {{type: {kind}, base_url: "http://127.0.0.1:{upstream}{path}", api_key: sk-upstream}}'
                for name, (kind, path) in PROVIDERS.items()
            ),
            cache="cache: {}" if cache else "",
            storage=storage,
            more=more,
        )
    )
    command = [sys.executable, *wrapper, "-m", "antiphon", "serve", "--config", str(configuration)]
    with (folder / "antiphon.log").open("wb") as log, on_core(core):
        process = subprocess.Popen(command, cwd=folder, env=_environment(), stdout=log, stderr=log)
    return Server("Antiphon", port, process, lags=True)


def _environment() -> dict[str, str]:
    """Leave out proxies: a request to this machine must not go through one."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def _without_absent_modules(text: str, nginx: str) -> str:
    built = subprocess.run([nginx, "-V"], capture_output=True).stderr.decode()
    absent = [name for name in ("fastcgi", "uwsgi", "scgi") if f"--without-http_{name}_module" in built]
    lines = (line for line in text.splitlines() if not line.strip().startswith(tuple(absent or ("\0",))))
    return "\n".join(lines) + "\n"
