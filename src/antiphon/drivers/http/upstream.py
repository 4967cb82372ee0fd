"""A provider reached over HTTP: its pool of connections, who waits for one, and its deadlines.

A call that finds an idle connection costs no task, no future and no timer: its request is written in `send`. One timer
for the whole pool looks at all deadlines, a few times within the shortest of them.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Mapping

from antiphon.drivers.http import faults
from antiphon.drivers.http.call import HttpCall
from antiphon.drivers.http.connection import HttpConnection
from antiphon.drivers.http.dial import dial
from antiphon.drivers.http.heads import Headers, Origin, RequestHeads
from antiphon.drivers.http.limits import Limits
from antiphon.drivers.http.proxy import Proxy, proxy_from_environment
from antiphon.ports.upstream import AnswerSink, UpstreamRequest
from antiphon.settings import Provider
from antiphon.wire.errors import UpstreamFault

_CLOSING_SECONDS = 1.0


def http_upstream(
    provider: Provider,
    *,
    base_url: str,
    headers: Headers = (),
    environ: Mapping[str, str],
    ssl_context: ssl.SSLContext | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
) -> "HttpUpstream":
    """Make the upstream of a configured provider; `headers` win over those in its settings."""
    configured = tuple(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in provider.headers.items()
    )
    return HttpUpstream(
        base_url,
        headers=configured + headers,
        limits=Limits.of(provider),
        ssl_context=ssl_context,
        proxy=proxy_from_environment(base_url, environ),
        loop=loop,
    )


class _Attempt:
    """A connection being opened, for whoever waits longest or, when a call is sent again, for that call."""

    __slots__ = ("call", "task")

    task: "asyncio.Task[None]"

    def __init__(self, call: HttpCall | None) -> None:
        self.call = call


class HttpUpstream:
    """Implements `ports.upstream.Upstream` over HTTP/1.1."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Headers = (),
        limits: Limits | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        address: str | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Open nothing yet. ValueError for a base URL or headers that must not be sent.

        With an `address` connections go there, and the name in the base URL is not resolved.
        """
        self._origin = Origin.from_url(base_url)
        self._heads = RequestHeads(self._origin, headers, proxy)
        self._limits = limits or Limits()
        self._tls = ssl_context
        self._proxy = proxy
        self._address = address
        self._loop = loop or asyncio.get_running_loop()
        self._time = self._loop.time
        self._connections: set[HttpConnection] = set()
        self._idle: list[HttpConnection] = []
        self._attempts: set[_Attempt] = set()
        self._opening = 0
        """Attempts for those who wait, without those for calls that are sent again."""
        self._waiting: deque[HttpCall] = deque()
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None
        """Made by `close`; whoever finds one knows that the upstream is closing."""

    def send(self, request: UpstreamRequest, sink: AnswerSink) -> HttpCall:
        """Start a request, at once where a connection is idle. ValueError for a head that must not be sent."""
        head = self._heads.head(request)
        call = HttpCall(self, sink, head, request.body, self._time() + self._limits.total_timeout)
        idle = self._idle
        while idle:
            connection = idle.pop()
            if not connection.is_closing:
                connection.begin(call)
                return call
        self._queue(call)
        return call

    async def close(self) -> None:
        """Close all connections; calls under way end with the fault `shutting_down`."""
        if self._emptied is None:
            self._emptied = asyncio.Event()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        while self._waiting:
            self._waiting.popleft().break_off(faults.shutting_down())
        for connection in tuple(self._connections):
            connection.fail(faults.shutting_down())
        tasks = [attempt.task for attempt in self._attempts]
        for attempt in tuple(self._attempts):
            attempt.task.cancel()
            if attempt.call is not None:
                attempt.call.break_off(faults.shutting_down())
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._emptied.wait()

    # From connections and calls -------------------------------------------------------------------------------

    def release(self, connection: HttpConnection) -> None:
        """Take back a connection that can serve another call."""
        if self._waiting:
            connection.begin(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, connection: HttpConnection) -> None:
        """Strike out a closed connection; its place goes to whoever waits."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._emptied is not None:
            if not self._connections:
                self._emptied.set()
        else:
            self._open_for_waiting()

    def retry(self, call: HttpCall) -> None:
        """Send a call again, on a connection that cannot be stale."""
        if self._emptied is not None:
            call.break_off(faults.shutting_down())
            return
        call.is_retried = True
        self._open(call)

    def forget(self, call: HttpCall) -> None:
        """Drop a cancelled call that waits for a connection."""
        with contextlib.suppress(ValueError):
            self._waiting.remove(call)

    # Waiting and opening --------------------------------------------------------------------------------------

    def _queue(self, call: HttpCall) -> None:
        limits = self._limits
        if self._emptied is not None:
            self._loop.call_soon(call.break_off, faults.shutting_down())
        elif len(self._connections) + len(self._attempts) < limits.max_connections:
            self._waiting.append(call)
            self._open(None)
        elif len(self._waiting) - self._opening < limits.max_waiting:
            call.wait_until = self._time() + limits.connect_timeout
            self._waiting.append(call)
        else:
            self._loop.call_soon(
                call.break_off,
                faults.busy(f"all {limits.max_connections} connections and the queue are taken"),
            )

    def _open_for_waiting(self) -> None:
        while (
            len(self._waiting) > self._opening
            and len(self._connections) + len(self._attempts) < self._limits.max_connections
        ):
            self._open(None)

    def _open(self, call: HttpCall | None) -> None:
        attempt = _Attempt(call)
        self._attempts.add(attempt)
        self._opening += call is None
        attempt.task = self._loop.create_task(self._establish(attempt), name="upstream-connect")
        if self._sweeper is None:
            self._arm()

    async def _establish(self, attempt: _Attempt) -> None:
        fault = None
        connection = None
        try:
            connection = await dial(
                self._loop,
                lambda: HttpConnection(self, self._time),
                self._origin,
                tls=self._tls,
                proxy=self._proxy,
                within=self._limits.connect_timeout,
                address=self._address,
            )
        except UpstreamFault as error:
            fault = error
        finally:
            self._attempts.discard(attempt)
            self._opening -= attempt.call is None
        if connection is not None and connection.is_closing:
            fault = faults.reset()
        if fault is not None or connection is None:
            self._give_up(attempt.call, fault or faults.reset())
        elif self._emptied is not None:
            connection.abort()
        else:
            self._connections.add(connection)
            if attempt.call is not None and not attempt.call.is_over:
                connection.begin(attempt.call)
            else:
                self.release(connection)

    def _give_up(self, call: HttpCall | None, fault: UpstreamFault) -> None:
        if call is not None:
            call.break_off(fault)
        elif len(self._waiting) > self._opening:
            # Otherwise another attempt is under way for each who waits.
            self._waiting.popleft().break_off(fault)
        self._open_for_waiting()

    # Deadlines ------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._sweeper = self._loop.call_later(self._limits.tick, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        if not (self._connections or self._attempts or self._waiting):
            return
        # First, so that a sink that raises does not end all timeouts.
        self._arm()
        now = self._time()
        self._sweep_waiting(now)
        for connection in tuple(self._connections):
            fault = connection.overdue(now, self._limits)
            if fault is not None:
                connection.fail(fault)
        # Released in order, so the longest idle are in front.
        while self._idle and now - self._idle[0].heard_at >= self._limits.keep_alive:
            self._idle.pop(0).abort()

    def _sweep_waiting(self, now: float) -> None:
        limits = self._limits
        for call in [call for call in self._waiting if now >= min(call.wait_until, call.deadline)]:
            if call.is_over:
                continue
            self.forget(call)
            if now >= call.deadline:
                call.break_off(faults.total_timeout(limits.total_timeout))
            else:
                call.break_off(faults.busy(f"no connection became free within {limits.connect_timeout:g} s"))
        for attempt in tuple(self._attempts):
            if attempt.call is not None and now >= attempt.call.deadline:
                attempt.call.break_off(faults.total_timeout(limits.total_timeout))
