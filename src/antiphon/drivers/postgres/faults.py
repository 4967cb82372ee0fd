"""What PostgreSQL and the way to it may say, sorted by what is to be done about it."""

import logging
from typing import Final

import asyncpg

from antiphon.wire.errors import StoreFault

_log = logging.getLogger(__name__)

FAULTS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
"""Everything that an operation can raise that is not a defect of ours."""

RACED: Final = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.UniqueViolationError,
)
"""Somebody else was at the same rows: nothing was done, and it is done again."""

UNSTORABLE: Final = (
    asyncpg.DataError,
    asyncpg.CharacterNotInRepertoireError,
    OverflowError,
    UnicodeEncodeError,
)
"""A value that no column takes: NUL in a text, half of a surrogate pair, a number beyond 64 bits."""

_GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,  # it is shutting down, starting up, or has cancelled the statement
    asyncpg.InsufficientResourcesError,  # the disk is full, too many connections
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is to take over
    asyncpg.IdleInTransactionSessionTimeoutError,  # this process slept in the middle
    OSError,
    TimeoutError,
)


def is_gone(error: BaseException) -> bool:
    """Whether the database, and not what it was asked, is why it failed: it may go better later."""
    return isinstance(error, _GONE) and not isinstance(error, asyncpg.DataError)


def store_fault(error: Exception | str) -> StoreFault:
    """Return what clients are told, and log what has happened."""
    said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    _log.error("storage failed: %s", said)
    return StoreFault(
        "Storage is not available.", code="storage_unavailable", headers=((b"retry-after", b"5"),)
    )
