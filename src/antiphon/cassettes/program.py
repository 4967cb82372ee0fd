"""Running a program whose models are asked through a gateway that records or plays."""

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from antiphon.cassettes.composing import Wanted
from antiphon.cassettes.handle import CassetteGateway
from antiphon.cassettes.serving import ServingThread

NOT_FOUND = 127
NOT_EXECUTABLE = 126


def run_program(
    command: Sequence[str], wanted: Wanted, environ: Mapping[str, str]
) -> tuple[int, CassetteGateway]:
    """Run `command` to its end; return its exit code, as a shell tells it, and what became of the cassette.

    Raises ConfigurationError.
    """
    with ServingThread() as thread:
        gateway = thread.open(wanted, environ)
        status = _run(command, {**environ, **gateway.environ})
        thread.close_gateway()
    return status, gateway


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    try:
        program = subprocess.Popen(command, env=dict(environ))  # noqa: S603 - the user's own command
    except OSError as error:
        sys.stderr.write(f"antiphon: {command[0]}: {error.strerror}\n")
        return NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE

    def leave_it(_number: int, _frame: FrameType | None) -> None:
        """A terminal sends Ctrl-C to the program too, which decides what it means."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        program.send_signal(number)

    before = [signal.signal(signal.SIGINT, leave_it), signal.signal(signal.SIGTERM, pass_on)]
    try:
        status = program.wait()
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status
