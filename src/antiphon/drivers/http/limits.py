"""What an upstream is allowed: seconds and connections."""

from dataclasses import dataclass

from antiphon.settings import Provider

MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 200
KEEP_ALIVE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeouts in seconds, and how many connections there may be."""

    connect_timeout: float = 10.0
    first_byte_timeout: float = 300.0
    idle_timeout: float = 120.0
    total_timeout: float = 3600.0
    max_connections: int = 1000
    max_waiting: int = 1000
    """Requests that wait for one of the connections; one more is refused at once."""
    keep_alive: float = KEEP_ALIVE_SECONDS

    @classmethod
    def of(cls, provider: Provider) -> "Limits":
        """Take the limits from a provider's settings."""
        return cls(
            connect_timeout=provider.connect_timeout,
            first_byte_timeout=provider.first_byte_timeout,
            idle_timeout=provider.idle_timeout,
            total_timeout=provider.total_timeout,
            max_connections=provider.max_connections,
            max_waiting=provider.max_connections,
        )

    @property
    def tick(self) -> float:
        """How often deadlines are looked at: fine enough to be late by an eighth, at most by a second."""
        shortest = min(
            self.connect_timeout,
            self.first_byte_timeout,
            self.idle_timeout,
            self.total_timeout,
            self.keep_alive,
        )
        return min(1.0, max(0.005, shortest / 8))
