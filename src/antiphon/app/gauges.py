"""What one worker shows of itself at `/metrics`, beside what it has counted."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from antiphon.app.semantic import semantic_gauges
from antiphon.engine.flights.sharing import Sharing
from antiphon.engine.second_level import SecondLevel
from antiphon.gateway.metrics import Gauge

if TYPE_CHECKING:
    from antiphon.app.application import Application


def gauges_of(gateway: "Application") -> Iterable[Gauge]:
    """Return what there is to see at the moment."""
    storage = gateway.storage
    return (
        *semantic_gauges(gateway.semantic),
        Gauge("runs_queued", "Background answers that wait to be begun.", gateway.runs.queued, across="max"),
        Gauge("runs_in_progress", "Background answers that are being made.", gateway.runs.running),
        Gauge(
            "idempotency_running", "Requests with an idempotency key under way.", gateway.idempotency.running
        ),
        Gauge(
            "idempotency_replayed_requests",
            "Requests that were told what an earlier one with their key was answered with.",
            gateway.idempotency.replayed,
        ),
        Gauge("live_recordings", "Answers that are being recorded now.", gateway.producing.count),
        Gauge("cache_memory_entries", "Entries in the memory level of the cache.", len(gateway.memory)),
        Gauge("cache_memory_bytes", "Bytes in the memory level of the cache.", gateway.memory.size),
        Gauge("cache_memory_evictions", "Entries that had to make room.", gateway.memory.evictions),
        Gauge(
            "cache_unheard_seconds",
            "How long ago it was last looked whether something was purged; the worst of all workers.",
            0.0 if gateway.changing is None else gateway.changing.unheard_seconds,
            across="max",
        ),
        *(() if gateway.second_level is None else _gauges_of(gateway.second_level)),
        *(() if gateway.producing.sharing is None else _flight_gauges_of(gateway.producing.sharing)),
        Gauge("ledger_queued_rows", "Usage rows that are not written yet.", gateway.accounts.queued),
        Gauge("ledger_lost_rows", "Usage rows lost because storage was gone.", gateway.accounts.lost),
        Gauge("storage_queued_writes", "Writes that wait for storage.", storage.queued),
        Gauge("storage_dropped_writes", "Cache entries not stored: full queue.", storage.dropped),
        Gauge("storage_failed_writes", "Writes that storage refused.", storage.failed),
    )


def _gauges_of(level: SecondLevel) -> Iterable[Gauge]:
    yield Gauge(
        "cache_level_available",
        "Whether the second level of the cache is asked: 0 where a worker has paused it.",
        float(level.is_available),
        across="min",
    )
    for outcome, count in level.outcomes.items():
        help_ = "Look-ups in the second level of the cache."
        yield Gauge("cache_level_lookups", help_, count, {"outcome": outcome})
    help_ = "Entries that the second level did not take: too many waited to be written, or it is full."
    yield Gauge("cache_level_dropped_writes", help_, level.dropped)
    help_ = "Stored entries that counted as misses because they cannot be read."
    yield Gauge("cache_unreadable_entries", help_, level.unreadable)


def _flight_gauges_of(sharing: Sharing) -> Iterable[Gauge]:
    yield Gauge("flights_led", "Requests in flight that other workers and hosts may follow.", sharing.led)
    yield Gauge("flights_followed", "Requests that follow another worker's or host's.", sharing.followed)
    help_ = "Requests that asked the upstream since it was not said in time whether another worker does."
    yield Gauge("flights_alone", help_, sharing.alone)
