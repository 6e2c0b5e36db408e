"""The command line that Python's results are compared with."""

import os
import subprocess

# The program of the same tree; `make python` sets it.
PROGRAM = os.environ.get("SEEDBANK_SIM", "seedbank-sim")


def simulator(*args: str) -> str:
    """What `seedbank-sim` prints."""
    done = subprocess.run([PROGRAM, *args], text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{PROGRAM} {' '.join(args)}: {done.stderr}")
    return done.stdout
