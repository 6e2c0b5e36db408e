"""An independent peer of Seedbank, written from docs/PROTOCOL.md and its vectors alone.

`python3 tests/peer PART --bin FOLDER` runs one part; `vectors` needs no programs. Every part ends
with exit code 0 if all its checks hold, and else says which did not.
"""

import argparse
import tempfile
from pathlib import Path

import check
import check_forged
import check_ledger
import check_money
import check_opening
import check_paid
import check_vectors
import node
import scene

ROW_COUNT = 16


def row_of(one):
    """The number of P1 to P16 in a check's name."""
    return int(one.__name__.split("_")[0][1:])


ROWS = sorted(check_opening.OPENING_CHECKS + check_money.MONEY_CHECKS, key=row_of)
assert [row_of(one) for one in ROWS] == list(range(1, ROW_COUNT + 1)), "a check for each row"
PARTS = {
    "ledger": check_ledger.CHECKS,
    "rows": ROWS,
    "paid": check_paid.CHECKS,
    "forged": check_forged.CHECKS,
}
SCENES = {
    "rows": scene.Scene,
    "forged": check_forged.ForgedScene,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["vectors", *PARTS])
    parser.add_argument("--bin", help="folder of seedbankd and seedbank")
    parser.add_argument("--only", help="one check by its name")
    args = parser.parse_args()
    if args.part == "vectors":
        check.run(check_vectors.CHECKS)
        return
    chosen = [one for one in PARTS[args.part] if args.only in (None, one.__name__)]
    with tempfile.TemporaryDirectory(prefix="seedbank-peer-") as work:
        if args.part in SCENES:
            with SCENES[args.part](node.Programs(args.bin, work)) as setting:
                check.run(chosen, setting)
        else:
            check.run([in_folder(one, args.bin, work) for one in chosen])


def in_folder(one, programs, work):
    """The check with an empty folder of its own."""

    def checked():
        folder = Path(work) / one.__name__
        folder.mkdir()
        return one(node.Programs(programs, folder))

    checked.__name__ = one.__name__
    return checked


if __name__ == "__main__":
    main()
