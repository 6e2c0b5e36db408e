"""Runs from Python are those of the command line, whatever a scenario is written in."""

import json
import signal
import sys
import tempfile
import threading
import tomllib
import unittest
from pathlib import Path

import seedbank_sim as sb

from tests.program import simulator

SMALL = """
[run]
name = "small"
duration = "30min"

[network]

[[torrent]]
length = "4MiB"
piece = "64KiB"

[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "1MB/s" }

[[population]]
name = "payer"
count = 1
line = { uplink = "100kB/s", downlink = "10MB/s" }
boost = { budget = "1cr" }

[[population]]
name = "others"
count = 4
line = { uplink = "100kB/s", downlink = "10MB/s" }
"""

# Hours of work: whoever waits for its end waits too long.
ENDLESS = SMALL.replace("4MiB", "64GiB").replace("64KiB", "16MiB").replace("30min", "10000h")


class Runs(unittest.TestCase):
    def test_a_run_is_the_command_lines(self) -> None:
        said = simulator("run", "paying", "--seed=3", "--set=torrent.file.length=8MiB", "--json")
        manifest = json.loads(said)["manifest"]
        result = sb.run("paying", seed=3, torrent__file__length="8MiB")
        self.assertEqual(result.hash, manifest["state_hash"])
        self.assertNotIn("command", result.manifest, "nobody typed one")
        for key in ["scenario", "scenario_hash", "seed", "events", "version"]:
            self.assertEqual(result.manifest[key], manifest[key], key)

    def test_text_file_and_dict_are_the_same_scenario(self) -> None:
        text = sb.run(SMALL)
        self.assertEqual(sb.run(tomllib.loads(SMALL)).hash, text.hash)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "small.toml"
            path.write_text(SMALL, encoding="utf-8")
            self.assertEqual(sb.run(path).hash, text.hash)
            self.assertEqual(sb.run(str(path)).hash, text.hash)
        self.assertEqual(sb.run(text.manifest["scenario"]).hash, text.hash)
        self.assertNotEqual(sb.run(SMALL, seed=2).hash, text.hash)

    def test_an_override_of_none_leaves_a_field_out(self) -> None:
        boosted, plain = sb.run(SMALL), sb.run(SMALL, **{"population.payer.boost": None})
        self.assertGreater(sum(boosted.peers.column("spent")), 0)
        self.assertEqual(sum(plain.peers.column("spent")), 0)

    def test_tables_tell_everybody_and_every_moment(self) -> None:
        result = sb.run(SMALL)
        self.assertEqual(len(result.peers), 6)
        populations = result.peers.column("population")
        self.assertEqual(populations, ["seeder", "payer"] + ["others"] * 4)
        done = dict(zip(populations, result.peers.column("done_s")))
        self.assertIsNone(done["seeder"], "came with everything")
        self.assertGreater(done["others"], 0.0)
        self.assertIn("time_s", result.series.column_names)
        with self.assertRaises(KeyError):
            result.peers.column("nothing")
        self.assertEqual(result.fetches.column("population"), ["payer"] + ["others"] * 4)
        self.assertEqual(result.fetches.column("done_s")[0], done["payer"])

    def test_either_tier_is_played(self) -> None:
        flow = sb.run(SMALL, run__tier="flow")
        self.assertEqual(flow.peers.column_names, sb.run(SMALL).peers.column_names)
        self.assertEqual(len(flow.fetches), 5)
        said = simulator("run", "paying", "--set=run.tier=flow", "--json")
        told = json.loads(said)["manifest"]["state_hash"]
        self.assertEqual(sb.run("paying", run__tier="flow").hash, told)

    def test_files_that_a_scenario_names_are_beside_it(self) -> None:
        line = 'line = { uplink = "1MB/s" }'
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "lines.toml"
            (Path(folder) / "all.csv").write_text("100%,2MB/s\n", encoding="utf-8")
            path.write_text(SMALL.replace(line, 'line = { csv = "all.csv" }'), encoding="utf-8")
            uplinks = [2_000_000] + [100_000] * 5
            self.assertEqual(sb.run(path).peers.column("uplink"), uplinks)
            path.write_text(SMALL, encoding="utf-8")
            setting = {"population.seeder.line": {"csv": "all.csv"}}
            self.assertEqual(sb.run(path, **setting).peers.column("uplink"), uplinks)
            swept = sb.sweep(path, [setting], seeds=1)
            self.assertEqual(swept.peers.column("uplink"), uplinks)

    def test_every_included_scenario_is_named(self) -> None:
        self.assertIn("paying", sb.library())
        self.assertIn("[[population]]", sb.library()["paying"])

    def test_what_is_wrong_says_file_line_and_the_word_that_was_meant(self) -> None:
        slip = SMALL.replace("length", "lenght")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "slip.toml"
            path.write_text(slip, encoding="utf-8")
            self.assert_refused(f"{path}:9: unknown field `lenght`", lambda: sb.run(path))
        self.assert_refused("did you mean `length`?", lambda: sb.run(slip))
        self.assert_refused("did you mean paying?", lambda: sb.run("payin"))
        setting = {"population.othrs.count": 2}
        self.assert_refused('did you mean "others"?', lambda: sb.run(SMALL, **setting))
        with self.assertRaises(FileNotFoundError):
            sb.run("nowhere.toml")

    def test_what_is_wrong_with_a_dict_is_told_by_its_place(self) -> None:
        scenario = tomllib.loads(SMALL)
        scenario["population"][1]["line"] = {"uplnk": "1MB/s"}
        place = "scenario[population][1][line]: unknown field `uplnk`"
        self.assert_refused(place, lambda: sb.run(scenario))
        scenario["population"][1]["line"] = {"uplink": "1MB/s"}
        scenario["population"][2]["slots"] = 5000
        place = 'scenario[population][2]: "others": 5000 slots'
        self.assert_refused(place, lambda: sb.run(scenario))
        scenario["population"][2]["slots"] = object()
        with self.assertRaisesRegex(TypeError, "population.slots: a scenario has no object"):
            sb.run(scenario)

    def test_two_threads_run_at_a_time_and_come_to_the_same(self) -> None:
        alone = [sb.run(SMALL, seed=seed).hash for seed in (1, 2)]
        together: dict[int, str] = {}

        def one(seed: int) -> None:
            together[seed] = sb.run(SMALL, seed=seed).hash

        threads = [threading.Thread(target=one, args=[seed]) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([together[1], together[2]], alone)

    def test_ctrl_c_ends_a_run_that_others_can_run_beside(self) -> None:
        main = threading.main_thread().ident

        def interrupt() -> None:
            # This goes on only because the run does not hold Python's lock.
            while sys._current_frames()[main].f_code.co_name != "run":
                pass
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with self.assertRaises(KeyboardInterrupt):
            sb.run(ENDLESS)
        thread.join()

    def assert_refused(self, text: str, call) -> None:
        with self.assertRaises(sb.ScenarioError) as caught:
            call()
        self.assertIn(text, str(caught.exception))


if __name__ == "__main__":
    unittest.main()
