"""Strategies in Python: once a round, over all peers of a population."""

import itertools
import math
import signal
import threading
import traceback
import unittest
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import seedbank_sim as sb

SWARM = """
[run]
name = "rounds"
tier = "flow"
duration = "4h"

[network]
grant = "10cr"

[[torrent]]
length = "64MiB"
piece = "1MiB"

[[population]]
name = "seeder"
count = 1
has = "100%"
line = { uplink = "2MB/s" }

[[population]]
name = "payer"
count = 2
line = { uplink = "125kB/s", downlink = "10MB/s" }
boost = { budget = "1cr", bid = "2cr/GiB" }

[[population]]
name = "others"
count = 20
line = { uplink = "125kB/s", downlink = "10MB/s" }
"""
CREDIT = 1_000_000
WHO = slice(1, 3)  # the payers, among all peers
COLUMNS = "there progress uplink sending receiving balance spent earned seats price".split()


def took(result: sb.RunResult) -> list[float]:
    """Of everybody but the seeder."""
    done, joined = (result.peers.column(name)[1:] for name in ("done_s", "joined_s"))
    return [end - begin for begin, end in zip(joined, done)]


class Strategies(unittest.TestCase):
    def test_who_decides_nothing_plays_as_written(self) -> None:
        written = sb.run(SWARM)
        self.assertEqual(written.manifest["strategies"], [])
        seen: list[tuple[str, int]] = []

        def watch(round: sb.Round) -> None:
            seen.append((round.population, round.number))

        watched = sb.run(SWARM, strategy=watch)
        self.assertEqual(watched.hash, written.hash)
        self.assertEqual(seen[:3], [("seeder", 0), ("payer", 0), ("others", 0)])
        rounds = [number for population, number in seen if population == "others"]
        self.assertEqual(rounds, list(range(len(rounds))))
        same = {"bid": 2 * CREDIT, "floor": 0, "budget": CREDIT, "limit": 2**53}
        self.assertEqual(sb.run(SWARM, strategy={"payer": lambda _: same}).hash, written.hash)
        empty = {"bid": [None, math.nan]}
        self.assertEqual(sb.run(SWARM, strategy={"payer": lambda _: empty}).hash, written.hash)

    def test_a_round_tells_what_came_of_the_last(self) -> None:
        told: list[dict[str, Any]] = []

        def keep(round: sb.Round) -> None:
            self.assertEqual(len(round), 2)
            told.append({name: np.asarray(getattr(round, name)).copy() for name in COLUMNS})

        result = sb.run(SWARM, strategy={"payer": keep})
        last = {name: [row[name] for row in told] for name in COLUMNS}
        self.assertTrue(last["there"][0].all() and last["there"][0].dtype == bool)
        self.assertEqual(last["uplink"][0].tolist(), [125_000.0] * 2)
        received = np.sum(last["receiving"], axis=0) * 10
        np.testing.assert_allclose(received, 64 << 20, rtol=1e-6)
        self.assertTrue(np.isnan(last["price"][0]).all())
        self.assertGreater(np.nanmax(last["price"]), CREDIT)
        self.assertGreater(np.max(last["seats"]), 0)
        self.assertEqual(last["spent"][-1].tolist(), result.peers.column("spent")[WHO])
        np.testing.assert_array_equal(last["balance"][-1] + last["spent"][-1], 10 * CREDIT)
        self.assertEqual(last["progress"][-1].tolist(), [1.0, 1.0])

    def test_bids_and_limits_are_arrays_of_any_kind(self) -> None:
        def first_pays(round: sb.Round) -> Mapping[str, Any]:
            bid = np.where(np.arange(len(round)) == 0, 3.0 * CREDIT, np.nan)
            return {"bid": bid, "floor": np.full(len(round), 3 * CREDIT)}

        result = sb.run(SWARM, strategy={"others": first_pays})
        spent, paid = (result.peers.column(name) for name in ("spent", "paid_received"))
        self.assertAlmostEqual(spent[3] / paid[3] * 2**30 / CREDIT, 3, places=2)
        self.assertEqual(sum(spent[4:]), 0)
        self.assertLess(took(result)[2], min(took(result)[3:]))
        self.assertEqual(result.manifest["strategies"], ["others"])
        kinds: list[Callable[[int], Any]] = [
            lambda count: 0,
            lambda count: 0.0,
            lambda count: [0] * count,
            lambda count: itertools.repeat(0, count),
            lambda count: memoryview(bytes(8 * count)).cast("d"),
            *(lambda count, kind=kind: np.zeros(count, kind) for kind in ("f4", "u8", "i8", "i4")),
        ]
        for number, kind in enumerate(kinds):
            with self.subTest(number):
                silent = sb.run(SWARM, strategy={"others": lambda _, of=kind: {"limit": of(20)}})
                self.assertEqual(sum(silent.peers.column("uploaded")[3:]), 0)

    def test_the_same_strategy_comes_to_the_same(self) -> None:
        def shade(round: sb.Round) -> Mapping[str, Any]:
            left = 1.0 - np.asarray(round.progress)
            return {"bid": 4 * CREDIT * left, "budget": np.asarray(round.balance) // 2}

        once = sb.run(SWARM, seed=3, strategy={"payer": shade})
        self.assertEqual(sb.run(SWARM, seed=3, strategy={"payer": shade}).hash, once.hash)
        self.assertNotEqual(sb.run(SWARM, seed=3).hash, once.hash)

    def test_what_a_strategy_raises_is_told_with_its_round(self) -> None:
        def fails(round: sb.Round) -> None:
            if round.number == 3:
                raise ZeroDivisionError("no such luck")

        with self.assertRaises(sb.SimulationError) as caught:
            sb.run(SWARM, strategy={"payer": fails})
        said = str(caught.exception)
        self.assertEqual(said, 'strategy of "payer", round 3: ZeroDivisionError: no such luck')
        self.assertIsInstance(caught.exception.__cause__, ZeroDivisionError)
        trace = traceback.extract_tb(caught.exception.__cause__.__traceback__)
        self.assertEqual(trace[-1].name, "fails")

    def test_answers_that_make_no_sense_are_told(self) -> None:
        for answer, said in [
            ({"bit": 1}, 'no column "bit"; there are bid, floor, budget, limit'),
            ({"bid": [1.0]}, "bid has 1 places, and the population 2"),
            ({"bid": [1.0, -1.0]}, r"bid\[1\] is -1: no such amount"),
            ({"limit": math.inf}, "no such amount"),
            ({"bid": "much"}, "bid: is neither a number nor numbers"),
            ([1], "not a dict of columns"),
        ]:
            with self.subTest(answer), self.assertRaisesRegex(sb.SimulationError, said):
                sb.run(SWARM, strategy={"payer": lambda _, given=answer: given})

    def test_who_cannot_decide_is_told_before_anything_is_played(self) -> None:
        def never(round: sb.Round) -> None:
            raise AssertionError(round)

        with self.assertRaisesRegex(sb.ScenarioError, 'did you mean "payer"'):
            sb.run(SWARM, strategy={"payr": never})
        with self.assertRaisesRegex(sb.ScenarioError, "set run.tier"):
            sb.run(SWARM, strategy=never, run__tier="block")

    def test_ctrl_c_ends_a_run_whose_strategy_is_being_asked(self) -> None:
        def interrupt(round: sb.Round) -> None:
            if round.number == 2:
                signal.raise_signal(signal.SIGINT)

        with self.assertRaises(KeyboardInterrupt):
            sb.run(SWARM, strategy=interrupt)

    def test_two_threads_have_strategies_of_their_own(self) -> None:
        def bids(credit: int) -> sb.Strategy:
            return lambda round: {"bid": credit * CREDIT}

        alone = [sb.run(SWARM, strategy={"payer": bids(credit)}).hash for credit in (1, 5)]
        together: dict[int, str] = {}

        def one(credit: int) -> None:
            together[credit] = sb.run(SWARM, strategy={"payer": bids(credit)}).hash

        threads = [threading.Thread(target=one, args=[credit]) for credit in (1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([together[1], together[5]], alone)


if __name__ == "__main__":
    unittest.main()
