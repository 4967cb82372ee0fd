"""Load for whole answers: wrk, told in Lua what to send."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.machine import find_tool
from bench.processes import BenchError
from bench.requests import SERIAL_DIGITS, Body, head

CONNECTIONS = 16
SERIALS_PER_RUN = 1_000_000
"""No run sends as many, so no serial number is used twice."""

Script = Callable[[Body, str, int], str]
"""(body, prefix of the path, first serial number) -> the part of a wrk script that says what is sent."""

_BLANKS = " \t\r\n"
_DONE = """
done = function(summary, latency, requests)
    local errors = summary.errors
    print(string.format(
        'RESULT {"requests": %d, "microseconds": %d, "errors": %d, "p50": %f, "p90": %f, "p99": %f}',
        summary.requests, summary.duration,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout,
        latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    percentiles_ms: tuple[float, float, float]
    """p50, p90 and p99 of the time from request to the whole answer."""


def same(body: Body, prefix: str, serial: int) -> str:  # noqa: ARG001 - a Script
    """Send the same bytes again and again."""
    request = body.request(serial=0, prefix=prefix).decode()
    return f"local whole = {_quoted(request)}\nrequest = function() return whole end\n"


def unique(body: Body, prefix: str, serial: int) -> str:
    """Send another prompt each time: a serial number stands in it."""
    before, after = body.around_serial()
    start = head(prefix + body.path, len(body.text()))
    return f"""
local serial, before, after = {serial}, {_quoted(start + before)}, {_quoted(after)}
request = function()
    serial = serial + 1
    return before .. string.format("%0{SERIAL_DIGITS}d", serial) .. after
end
"""


def rephrased(body: Body, prefix: str, serial: int) -> str:
    """Send the same meaning in other bytes each time.

    The members of the object stand in another order, and the digits of a serial number are spelt in the blanks
    between them: no two requests are equal.
    """
    members = [f"{json.dumps(name)}:{value}" for name, value in body.members]
    blanks = [one + other for one in _BLANKS for other in _BLANKS]
    assert len(blanks) ** len(members) > 1000 * SERIALS_PER_RUN
    length = sum(map(len, members)) + 2 * len(members) + len(members) - 1 + 2
    return f"""
local start = {_quoted(head(prefix + body.path, length))}
local members = {{ {", ".join(map(_quoted, members))} }}
local blanks = {{ {", ".join(map(_quoted, blanks))} }}
local serial, count, parts = {serial}, #members, {{}}
request = function()
    serial = serial + 1
    local rest = serial
    for place = 1, count do
        local digit = rest % #blanks
        rest = math.floor(rest / #blanks)
        parts[place] = blanks[digit + 1] .. members[(place + serial) % count + 1]
    end
    return start .. "{{" .. table.concat(parts, ",") .. "}}"
end
"""


def run_wrk(folder: Path, port: int, script: str, seconds: int) -> Loaded:
    """Keep all connections busy for so long."""
    wrk = find_tool("wrk")
    assert wrk is not None
    file = folder / "load.lua"
    file.write_text(script + _DONE)
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(file), f"http://127.0.0.1:{port}/"]
    done = subprocess.run(command, capture_output=True)
    said = done.stdout.decode()
    _, found, result = said.partition("RESULT ")
    if not found:
        raise BenchError(f"wrk did not finish: {said}{done.stderr.decode()}")
    values = json.loads(result.splitlines()[0])
    if values["errors"] or not values["requests"]:
        raise BenchError(f"wrk counted {values['errors']} errors in {values['requests']} requests")
    p50, p90, p99 = (values[name] / 1000 for name in ("p50", "p90", "p99"))
    return Loaded(values["requests"], values["microseconds"] / 1e6, (p50, p90, p99))


def _quoted(text: str) -> str:
    """Write a Lua string; decimal escapes are always three digits long."""
    return '"' + "".join(c if c.isalnum() or c in " .,:;/-" else f"\\{ord(c):03d}" for c in text) + '"'
