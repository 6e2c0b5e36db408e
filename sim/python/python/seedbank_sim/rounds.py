"""What a strategy of the flow tier sees of a round, and what it decides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Round:
    """What the peers of a population see at the begin of a choke round, every ten seconds.

    A strategy is called with this, and gives a dict of what they do from now on:

        bid: most that the peer's boost bids, in micro-credits for a GiB; with 0 it has none. The
            node's own bidder goes up to it as it must. Who has no boost yet orders one by this.
        floor: least that it bids, however little a payee asks: with `floor` as high as `bid` that
            is the bid, everywhere. At first 0.
        budget: micro-credits that its boost may spend in all; of one that is ordered here at first
            all that the peer has.
        limit: bytes per second that it sends at most, and its line at most.

    Each is a number for all, or an array or list with a place for each peer; `None` and NaN leave
    one as it was, as does a column that is left out, and `None` in place of the dict leaves all.

    Every column has a place for each peer of the population, in the order of the result's `peers`,
    whether it is there or not. They are memoryviews, of which numpy makes arrays without a copy:
    `numpy.asarray(round.balance)`. A round in which nobody of a population is there is not asked
    about.
    """

    population: str
    number: int
    """Rounds since the run began."""
    time_s: float
    there: memoryview[Any]
    """Whether the peer is online."""
    progress: memoryview[Any]
    """Which part it has of what it came for, from 0 to 1."""
    uplink: memoryview[Any]
    """Bytes per second that its line can send."""
    sending: memoryview[Any]
    """Bytes per second that it sent since it was asked last."""
    receiving: memoryview[Any]
    """The same of what it received."""
    balance: memoryview[Any]
    """What is its own, in micro-credits: free, or locked for a payee."""
    spent: memoryview[Any]
    """Micro-credits that it has signed away, from the begin."""
    earned: memoryview[Any]
    """Micro-credits that were signed to it, from the begin."""
    seats: memoryview[Any]
    """Paid seats that it has."""
    price: memoryview[Any]
    """Micro-credits that it paid for a GiB since it was asked last; NaN, if for nothing."""

    def __len__(self) -> int:
        return len(self.there)


Strategy = Callable[[Round], Mapping[str, Any] | None]


def asked(strategy: Strategy) -> Callable[..., Mapping[str, Any] | None]:
    """The strategy as `_native` calls it."""

    def ask(
        population: str, number: int, time_s: float, columns: dict[str, tuple[Any, bytes]]
    ) -> Mapping[str, Any] | None:
        views = {name: memoryview(cells).cast(kind) for name, (kind, cells) in columns.items()}
        return strategy(Round(population, number, time_s, **views))

    return ask
