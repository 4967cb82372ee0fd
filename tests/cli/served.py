"""`antiphon serve` as processes of their own."""

import asyncio
import contextlib
import json
import os
import signal
import sys

from waiting import PATIENCE, eventually


class Served:
    """A running `antiphon serve`, and what it has written."""

    def __init__(self, process):
        self.process = process
        self.port = 0
        self.lines = []
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self):
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip("\n"))

    async def ready(self):
        await eventually(lambda: self._reading.done() or any(" answers at " in line for line in self.lines))
        (greeting,) = [line for line in self.lines if " answers at " in line]
        self.port = int(greeting.partition("http://127.0.0.1:")[2].partition("/")[0])
        return self

    def events(self, beginning):
        """What the log says so far, of one kind."""
        said = [json.loads(line)["event"] for line in self.lines if line.startswith("{")]
        return [event for event in said if event.startswith(beginning)]

    async def ended(self):
        """Wait for the end of the process; return its exit code."""
        async with asyncio.timeout(PATIENCE):
            await self._reading
            return await self.process.wait()

    async def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()


@contextlib.asynccontextmanager
async def starting(folder, base_url, *arguments, **sections):
    """Start the command with a configuration file in `folder`; sections are JSON, which YAML is too."""
    config = {
        "server": {"port": 0},
        "providers": {
            "up": {"type": "openai", "base_url": base_url, "api_key": "sk-up", "models": ["gpt-test"]}
        },
        "cache": {},
        "storage": {"url": f"sqlite:///{folder}/antiphon.db"},
        **sections,
    }
    file = folder / "antiphon.yaml"
    file.write_text(json.dumps(config))
    environ = {
        name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_BASE_URL"))
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "antiphon", "serve", "--config", str(file), *arguments),
        stderr=asyncio.subprocess.PIPE,
        env=environ,
        umask=0,
    )
    served = Served(process)
    try:
        yield served
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await served.ended()


@contextlib.asynccontextmanager
async def serving(folder, base_url, *arguments, **sections):
    async with starting(folder, base_url, *arguments, **sections) as served:
        yield await served.ready()
