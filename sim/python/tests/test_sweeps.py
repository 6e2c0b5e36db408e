"""Sweeps from Python are those of the command line, row for row and byte for byte."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import polars as pl
import seedbank_sim as sb

from tests.program import PROGRAM, simulator
from tests.test_runs import ENDLESS, SMALL

PATHS = ["population.others.count", "population.payer.ask"]
ROWS = [{PATHS[0]: count, PATHS[1]: ask} for count in (2, 3) for ask in ("3cr/GiB", None)]


def parquet(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("runs.parquet", "peers.parquet")]


class Sweeps(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.file = self.folder / "small.toml"
        self.file.write_text(SMALL, encoding="utf-8")

    def test_a_sweep_is_the_command_lines_row_for_row(self) -> None:
        told = self.folder / "told"
        grid = ["--grid=population.others.count=2,3", "--grid=run.duration=10min,20min"]
        grid.append("--set=network.grant=5cr")
        simulator("sweep", str(self.file), *grid, "--seeds=2..4", "--jobs=1", "--out", str(told))
        design = {"population.others.count": [2, 3], "run.duration": ["10min", "20min"]}
        result = sb.sweep(self.file, design, range(2, 5), jobs=2, network__grant="5cr")
        self.assertTrue(pl.DataFrame(result.runs).equals(pl.read_parquet(told / "runs.parquet")))
        self.assertTrue(pl.DataFrame(result.peers).equals(pl.read_parquet(told / "peers.parquet")))
        written = self.folder / "written"
        sb.sweep(self.file, design, range(2, 5), out=written, network__grant="5cr")
        self.assertEqual(parquet(written), parquet(told))

    def test_the_command_line_makes_a_page_of_a_folder(self) -> None:
        folder = self.folder / "out"
        design = [{}, {"population.payer.boost": None}]
        sb.sweep(self.file, design, 2, out=folder, network__grant="5cr")
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        self.assertEqual([manifest["kind"], manifest["runs"], manifest["failed"]], ["sweep", 4, 0])
        without = "{'network.grant': '5cr', 'population.payer.boost': None}]"
        self.assertIn(without, manifest["repeat"])
        self.assertNotIn("command", manifest, "nobody typed one")
        simulator("report", str(folder))
        page = (folder / "report.html").read_text(encoding="utf-8")
        self.assertIn("4 runs of 2 variants, 0 failed", page)
        # What it says comes to the same.
        (self.folder / "scenario.toml").write_text(manifest["scenario"], encoding="utf-8")
        with contextlib.chdir(self.folder):
            exec(manifest["repeat"], {"seedbank_sim": sb})
        self.assertEqual(parquet(self.folder / "again")[1], parquet(folder)[1])

    def test_either_goes_on_with_what_the_other_began(self) -> None:
        folder = self.folder / "out"
        design = {"population.others.count": [2, 3]}
        with self.assertRaises(KeyboardInterrupt):
            sb.sweep(self.file, design, 3, jobs=1, out=folder, progress=self.ctrl_c_after(2))
        self.assertFalse((folder / "runs.parquet").exists())
        begun = {part: part.stat().st_mtime_ns for part in (folder / "parts").glob("*.json")}
        self.assertIn(len(begun), (2, 3), "no run is begun once it is stopped")
        with self.assertRaisesRegex(sb.ScenarioError, "--resume"):
            sb.sweep(self.file, design, 3, out=folder)
        grid = "--grid=population.others.count=2,3"
        simulator("sweep", str(self.file), grid, "--seeds=3", "--out", str(folder), "--resume")
        for part, written in begun.items():
            self.assertEqual(part.stat().st_mtime_ns, written, "what was done is not done again")
        whole = self.folder / "whole"
        sb.sweep(self.file, design, 3, out=whole)
        self.assertEqual(parquet(folder), parquet(whole))
        result = sb.sweep(self.file, design, 3, out=folder, resume=True)
        self.assertTrue(pl.DataFrame(result.runs).equals(pl.read_parquet(whole / "runs.parquet")))
        with self.assertRaisesRegex(sb.ScenarioError, "another design"):
            sb.sweep(self.file, design, 4, out=folder, resume=True)

    def test_a_sweep_that_is_killed_outright_goes_on_to_the_same_bytes(self) -> None:
        design = ["--grid=population.others.count=2,3", "--seeds=20", "--jobs=2"]
        whole, killed = self.folder / "whole", self.folder / "killed"
        simulator("sweep", str(self.file), *design, "--out", str(whole))
        command = [PROGRAM, "sweep", str(self.file), *design, "--out", str(killed), "--resume"]
        for least in (3, 10):
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sweep:
                while sweep.poll() is None and self.parts_of(killed) < least:
                    pass
                sweep.send_signal(signal.SIGKILL)
            self.assertEqual(sweep.returncode, -signal.SIGKILL, "it was not done before")
        sb.sweep(
            self.file, {"population.others.count": [2, 3]}, 20, jobs=2, out=killed, resume=True
        )
        self.assertEqual(parquet(killed), parquet(whole))

    def test_a_design_may_be_any_data_frame(self) -> None:
        like = sb.sweep(SMALL, ROWS, seeds=1)
        self.assertEqual(len(like.runs), 4)
        self.assertEqual(len(like.peers), 2 * (4 + 5))
        designs = [pl.DataFrame(ROWS), {PATHS[0]: (2, 3), PATHS[1]: ["3cr/GiB", None]}]
        for name, made in [("pandas", "DataFrame"), ("pyarrow", "Table")]:
            try:
                module = __import__(name)
            except ImportError:
                continue
            kind = getattr(module, made)
            designs.append(kind.from_pylist(ROWS) if name == "pyarrow" else kind(ROWS))
        for design in designs:
            with self.subTest(type(design)):
                runs = sb.sweep(SMALL, design, seeds=[1]).runs
                self.assertEqual(runs.column("run_id"), like.runs.column("run_id"))
                self.assertEqual(runs.column("state_hash"), like.runs.column("state_hash"))

    def test_a_variant_outranks_what_is_set_in_every_run(self) -> None:
        result = sb.sweep(SMALL, [{PATHS[0]: 3}, {}], seeds=1, **{PATHS[0]: 2})
        self.assertEqual(result.peers.column("variant"), [0] * 5 + [1] * 4)

    def test_a_whole_number_in_a_column_with_a_gap_is_whole(self) -> None:
        gap = [{PATHS[0]: 2.0}, {PATHS[0]: float("nan"), "run.duration": "20min"}]
        with self.assertRaisesRegex(sb.ScenarioError, "missing field `count`"):
            sb.sweep(SMALL, gap, seeds=1)
        one = sb.sweep(SMALL, gap[:1], seeds=1).runs.column("state_hash")
        self.assertEqual(one, sb.sweep(SMALL, [{PATHS[0]: 2}], seeds=1).runs.column("state_hash"))

    def test_a_variant_that_fits_nothing_is_told_before_anything_is_run(self) -> None:
        told: list[tuple[int, ...]] = []
        design = {"population.othrs.count": [2]}
        with self.assertRaisesRegex(sb.ScenarioError, 'did you mean "others"'):
            sb.sweep(SMALL, design, progress=lambda *so_far: told.append(so_far))
        self.assertEqual(told, [])
        with self.assertRaisesRegex(ValueError, "a sweep of nothing"):
            sb.sweep(SMALL, [])
        with self.assertRaisesRegex(ValueError, "jobs=0"):
            sb.sweep(SMALL, jobs=0)

    def test_progress_hears_of_every_run_and_may_end_the_sweep(self) -> None:
        told: list[tuple[int, ...]] = []
        sb.sweep(SMALL, seeds=3, jobs=1, progress=lambda *so_far: told.append(so_far))
        self.assertEqual(told, [(1, 3, 0), (2, 3, 0), (3, 3, 0)])

        def refuse(*_: int) -> None:
            raise ZeroDivisionError("enough")

        with self.assertRaisesRegex(ZeroDivisionError, "enough"):
            sb.sweep(SMALL, seeds=10_000, jobs=1, progress=refuse)

    def test_ctrl_c_ends_a_sweep_in_the_middle_of_its_runs(self) -> None:
        # The first is done at once, because nobody wants anything; the second would take hours.
        design = [{"population.payer.has": "100%", "population.others.has": "100%"}, {}]
        with self.assertRaises(KeyboardInterrupt):
            sb.sweep(ENDLESS, design, 1, jobs=1, progress=self.ctrl_c_after(1))

    def test_a_folder_that_cannot_be_made_is_told(self) -> None:
        with self.assertRaisesRegex(sb.SimulationError, "nowhere"):
            sb.sweep(SMALL, seeds=1, out=self.folder / "nowhere" / "out")

    def parts_of(self, folder: Path) -> int:
        try:
            names = os.listdir(folder / "parts")
        except FileNotFoundError:
            return 0
        return sum(name.endswith(".json") for name in names)

    @staticmethod
    def ctrl_c_after(count: int):
        def progress(done: int, *_: int) -> None:
            if done == count:
                signal.raise_signal(signal.SIGINT)

        return progress


class Arrow(unittest.TestCase):
    def test_polars_alone_reads_a_table(self) -> None:
        code = (
            "import sys\n"
            "sys.modules['pyarrow'] = None\n"
            "sys.modules['pandas'] = None\n"
            "import polars, seedbank_sim\n"
            "result = seedbank_sim.run(sys.stdin.read())\n"
            "peers = polars.DataFrame(result.peers)\n"
            "assert polars.DataFrame(result.peers).equals(peers), 'a table is read twice'\n"
            "print(peers.write_csv(), end='')\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], input=SMALL, text=True, capture_output=True, check=True
        )
        rows = done.stdout.splitlines()
        self.assertEqual(len(rows), 1 + 6)
        self.assertTrue(rows[1].startswith("seeder,0,1000000,"), rows[1])

    def test_every_reader_of_arrow_finds_the_same(self) -> None:
        result = sb.run(SMALL)
        like = pl.DataFrame(result.peers).to_dicts()
        try:
            import pyarrow
        except ImportError:
            self.skipTest("pyarrow is not here")
        self.assertEqual(pyarrow.table(result.peers).to_pylist(), like)
        import pandas

        read = pandas.DataFrame.from_arrow(result.peers)
        self.assertEqual(read["done_s"].isna().sum(), 1)
        self.assertEqual(json.loads(read["spent"].to_json(orient="values")), [
            row["spent"] for row in like
        ])


if __name__ == "__main__":
    unittest.main()
