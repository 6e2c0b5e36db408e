"""Executes a notebook from top to bottom, without a display: `execute.py NOTEBOOK COPY`.

The copy is what it came to. A cell that fails ends it, and so does a notebook that was kept with
outputs: those belong in the copy.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(source: Path, copy: Path) -> None:
    notebook = nbformat.read(source, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if any(cell.outputs or cell.execution_count for cell in cells):
        sys.exit(f"{source}: has outputs; clear them before it is kept")
    begin = time.monotonic()
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": copy.parent}})
    try:
        client.execute()
    finally:
        nbformat.write(notebook, copy)
    took = time.monotonic() - begin
    print(f"{source.name}: {len(cells)} cells in {took:.0f} s; what they came to is in {copy}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]).absolute())
