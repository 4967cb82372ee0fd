"""The composition of one worker: settings in, a gateway that answers out."""

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping

from antiphon.app.gauges import gauges_of
from antiphon.app.outside import (
    deck_of,
    flights_of,
    hints_of,
    hooks_of,
    redis_cache_of,
    redis_changes_of,
    sources_of,
)
from antiphon.app.reporting import Reporting
from antiphon.app.semantic import (
    check_semantic,
    embedding_of,
    semantic_level,
    semantic_routes,
)
from antiphon.cache.lifetimes import Lifetimes
from antiphon.drivers.download import Downloader
from antiphon.drivers.memory import MemoryCache
from antiphon.drivers.prices import Prices
from antiphon.drivers.storage import open_storage
from antiphon.engine.accounts import Accounts
from antiphon.engine.catalogue import Catalogue
from antiphon.engine.changing import Changing
from antiphon.engine.compacting import Compacting
from antiphon.engine.contexts import Contexts, Limits
from antiphon.engine.conversations import Conversations
from antiphon.engine.counting import Counting
from antiphon.engine.curating import Curating
from antiphon.engine.decisions import Decisions
from antiphon.engine.explaining import Explaining
from antiphon.engine.flights.sharing import Sharing
from antiphon.engine.idempotency.idempotency import Idempotency
from antiphon.engine.keeper import Keeper
from antiphon.engine.look_up import LookUp
from antiphon.engine.producing import Producing
from antiphon.engine.references import References
from antiphon.engine.replaying import Replaying
from antiphon.engine.runs.runs import Runs
from antiphon.engine.second_level import SecondLevel
from antiphon.engine.shelving import Shelves
from antiphon.engine.staleness import Staleness
from antiphon.engine.tasks import Tasks
from antiphon.engine.translating import Translating
from antiphon.engine.turns import Turns
from antiphon.engine.webhooks import Webhooks
from antiphon.gateway.around import Around
from antiphon.gateway.cache_admin import CacheAdmin
from antiphon.gateway.conversations import ConversationRoutes
from antiphon.gateway.explain import Explain
from antiphon.gateway.gateway import EMBEDDINGS_ROUTE, RESPONSES_ROUTE, Gateway
from antiphon.gateway.idempotent import Idempotent
from antiphon.gateway.kept import KeptResponses
from antiphon.gateway.keys import Keyring
from antiphon.gateway.metrics import Metrics
from antiphon.gateway.operations import Operations
from antiphon.gateway.sessions import Sessions
from antiphon.ports.storage import Storage, StorageUnusable
from antiphon.routing.names import Resolver
from antiphon.routing.placing import Placing
from antiphon.settings import ConfigurationError, Settings, checked
from antiphon.turn.usage import Usage
from antiphon.wire.errors import GatewayError
from antiphon.wire.sealing import NONCE_BYTES, Sealer

_SEALING = "sealing"
"""The name of the key that seals `encrypted_content`."""
_SWEEP_SECONDS = 60.0


class Application:
    """One worker's gateway, made and started in a running event loop."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        sealer: Sealer,
        *,
        environ: Mapping[str, str],
        wall_clock: Callable[[], float],
    ) -> None:
        """Build everything over opened storage; see `open`. Raises ConfigurationError."""
        self.settings = settings
        self.storage = storage
        self.sealer = sealer
        self.wall_clock = wall_clock
        self._tasks = Tasks()
        cache = settings.cache
        self.memory = MemoryCache(cache.memory.max_bytes if cache else 0, wall_clock)
        decisions = Decisions(cache.explain_bytes if cache else 0)
        self.deck = deck_of(settings)
        self._sources = sources_of(settings, environ, self.deck)
        prices = Prices()

        def price(provider: str, model: str, usage: Usage, at: float) -> float | None:
            known = settings.providers[provider]
            return prices.cost(known.type, known.base_url, model, usage, at)

        self.metrics = Metrics(lambda: gauges_of(self))
        self._reporting = Reporting(self)
        self.accounts = Accounts(
            ledger=storage.ledger,
            price=price,
            observe=self.metrics.observe,
            log_requests=settings.log.requests,
            tasks=self._tasks,
            wall_clock=wall_clock,
            note=decisions.note if cache else None,
        )
        self.redis_cache = redis_cache_of(settings, wall_clock)
        kept_in = self.redis_cache or storage.cache
        self._redis_changes = redis_changes_of(settings)
        self.changing = (
            Changing(
                self._redis_changes or storage.changes,
                self.memory,
                kept_in,
                self._tasks,
                trust=cache.memory.trust,
                wall_clock=wall_clock,
            )
            if cache
            else None
        )
        self.second_level = (
            None
            if cache is None or kept_in is None
            else SecondLevel(kept_in, timeout=cache.lookup_timeout, changing=self.changing, tasks=self._tasks)
        )
        shelves = Shelves(self.memory, self.second_level)
        translating = Translating(
            sealer=self.sealer,
            downloader=Downloader(settings.downloads),
            tasks=self._tasks,
            now=wall_clock,
        )
        self.semantic = semantic_level(
            settings, storage, self.memory, self.second_level, self._tasks, wall_clock
        )
        self.conversations = Conversations(storage.conversations, self._tasks)
        keeper = Keeper(
            storage.responses,
            self.conversations,
            retention=settings.responses.retention,
            wall_clock=wall_clock,
        )
        lifetimes = Lifetimes(cache, settings.models)
        self.producing = Producing(
            cache=cache,
            lifetimes=lifetimes,
            shelves=shelves,
            keeper=keeper,
            accounts=self.accounts,
            translate=translating.send,
            changing=self.changing,
            tasks=self._tasks,
            on_stored=None if self.semantic is None else self.semantic.stored,
            wall_clock=wall_clock,
            clock=time.monotonic,
        )
        self._flights = flights_of(settings, storage)
        if cache is not None and self._flights is not None:
            self.producing.sharing = Sharing(
                self._flights,
                self.producing,
                self.memory,
                self._tasks,
                time.monotonic,
                wall_clock,
                timeout=cache.lookup_timeout,
                max_bytes=cache.max_entry_bytes,
            )
        self.idempotency = Idempotency(storage.claims, self._tasks, settings.idempotency)
        self._hints = hints_of(settings)
        self._webhooks = Webhooks(storage.outbox, hooks_of(settings, environ), self._tasks, wall_clock)
        self.runs = Runs(
            storage.runs,
            storage.responses,
            self._sources,
            self._tasks,
            settings=settings.responses.background,
            retention=settings.responses.retention,
            finishes=settings.responses.on_disconnect == "finish",
            claims=settings.server.is_worker,
            hints=self._hints,
            notices=self._webhooks.notices,
            wall_clock=wall_clock,
        )
        references = References(storage.items)
        contexts = Contexts(
            storage.responses,
            storage.runs,
            self.runs.settle,
            storage.conversations,
            references,
            Limits(
                settings.responses.max_history_items,
                settings.responses.max_history_bytes,
                settings.responses.history_memory,
            ),
        )
        catalogue = Catalogue(Resolver(settings.providers, settings.models), self._sources)
        replaying = Replaying(
            memory=self.memory,
            changing=self.changing,
            original_ids=cache is not None and cache.ids == "original",
            keeper=keeper,
            on_ending=self.accounts.count,
            wall_clock=wall_clock,
            clock=time.monotonic,
        )
        look_up = LookUp(
            sources=self._sources,
            cache=cache,
            shelves=shelves,
            producing=self.producing,
            keeper=keeper,
            staleness=Staleness(
                lifetimes, shelves, self.producing, replaying, self._tasks, wall_clock=wall_clock
            ),
            replaying=replaying,
            tasks=self._tasks,
            wall_clock=wall_clock,
            clock=time.monotonic,
            semantic=self.semantic,
        )
        turns = Turns(
            sources=self._sources,
            catalogue=catalogue,
            cache=cache,
            look_up=look_up,
            replaying=replaying,
            keeper=keeper,
            contexts=contexts,
            conversations=self.conversations,
            accept=self.runs.accept,
            finish=self.runs.finishing.take,
            check=translating.check,
            placing=Placing(settings.responses.background, settings.providers, settings.models),
            tasks=self._tasks,
        )
        self._turns = turns
        keyring = Keyring(settings.keys)
        operations = Operations(
            catalogue=catalogue,
            keyring=keyring,
            admin_key=settings.admin.key,
            tasks=self._tasks,
            readiness=self._reporting.readiness,
            metrics=self._reporting.metrics,
        )
        kept = KeptResponses(
            storage.responses,
            self.runs,
            contexts,
            self.changing,
            self._sources,
            keyring,
            self._tasks,
            storage.claims,
        )
        conversations = ConversationRoutes(
            storage.conversations, references, keyring, self._tasks, wall_clock
        )
        around = Around(
            turns,
            contexts,
            keyring,
            self._tasks,
            Counting(self._sources, catalogue, translating),
            Compacting(turns, RESPONSES_ROUTE, self.sealer, wall_clock=wall_clock),
            time.monotonic,
        )
        self.curating = (
            Curating(self.changing, self.memory, self.second_level, storage.responses, now=wall_clock)
            if self.changing
            else None
        )
        if self.curating is not None and self.semantic is not None:
            self.curating.on_wrong = self.semantic.forget_near
        explain = Explain(
            Explaining(
                turns, shelves, decisions, cache, secret=secrets.token_bytes(16), wall_clock=wall_clock
            ),
            turns,
            keyring,
            settings.admin.key,
            self._tasks,
            self.accounts.flush,
        )
        if settings.server.is_api:
            handlers = {
                **operations.handlers(),
                **operations.models(),
                **kept.handlers(),
                **conversations.handlers(),
                **around.handlers(),
                **CacheAdmin(self.curating, settings.admin.key, self._tasks).handlers(),
                **explain.handlers(),
                **semantic_routes(self.semantic, settings, self._tasks),
            }
            idempotent = Idempotent(self.idempotency, keyring, settings.admin.key, kept)
            self.gateway = Gateway(
                turns,
                keyring,
                handlers,
                idempotent=idempotent if settings.idempotency.enabled else None,
                explain=explain.answer,
            )
        else:
            self.gateway = Gateway(turns, keyring, operations.handlers(), ())

        self.sessions = Sessions(
            turns,
            keyring,
            settings.server,
            tasks=self._tasks,
            wall_clock=wall_clock,
            resolve=contexts.resolve,
        )

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        environ: Mapping[str, str] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> "Application":
        """Open storage and build everything. Raises ConfigurationError for what only shows when it is used."""
        settings = checked(settings)
        check_semantic(settings)
        environ = os.environ if environ is None else environ
        try:
            storage = await open_storage(settings, wall_clock)
            try:
                sealer = await _sealer(settings, storage)
                application = cls(settings, storage, sealer, environ=environ, wall_clock=wall_clock)
                if application.changing is not None:
                    await application.changing.enter()
                return application
            except BaseException:
                await storage.close()
                raise
        except StorageUnusable as error:
            raise ConfigurationError(f"storage.url: {error}") from error

    def start(self) -> None:
        """Begin what goes on beside the requests."""
        self.runs.start(RESPONSES_ROUTE, self._turns.answer)
        self.conversations.start()
        self.idempotency.start()
        self._webhooks.start()
        if self.semantic is not None and self.settings.cache is not None:
            self.semantic.start(
                embedding_of(
                    self.settings, self.settings.cache.semantic, EMBEDDINGS_ROUTE, self._turns.answer
                )
            )
        if self.producing.sharing is not None:
            self.producing.sharing.start()
        self._tasks.start(self._sweep(), "sweep")
        self._tasks.start(self._keep_alive(), "keep streams alive")
        if self.storage.is_shared:
            self._tasks.start(self._reporting.publish(), "publish metrics")
        if self.changing is not None:
            self.changing.start()

    def retire(self) -> None:
        """Begin no more background runs: the process is about to stop."""
        self.runs.retire()

    async def stop(self, drained: Callable[[], Awaitable[object]] | None = None) -> None:
        """Break off what is still live, wait until clients were told (`drained`), and finish all writes.

        Runs are handed over before anything is broken off, so that they hear nothing of it.
        """
        self.runs.retire()
        await self.runs.hand_over()
        self.idempotency.break_off()
        self.producing.fail_all(
            GatewayError("The gateway is shutting down.", code="shutting_down", status=503)
        )
        for source in self._sources.values():
            await source.upstream.close()
        await self._webhooks.close()
        if self.semantic is not None:
            self.semantic.close()
        if drained is not None:
            await drained()
        await self.accounts.stop()
        if self.producing.sharing is not None:
            await self.producing.sharing.close()
        await self._tasks.stop()
        if self.changing is not None:
            await self.changing.stop()
        if self._hints is not None:
            await self._hints.close()
        if self._flights is not None:
            await self._flights.close()
        if self.redis_cache is not None:
            await self.redis_cache.close()
        if self._redis_changes is not None:
            await self._redis_changes.close()
        await self.storage.close()

    async def _sweep(self) -> None:
        while True:
            self.storage.sweep(self.wall_clock())
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _keep_alive(self) -> None:
        seconds = self.settings.server.stream_keep_alive
        while True:
            await asyncio.sleep(seconds / 2)
            self.producing.keep_alive(seconds)
            self.runs.keep_alive()


async def _sealer(settings: Settings, storage: Storage) -> Sealer:
    responses = settings.responses
    keys = [secret.encode() for secret in (responses.secret, *responses.old_secrets) if secret is not None]
    if responses.secret is None:
        keys.insert(0, await storage.secrets.kept(_SEALING, lambda: secrets.token_bytes(32)))
    elif stored := await storage.secrets.stored(_SEALING):
        # What was sealed before a secret was configured still opens.
        keys.append(stored)
    return Sealer(keys, lambda: secrets.token_bytes(NONCE_BYTES))
