"""The part in Rust. What users call is in the package itself."""

from collections.abc import Callable
from typing import Any, final

__all__ = [
    "ScenarioError",
    "SimulationError",
    "Table",
    "__version__",
    "library",
    "run",
    "sweep",
]

__version__: str

class ScenarioError(ValueError):
    """No sound scenario: says the file, the line, and which word was meant."""

class SimulationError(RuntimeError):
    """A run or a sweep that was begun and could not be done."""

@final
class Table:
    """Columns of equal length, read by anything that speaks Arrow's C streams."""

    @property
    def column_names(self) -> list[str]:
        """The names of the columns, in order."""

    def column(self, name: str) -> list[str] | list[int] | list[float | None]:
        """The cells of one column as a list; KeyError if there is none of that name."""

    def __len__(self) -> int: ...
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...

def library() -> list[tuple[str, str]]: ...
def run(
    scenario: str | dict[str, Any],
    file: str | None,
    overrides: dict[str, Any],
    seed: int | None,
    strategies: dict[str, Callable[..., object]],
) -> tuple[Table, Table, Table, str]: ...
def sweep(
    scenario: str | dict[str, Any],
    file: str | None,
    variants: list[dict[str, Any]],
    plan: dict[str, Any],
    progress: Callable[[int, int, int], object] | None,
) -> tuple[Table, Table]: ...
