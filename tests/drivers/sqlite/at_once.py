"""Programs that begin at the same moment, each in a process of its own."""

import subprocess
import sys

from waiting import PATIENCE


def run_at_once(programs: list[str]) -> None:
    """Run programs that wait in `input(".")` until all are there. What one says on standard error is a failure."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for program in programs
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.read(1)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in processes:
            _, said = process.communicate(timeout=PATIENCE)
            assert (process.returncode, said.decode()) == (0, ""), said.decode()
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
