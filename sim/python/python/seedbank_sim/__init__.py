"""Seeding economies on the code of Seedbank's own nodes, under virtual time.

    import seedbank_sim as sb
    import polars as pl

    result = sb.run("paying", seed=1)
    pl.DataFrame(result.peers)

A scenario is the name of one that comes with the simulator (`library()`), a path, TOML, or a dict
of the same shape. Tables are Arrow: Polars, pandas and pyarrow read them, and none is required.

Units: columns that end in `_s` are seconds of virtual time, `uplink` and `downlink` bytes per
second, `uploaded`, `downloaded` and `wasted` bytes of payload, `granted`, `spent` and `earned`
micro-credits.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _native
from ._native import ScenarioError, SimulationError, Table, __version__
from .rounds import Round, Strategy, asked

__all__ = [
    "Round",
    "RunResult",
    "ScenarioError",
    "SimulationError",
    "Strategy",
    "SweepResult",
    "Table",
    "__version__",
    "library",
    "run",
    "sweep",
]

Scenario = str | os.PathLike[str] | Mapping[str, Any]
Variant = Mapping[str, Any]
Progress = Callable[[int, int, int], object]


@dataclass(frozen=True)
class RunResult:
    """What came of a run.

    peers: a row for everybody who was to come, in the order of the scenario.
    fetches: a row for every torrent that somebody set out to fetch.
    series: the swarm over time, a row for each `run.series_every`.
    manifest: what it is a result of: `version`, `scenario` with every default, `scenario_hash`,
        `seed`, `state_hash`, `virtual_seconds`, `events`, `strategies` (populations that followed
        one of Python's), and `wall_seconds`, which alone is another every time.
    """

    peers: Table
    fetches: Table
    series: Table
    manifest: dict[str, Any]

    @property
    def hash(self) -> str:
        """The state hash: the same whenever, and wherever, the scenario is played."""
        return str(self.manifest["state_hash"])

    def __repr__(self) -> str:
        return f"<seedbank_sim.RunResult: {len(self.peers)} peers, state {self.hash[:16]}>"


@dataclass(frozen=True)
class SweepResult:
    """What came of a sweep.

    runs: a row for each run, in the order of the design: `run_id`, `variant` (from 0), `label`,
        `seed`, `error` (empty where it went well), `state_hash`, `lasted_s`, `events`.
    peers: the peers of each run that did not fail, beside `run_id`, `variant` and `seed`.
    """

    runs: Table
    peers: Table

    def __repr__(self) -> str:
        return f"<seedbank_sim.SweepResult: {len(self.runs)} runs, {len(self.peers)} peers>"


def library() -> dict[str, str]:
    """The scenarios that come with the simulator: their TOML by name."""
    return dict(_native.library())


def run(
    scenario: Scenario,
    *,
    seed: int | None = None,
    strategy: Strategy | Mapping[str, Strategy] | None = None,
    **overrides: Any,
) -> RunResult:
    """Plays a scenario.

    seed: of every random choice, in place of the scenario's.
    strategy: what peers of the flow tier decide: a function that is asked once a choke round about
        all peers of a population, in place of what the scenario says of them; one for all
        populations, or a dict of them by population. `Round` is what it is told and what it gives.
    overrides: fields by path, a population or torrent by its name, `None` to leave one out:
        `run("paying", **{"run.duration": "1h", "population.payer.boost": None})`.
        Where names allow it, `__` stands for a dot: `run("paying", run__duration="1h")`.

    Another thread can run meanwhile, and Ctrl-C ends it within a moment.

    Raises ScenarioError if it is not sound, with file, line and the word that was meant, and
    SimulationError if a strategy raised something, with the round in which it did.
    """
    what, file = _read(scenario)
    if strategy is None:
        strategies: Mapping[str, Strategy] = {}
    elif isinstance(strategy, Mapping):
        strategies = strategy
    else:
        # Of every population that the scenario has: an empty name stands for all.
        strategies = {"": strategy}
    functions: dict[str, Callable[..., object]]
    functions = {name: asked(one) for name, one in strategies.items()}
    peers, fetches, series, told = _native.run(what, file, _dotted(overrides), seed, functions)
    manifest = json.loads(told)
    manifest["strategies"] = list(strategies)
    return RunResult(peers, fetches, series, manifest)


def sweep(
    scenario: Scenario,
    design: Any = None,
    seeds: int | Iterable[int] = 10,
    jobs: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
    **overrides: Any,
) -> SweepResult:
    """Runs variants of a scenario, each under the same seeds.

    design: a data frame (Polars, pandas, pyarrow) whose columns are paths of fields and whose rows
        are variants; a list of dicts; or a grid, a dict of lists, all of which are crossed. A
        missing cell leaves the field out. Without one the scenario is run as written.
    seeds: a number of them, from 1 on, or the seeds themselves.
    jobs: runs at a time; as many as there are processors, if it is left out.
    out: a new folder, as `seedbank-sim sweep --out` writes it: a part for each run,
        `runs.parquet`, `peers.parquet` and `manifest.json`, of which `seedbank-sim report` makes
        a page. Without one, results are in memory only.
    resume: go on with a folder of the same design, where it was ended. What failed is run again.
    progress: called with (done, in all, failed) after each run; what it raises ends the sweep.
    overrides: fields set in every run, as in `run`.

    A run that fails is a row with its `error`. Ctrl-C ends the sweep within a moment, and with
    `out` what was done by then is kept.

    Raises ScenarioError if a variant is not sound, before anything is run, and SimulationError if
    something cannot be written.
    """
    what, file = _read(scenario)
    common = _dotted(overrides)
    variants = [{**common, **variant} for variant in _variants(design)]
    numbers = list(range(1, seeds + 1) if isinstance(seeds, int) else seeds)
    if not numbers or not variants:
        raise ValueError("a sweep of nothing: it needs a seed and a variant")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs={jobs}: at least one at a time")
    told = seeds if isinstance(seeds, int) else numbers
    plan = {
        "seeds": numbers,
        "jobs": jobs,
        "out": None if out is None else os.fspath(out),
        "resume": resume,
        "repeat": f"seedbank_sim.sweep('scenario.toml', {variants!r}, seeds={told!r}, out='again')"
        "    # scenario.toml: as below",
    }
    runs, peers = _native.sweep(what, file, variants, plan, progress)
    return SweepResult(runs, peers)


def _read(scenario: Scenario) -> tuple[str | dict[str, Any], str | None]:
    """A scenario for `_native`: a dict, or a text and what errors call it, or a name and `None`."""
    if isinstance(scenario, Mapping):
        return dict(scenario), None
    if isinstance(scenario, str):
        if "\n" in scenario or "=" in scenario:
            return scenario, "scenario"
        if "." not in scenario and "/" not in scenario:
            return scenario, None
    path = Path(scenario)
    return path.read_text(encoding="utf-8"), str(path)


def _dotted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {path.replace("__", "."): value for path, value in overrides.items()}


def _variants(design: Any) -> list[Variant]:
    rows: Iterable[Variant]
    if design is None:
        rows = [{}]
    elif isinstance(design, Mapping):
        values = [[one] if isinstance(one, str) else list(one) for one in design.values()]
        rows = (dict(zip(design, row, strict=True)) for row in itertools.product(*values))
    elif hasattr(design, "to_dicts"):  # Polars
        rows = design.to_dicts()
    elif hasattr(design, "to_pylist"):  # pyarrow
        rows = design.to_pylist()
    elif hasattr(design, "to_dict"):  # pandas
        rows = design.to_dict("records")
    else:
        rows = design
    return list(rows)
