"""A cassette in use: which requests it answers, which are recorded into it, and what they are called.

    append  every request is asked and recorded, behind what there is
    record  every request is asked and recorded, in place of what there is
    once    a cassette that holds something answers as in `replay`; one that does not is recorded
    new     what is there answers, each recording once; the rest is asked and recorded
    replay  what is there answers, in its order, and then the last again; nobody is asked
    strict  as `replay`, but each recording answers once

Equal requests are answered in the order in which they were recorded.
"""

import logging
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Final

from antiphon.drivers.cassette_files import (
    UNFINISHED,
    last_order,
    read_cassette,
    recordings_in,
    write_exchange,
)
from antiphon.drivers.tape import Asked, Tape
from antiphon.recording import Recording
from antiphon.recording.cassette import Exchange
from antiphon.recording.faults import PlannedFault, fault_for, parse_fault
from antiphon.recording.pace import Pace, parse_pace
from antiphon.recording.redaction import Redaction
from antiphon.settings import Cassette

_log = logging.getLogger(__name__)

_OFFLINE: Final = frozenset({"replay", "strict"})


class NotRecordedError(Exception):
    """The cassette does not answer this request, and it is not to be recorded; the message says what came nearest."""


class Deck:
    """One cassette in use by one gateway."""

    def __init__(
        self,
        settings: Cassette,
        *,
        secrets: Sequence[bytes] = (),
        names: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Open the cassette; `secrets` are never written, `names` are the aliases of each `provider/model`.

        Raises UnreadableCassetteError for a file in it that is no recording, ClientFault or ValueError for settings.
        """
        assert settings.record is not None
        self.location = settings.record
        self.pace: Pace = parse_pace(settings.pace)
        self.recorded = 0
        """How many exchanges were written."""
        self.played = 0
        """How many requests were answered from the cassette."""
        self.misses: list[str] = []
        """What was said to requests that are not in the cassette."""
        self._folder = Path(settings.record)
        self._faults = [parse_fault(fault) for fault in settings.faults]
        self._redaction = Redaction(settings.redact, settings.redact_text, secrets)
        self._names = names or {}
        self._requests = 0
        self._mode: str = settings.mode
        if self._mode == "once":
            self._mode = "replay" if has_recordings(self._folder) else "record"
        self._tape = Tape(_read(settings.record) if self._mode in _OFFLINE or self._mode == "new" else {})
        self._begun = 0 if self._mode == "record" else last_order(self._folder)
        self._times: Counter[str] = Counter()
        self._failing: dict[Hashable, int] = {}
        self._old: dict[str, bytes] | None = None

    @property
    def is_offline(self) -> bool:
        """Whether nobody is asked."""
        return self._mode in _OFFLINE

    def models(self) -> tuple[str, ...]:
        """The models that there are answers of."""
        return self._tape.models()

    def unplayed(self) -> list[str]:
        """The files that have answered nothing."""
        return self._tape.unplayed()

    def fault(self) -> PlannedFault | None:
        """Count a request, and return what is to go wrong with it."""
        self._requests += 1
        return fault_for(self._requests, self._faults)

    def take(self, asked: Asked, *, fails: bool = False) -> Recording | None:
        """Return what answers a request; None: it is to be asked and recorded. Raises NotRecordedError.

        An answer that `fails` by a planned fault is not used up: whoever tries again is to get it.
        """
        if not self.is_offline and self._mode != "new":
            return None
        answers = self._tape.answers(asked)
        if answers:
            first = answers[0].name
            times = self._times[first]
            if times < len(answers) or self._mode == "replay":
                self._times[first] += not fails
                self.played += 1
                answer = answers[min(times, len(answers) - 1)]
                answer.was_played = True
                return answer.recording
        if not self.is_offline:
            return None
        raise NotRecordedError(self._miss(asked, len(answers), answers[-1].name if answers else ""))

    def begin(self, asked: Asked, *, fails: bool = False) -> int:
        """Return the number of an exchange that is to be recorded; who tries again after a fault has that of before."""
        key = (asked.dialect, asked.mode, asked.model, tuple(sorted(asked.members.items())))
        again = self._failing.pop(key, None)
        if again is None:
            self._begun += 1
            again = self._begun
        if fails:
            self._failing[key] = again
        return again

    def write(self, order: int, exchange: Exchange) -> None:
        """Record an exchange. What cannot be written is told in the log, and the traffic goes on."""
        model = f"{exchange.recording.provider}/{exchange.recording.model}"
        exchange.names = tuple(self._names.get(model, ()))
        try:
            write_exchange(self._folder, order, self._redaction.apply(exchange), self._prepared())
            self.recorded += 1
        except OSError as error:
            _log.error("%s: exchange %d is not recorded: %s", self.location, order, error.strerror)

    def _prepared(self) -> Mapping[str, bytes]:
        """Make room before the first exchange is written, and return what stood there.

        A run that asks nobody destroys nothing.
        """
        if self._old is None:
            self._old = {}
            for path in self._folder.glob(f"*{UNFINISHED}"):
                path.unlink()  # of one who was killed
            if self._mode == "record":
                for path in recordings_in(self._folder):
                    self._old[path.name] = path.read_bytes()
                    path.unlink()
        return self._old

    def _miss(self, asked: Asked, times: int, last: str) -> str:
        if times:
            often = "once" if times == 1 else f"{times} times"
            message = (
                f"This {asked.dialect} request was recorded {often} ({last}) and has been asked once more, "
                f"which `strict` does not allow."
            )
        else:
            message = self._tape.explain_miss(asked, by_model=True)
        message = f"{message} Cassette: {self.location}."
        self.misses.append(message)
        return message


def has_recordings(folder: Path) -> bool:
    """Whether a cassette, which may be one file, holds anything."""
    return folder.is_file() or (
        folder.is_dir() and any(entry.suffix in {".json", ".jsonl"} for entry in folder.iterdir())
    )


def _read(location: str) -> dict[str, Exchange]:
    folder = Path(location)
    if location.startswith("builtin:") or has_recordings(folder):
        return read_cassette(location)
    return {}
