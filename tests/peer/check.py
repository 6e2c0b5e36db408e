"""Saying what is checked: every check has a name, and the first that fails ends the run."""

import sys
import time
import traceback


class Failed(AssertionError):
    """A check that did not hold, with what was found."""


def equal(found, expected, what):
    if found != expected:
        raise Failed(f"{what}: found {found!r:.600}, expected {expected!r:.600}")


def true(found, what):
    if not found:
        raise Failed(f"{what}: found {found!r:.600}")


def poll(what, probe, limit=60, pause=0.05):
    """What a node tells only when it is asked: the first answer that is something."""
    deadline = time.monotonic() + limit
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not happen within {limit} s: {found!r}")
        time.sleep(pause)


def fail(one, failed):
    traceback.print_exc(file=sys.stdout)
    failed.append(one.__name__)
    print(f"FAILED {one.__name__}", flush=True)


def run(checks, *args):
    """Runs functions in order and prints their names; tells which failed and goes on."""
    failed = []
    for one in checks:
        began = time.monotonic()
        try:
            said = one(*args)
        except Exception:  # whatever it is, the others are worth knowing
            fail(one, failed)
        else:
            note = f": {said}" if said else ""
            print(f"ok {one.__name__} ({time.monotonic() - began:.1f} s){note}", flush=True)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
